"""The process as an administrator sees it: settings, signals, probes, a cluster that is missing or goes away."""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.api import INVITES, PLURAL
from tests.e2e.kstatus import reason
from tests.e2e.world import OWNER, World
from tests.stack import Operator, Sandbox, free_address, install, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.control_plane.processes import ProcessGroup
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import Plane

CRD = "apis/apiextensions.k8s.io/v1/customresourcedefinitions/atlasprojectinvites.atlasinvites.io"


@dataclass(frozen=True, slots=True)
class SomeKubeconfig:
    """A cluster whose kubeconfig has any content."""

    path: Path

    def kubeconfig_for(self, _namespace: str, _service_account: str) -> Path:
        """Return it for any user."""
        return self.path


# Settings.


@pytest.mark.parametrize(
    ("options", "variables", "names"),
    [
        (["--atlas-url", "http://example.com"], {}, "--atlas-url"),
        (["--atlas-url", "https://user:canary@example.com"], {}, "--atlas-url"),
        (["--workers", "none"], {}, "--workers"),
        (["--resync-interval", "soon"], {}, "--resync-interval"),
        ([], {"ATLAS_INVITES_ATLAS_API": "canary"}, "ATLAS_INVITES_ATLAS_API"),
        ([], {"ATLAS_INVITES_LISTEN": "canary"}, "ATLAS_INVITES_LISTEN"),
    ],
)
def test_invalid_settings(
    processes: ProcessGroup, tmp_path: Path, options: list[str], variables: dict[str, str], names: str
) -> None:
    """An invalid setting ends the process with exit code 2 and one line: which setting and why, not its value."""
    name = f"bad-settings-{tmp_path.name}"
    cluster = SomeKubeconfig(tmp_path / "never-read")
    operator = Operator.start(processes, cluster, *options, name=name, wait=False, variables=variables)
    assert operator.process.popen.wait(30) == 2
    (line,) = operator.log.splitlines()
    assert line.startswith("atlas-invites: ")
    assert names in line
    assert "canary" not in line


@pytest.mark.parametrize(
    "content",
    [None, "", "canary: [", '{"apiVersion": "v1", "kind": "Config", "current-context": "canary"}'],
    ids=["missing", "empty", "no-yaml", "no-such-context"],
)
def test_a_kubeconfig_that_cannot_be_used(processes: ProcessGroup, tmp_path: Path, content: str | None) -> None:
    """Without a usable kubeconfig the process ends with exit code 2 and one line that says where it looked."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    operator = Operator.start(
        processes, SomeKubeconfig(path), "--listen", "off", name=f"no-cluster-{tmp_path.name}", wait=False
    )
    assert operator.process.popen.wait(30) == 2
    (line,) = operator.log.splitlines()
    assert "kubeconfig" in line
    assert "KUBECONFIG" in line


def test_a_port_in_use(own: World, start_operator: StartOperator) -> None:
    """If the address of the probes cannot be bound, the process ends with exit code 2 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        operator = start_operator("--listen", address, wait=False)
        assert operator.process.popen.wait(30) == 2
    (line,) = operator.log.splitlines()
    assert address in line
    assert own.writes() == []


