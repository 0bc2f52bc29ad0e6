"""Operators with a faulty network: a proxy is between each operator and the API server, and between each and Atlas."""

from __future__ import annotations

import base64
import json
import re
import signal
import ssl
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest

from tests.control_plane.processes import ProcessGroup
from tests.e2e.api import FIELD_MANAGER, INVITES, PLURAL
from tests.e2e.faults.proxy import Proxy
from tests.e2e.kstatus import reason
from tests.e2e.world import READ_ONLY
from tests.stack import OPERATOR_NAMESPACE, PATIENCE, Operator, Sandbox, free_address, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.e2e.api import Object
    from tests.e2e.faults.proxy import Observation
    from tests.e2e.world import World

LEASE = f"apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/atlas-invites"
AT_ONCE = ("--deletion-grace", "0")
"""Deletions do not wait, unless a test is about the wait."""

ELECTION = ("--leader-election", "--lease-namespace", OPERATOR_NAMESPACE)


@dataclass(frozen=True, slots=True)
class Way:
    """How the proxy before the API server is reached.

    Attributes:
        certificate: its certificate and key, for TLS.
        cluster: more fields of the kubeconfig's cluster.
        user: the kubeconfig's user, instead of the operator's ServiceAccount.
        variables: environment variables of the operator.
    """

    certificate: Path | None = None
    cluster: Mapping[str, Any] = field(default_factory=dict)
    user: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Behind:
    """A cluster whose API server is reached through a proxy."""

    control_plane: ControlPlane
    proxy: Proxy
    way: Way

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig file that names the proxy."""
        config = json.loads(self.control_plane.kubeconfig_for(namespace, service_account).read_text())
        config["clusters"][0]["cluster"] = {"server": self.proxy.url, **self.way.cluster}
        config["users"][0]["user"] = self.way.user or config["users"][0]["user"]
        path = self.control_plane.folder / f"behind-{self.proxy.url.rpartition(':')[2]}.kubeconfig"
        path.write_text(json.dumps(config))
        return path


@dataclass(slots=True)
class Contender:
    """An operator behind its two proxies, and the address of its metrics and probes."""

    operator: Operator
    kube: Proxy
    atlas: Proxy
    address: str

    @property
    def leads(self) -> bool:
        """Return whether it has started to lead."""
        return "leading as" in self.operator.log

    def writes(self, since: float = 0.0) -> list[Observation]:
        """Return its requests for changes to Atlas and the API server since a time, oldest first."""
        return sorted([*self.kube.writes(since), *self.atlas.writes(since)], key=lambda seen: seen.at)

    def atlas_writes(self, since: float = 0.0) -> list[str]:
        """Return its requests for changes to Atlas since a time."""
        return [seen.line for seen in self.atlas.writes(since) if "/oauth/" not in seen.line]

    def kill(self) -> None:
        """Kill it as kill -9 does."""
        self.operator.process.kill()

    def freeze(self) -> None:
        """Stop it with SIGSTOP."""
        self.operator.process.popen.send_signal(signal.SIGSTOP)

    def cut_off(self) -> None:
        """Disconnect it from the API server, as a broken cable does; it still reaches Atlas."""
        self.kube.silent = True

    def wake(self) -> float:
        """Continue it, and return the time."""
        self.operator.process.popen.send_signal(signal.SIGCONT)
        return time.monotonic()

    def exit_code(self) -> int:
        """Wait until it has ended, and return its exit code."""
        return self.operator.process.popen.wait(PATIENCE)

    def terminate(self) -> int:
        """Send SIGTERM, and return the exit code: 0 only if it has ended in order, within 10 seconds."""
        return self.operator.stop()

    def get(self, path: str) -> httpx.Response:
        """Get a response of its probes or metrics."""
        return httpx.get(f"http://{self.address}{path}", timeout=10)

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        found = re.search(rf"^atlas_invites_{name} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])


PLAIN_HTTP = Way()


class Start(Protocol):
    """Start an operator for the test's own world behind its own proxies."""

    def __call__(self, *options: str, wait: bool = True, silent: bool = False, way: Way = PLAIN_HTTP) -> Contender: ...


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox only for the test, which may change its clock, settings and limits."""
    group = ProcessGroup()
    yield Sandbox.start(group)
    group.close()


@pytest.fixture
def start(own: World) -> Iterator[Start]:
    """Start operators; they end with the test."""
    control_plane, group = own.plane.control_plane, ProcessGroup()
    authority = json.loads(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    with ExitStack() as stack:
        stack.callback(group.close)

        def begin(*options: str, wait: bool = True, silent: bool = False, way: Way = PLAIN_HTTP) -> Contender:
            kube = stack.enter_context(Proxy(control_plane.url, tls, way.certificate, silent=silent))
            atlas = stack.enter_context(Proxy(own.sandbox.url))
            address = free_address()
            settings = ("--atlas-url", atlas.url, "--namespace", own.namespace, "--listen", address, *AT_ONCE, *options)
            name = f"operator-{len(own.operators)}"
            cluster = Behind(control_plane, kube, way)
            operator = Operator.start(group, cluster, *settings, name=name, wait=wait, variables=way.variables)
            own.operators.append(operator)
            return Contender(operator, kube, atlas, address)

        yield begin
        for one in own.operators:
            one.process.kill()
            sys.stdout.write(f"{one.process.name}:\n{one.log}\n")  # pytest shows it if the test fails
        own.check_laws()


@pytest.fixture
def no_lease(own: World) -> Iterator[None]:
    """Wait until the Lease is free."""
    own.plane.api.ask("DELETE", LEASE)
    yield
    own.plane.api.ask("DELETE", LEASE)


@pytest.fixture
def pair(own: World, start: Start, no_lease: None) -> tuple[Contender, Contender]:
    """A leader and a standby."""
    del own, no_lease
    leader = start(*ELECTION)
    standby = start(*ELECTION, wait=False)
    standby.operator.wait_for_line("standing by")
    return leader, standby


def send(world: World, name: str, **spec: Any) -> None:  # noqa: ANN401 - fields are JSON
    """Create an object for an e-mail that was never invited."""
    manifest = {
        "apiVersion": "atlasinvites.io/v1alpha1",
        "kind": "AtlasProjectInvite",
        "metadata": {"name": name},
        "spec": {
            "groupId": world.project,
            "username": world.email(name),
            "roles": [READ_ONLY],
            "connectionSecretRef": {"name": "atlas-credentials"},
            **spec,
        },
    }
    world.plane.api.do("POST", f"{INVITES}/namespaces/{world.namespace}/{PLURAL}", manifest)


def strip(world: World, name: str) -> None:
    """Remove an object's finalizers."""
    path = f"{INVITES}/namespaces/{world.namespace}/{PLURAL}/{name}"
    world.plane.api.ask("PATCH", path, {"metadata": {"finalizers": []}}, fieldManager=FIELD_MANAGER)


def vanish(world: World, name: str) -> None:
    """Delete an object without finalizing it: its finalizer is removed first."""
    strip(world, name)
    world.delete(name)
    world.until_gone(name)


def adopt_all(world: World, names: Sequence[str]) -> None:
    """Invite people in Atlas, create an object for each, and count from the moment all are settled."""
    order = {"usernames": [world.email(name) for name in names], "roles": [READ_ONLY]}
    world.sandbox.control("POST", f"/projects/{world.project}/invitations", order)
    ids = {invitation["username"]: invitation["id"] for invitation in world.atlas["invitations"]}
    for name in names:
        world.create(name, ids[world.email(name)])
    until_all(world, names, "are settled", lambda item: reason(item) == "Invited")
    world.mark()


def until_all(
    world: World, names: Iterable[str], what: str, holds: Callable[[Object], bool], seconds: float = PATIENCE
) -> None:
    """Wait until the condition holds for all of these objects."""
    wanted = set(names)

    def missing() -> int:
        items = world.plane.api.do("GET", f"{INVITES}/namespaces/{world.namespace}/{PLURAL}")["items"]
        return len(wanted - {item["metadata"]["name"] for item in items if holds(item)})

    left = len(wanted)

    def check() -> bool:
        nonlocal left
        time.sleep(len(wanted) / 2000)  # a list of all objects is expensive
        left = missing()
        return not left

    try:
        wait_until(f"all {len(wanted)} {what}", check, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; {left} do not") from None


def has_roles(*roles: str) -> Callable[[Object], bool]:
    """Return a check: the latest generation was evaluated, and Atlas has responded with these roles."""
    return lambda item: (
        reason(item) == "Invited"
        and item["status"]["observedGeneration"] == item["metadata"]["generation"]
        and set(item["status"]["invitation"]["roles"]) == set(roles)
    )


def until_more(what: str, count: Callable[[], int]) -> None:
    """Wait until the counter has increased."""
    before = count()
    wait_until(what, lambda: count() > before)


def sent(world: World) -> list[str]:
    """Return Atlas's responses to the operators' invitations since ``mark``."""
    return [call for call in world.calls("POST") if call.startswith("CreateInvite")]