def test_a_cluster_that_does_not_respond(processes: ProcessGroup, plane: Plane, tmp_path: Path) -> None:
    """While the API server cannot be reached, one line says so, and SIGTERM ends the wait with exit code 0."""
    config = json.loads(plane.control_plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://{free_address()}"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    operator = Operator.start(processes, SomeKubeconfig(path), "--listen", "off", name="unreachable", wait=False)
    operator.wait_for_line("waiting for the cluster")
    assert operator.stop() == 0
    assert operator.log.count("waiting for the cluster") == 1
    assert "Traceback" not in operator.log


# Signals.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_an_idle_operator(own: World, start_operator: StartOperator, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end it with exit code 0, without an error."""
    operator = start_operator()
    own.adopt()
    assert operator.stop(number) == 0
    assert "ERROR" not in operator.log


def test_sigterm_lets_a_running_reconcile_finish(own: World, start_operator: StartOperator) -> None:
    """The process waits for a PATCH under way at SIGTERM and writes its outcome; then exit code 0."""
    operator = start_operator()
    own.adopt()
    slow = own.fault("UpdateInvite", kind="timeout", seconds=2)
    own.edit("jane", roles=[OWNER])
    wait_until("the PATCH is under way", lambda: own.sandbox.struck(slow))
    assert operator.stop() == 0
    item = own.get("jane")
    assert item is not None
    assert reason(item) == "Invited"
    assert item["status"]["observedGeneration"] == 2
    assert item["status"]["invitation"]["roles"] == own.atlas["invitations"][0]["roles"] == [OWNER]
    assert own.writes() == ["status"]


def test_sigterm_does_not_wait_without_a_limit(own: World, start_operator: StartOperator) -> None:
    """A call that does not end is cut, still with exit code 0; the next process converges."""
    operator = start_operator()
    own.adopt()
    hanging = own.fault("UpdateInvite", kind="timeout")
    own.edit("jane", roles=[OWNER])
    wait_until("the PATCH is under way", lambda: own.sandbox.struck(hanging))
    assert operator.stop() == 0
    own.sandbox.mend(hanging)
    start_operator()
    assert own.until("jane", "Invited")["status"]["invitation"]["roles"] == [OWNER]


# The cluster, the CRD, the API server.


@pytest.fixture
def without_crd(second_plane: Plane) -> Iterator[Plane]:
    """The second plane without the CRD, which is restored afterwards."""
    api = second_plane.api
    for item in api.do("GET", f"{INVITES}/{PLURAL}")["items"]:
        path = f"{INVITES}/namespaces/{item['metadata']['namespace']}/{PLURAL}/{item['metadata']['name']}"
        api.ask("PATCH", path, {"metadata": {"finalizers": []}})
    api.do("DELETE", CRD)
    wait_until("the CRD is gone", lambda: api.ask("GET", f"{INVITES}/{PLURAL}").status_code == 404)
    yield second_plane
    install(second_plane.control_plane)


def test_waits_for_its_crd(without_crd: Plane, own: World, start_operator: StartOperator) -> None:
    """Without its CRD it reports so once, is alive but not ready, and starts to work when the CRD is applied."""
    address = free_address()
    mark = without_crd.api.audit_mark()
    operator = start_operator("--listen", address, wait=False)

    def probe(path: str) -> int:
        return httpx.get(f"http://{address}{path}", timeout=10).status_code

    operator.wait_for_line("CRD is not installed")
    assert (probe("/readyz"), probe("/healthz"), probe("/metrics")) == (503, 200, 200)

    def tries() -> int:
        return sum(r["responseStatus"]["code"] == 404 for r in without_crd.api.audit(mark))

    wait_until("it has tried again", lambda: tries() >= 2)
    (line,) = [line for line in operator.log.splitlines() if "CRD" in line]
    assert "apply crds/" in line

    install(without_crd.control_plane)
    operator.wait_for_line("ready: ")
    wait_until("it is ready", lambda: probe("/readyz") == 200)
    own.adopt()
    metrics = httpx.get(f"http://{address}/metrics", timeout=10).text
    assert 'atlas_invites_reconcile_total{outcome="Settled",reason="Invited"} 1.0' in metrics
    assert "example.com" not in metrics
    assert own.namespace not in metrics


def test_fields_of_another_version(own: World, start_operator: StartOperator) -> None:
    """If the CRD accepts everything, unknown fields are ignored, and an invalid spec is InvalidRequest."""
    api = own.plane.api
    crd = api.do("GET", CRD)
    before = json.loads(json.dumps(crd["spec"]))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    del crd["spec"]["versions"][0]["selectableFields"]  # they need a field with a schema
    schema["spec"], schema["status"] = anything, anything | {"default": {"observedGeneration": -1}}
    api.do("PUT", CRD, crd)
    probe = {"groupId": 5}
    wait_until("the CRD is loose", lambda: _is_accepted(own, probe))
    try:
        operator = start_operator()
        own.create("jane", own.invite()["id"], future={"more": [1, {"deep": None}]}, memberPolicy="Observe")
        own.until("jane", "Invited")
        path = f"{INVITES}/namespaces/{own.namespace}/{PLURAL}/jane/status"
        api.do("PATCH", path, {"status": {"future": {"more": [1]}}})
        own.edit("jane", roles=[OWNER])
        own.until("jane", "Invited")
        own.create("empty", own.invite("empty")["id"], [])
        own.create("strange", own.invite("strange")["id"], roles=["GROUP_OF_THE_FUTURE"], connectionSecretRef="none")
        for name in ("empty", "strange"):
            own.until(name, "InvalidRequest")
            own.delete(name)
            own.until_gone(name)
        assert operator.process.popen.poll() is None
    finally:
        api.do("PUT", CRD, {**api.do("GET", CRD), "spec": before})
        wait_until("the CRD is strict", lambda: not _is_accepted(own, probe))


def _is_accepted(world: World, spec: dict[str, int]) -> bool:
    path = f"{INVITES}/namespaces/{world.namespace}/{PLURAL}"
    body = {"apiVersion": "atlasinvites.io/v1alpha1", "kind": "AtlasProjectInvite", "metadata": {"name": "probe"}}
    return world.plane.api.ask("POST", path, {**body, "spec": spec}, dryRun="All").is_success


def test_the_api_server_restarts(own: World, start_operator: StartOperator) -> None:
    """The process continues, handles changes from meanwhile, and forgets objects deleted while its watch was cut."""
    operator = start_operator("--resync-interval", "1")
    for name in ("jane", "ghost"):
        own.adopt(name)
    control_plane = own.plane.control_plane
    operator.process.popen.send_signal(signal.SIGSTOP)
    control_plane.stop_api_server()
    control_plane.start_api_server()
    path = f"{INVITES}/namespaces/{own.namespace}/{PLURAL}/ghost"
    own.plane.api.do("PATCH", path, {"metadata": {"finalizers": []}})
    own.delete("ghost")
    own.edit("jane", roles=[OWNER])
    control_plane.stop_api_server()
    control_plane.start_api_server()  # it has no memory of events before this
    operator.process.popen.send_signal(signal.SIGCONT)
    own.until("jane", "Invited")
    operator.wait_for_line(f"[{own.namespace}/ghost] the object was deleted while the watch was interrupted")
    own.change_in_atlas("ghost", [OWNER])
    own.change_in_atlas("jane", [OWNER])
    resyncs = own.calls().count("ListInvites 200")
    wait_until("three more resyncs", lambda: own.calls().count("ListInvites 200") >= resyncs + 3)
    assert own.atlas_writes() == ["UpdateInvite 200"]
    own.edit("jane", roles=["GROUP_READ_ONLY"])
    own.until("jane", "Invited")
    assert operator.process.popen.poll() is None


def test_expiry(own: World, start_operator: StartOperator, processes: ProcessGroup) -> None:
    """After 30 days by Atlas's clock an invitation is Expired; nothing is sent again, also for another spec."""
    world = World.make(own.plane, Sandbox.start(processes, name="sandbox-of-the-future"), own.namespace)
    start_operator("--resync-interval", "1", sandbox=world.sandbox)
    invitation = world.adopt()["status"]["invitation"]
    world.sandbox.control("POST", "/clock", {"advanceSeconds": 31 * 86400})
    item = world.until("jane", "InvitationExpired")
    assert (item["status"]["state"], item["status"]["invitation"]) == ("Expired", invitation)
    world.mark()
    world.edit("jane", roles=[OWNER])
    world.until("jane", "InvitationExpired")
    assert world.atlas_writes() == []
