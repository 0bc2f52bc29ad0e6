"""A connection to the API server whose credentials and certificates change, as in real clusters."""

from __future__ import annotations

import json
import shlex
import ssl
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.api import OPERATOR
from tests.e2e.faults.conftest import ELECTION, Way, has_roles
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import OPERATOR_NAMESPACE, ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.world import World

CERTIFICATES = ROOT / "tests" / "certificates"
FIRST, SECOND, NAMED = (CERTIFICATES / f"{name}.pem" for name in ("first", "second", "named"))
SECRETS = f"api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"

STRICT = """
import ssl
make = ssl.create_default_context
def strict(*args, **options):
    context = make(*args, **options)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context
ssl.create_default_context = strict
"""
"""The behavior of Python 3.13."""


def changes_arrive(own: World) -> None:
    """Change an object's roles, and wait until one call has done it: list, watch and writes work."""
    own.mark()
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    assert own.atlas_writes() == ["UpdateInvite 200"]


# Credentials.


@dataclass(slots=True)
class Rotation:
    """A token of the operator's ServiceAccount in a file, which can be replaced and revoked."""

    own: World
    file: Path
    _number: int = 0

    def rotate(self) -> None:
        """Write a new token to the file, and revoke the previous one."""
        api, old = self.own.plane.api, self.file.read_text() if self.file.exists() else None
        secret = api.do("POST", SECRETS, {"metadata": {"name": f"{self.own.namespace}-{self._number + 1}"}})
        bound = {"apiVersion": "v1", "kind": "Secret", **{n: secret["metadata"][n] for n in ("name", "uid")}}
        path = f"api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/{OPERATOR_NAMESPACE}/token"
        made = api.do("POST", path, {"spec": {"audiences": [], "boundObjectRef": bound}})
        self.file.write_text(f"{made['status']['token']}\n")
        self._number += 1
        if old is not None:
            self.revoke(self._number - 1)
            wait_until("the old token is rejected", lambda: self._status(old.strip()) == 401)

    def revoke(self, number: int) -> None:
        """Revoke a token."""
        self.own.plane.api.do("DELETE", f"{SECRETS}/{self.own.namespace}-{number}")

    def _status(self, token: str) -> int:
        url = f"{self.own.plane.control_plane.url}/apis/atlasinvites.io/v1alpha1"
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(url, headers=headers, verify=ssl._create_unverified_context()).status_code  # noqa: S323, SLF001


@pytest.fixture
def rotation(own: World, tmp_path: Path) -> Iterator[Rotation]:
    rotation = Rotation(own, tmp_path / "token")
    rotation.rotate()
    yield rotation
    rotation.revoke(rotation._number)  # noqa: SLF001 - the last one


def by_file(token: Path) -> dict[str, Any]:
    """Return a kubeconfig user whose token is in a file."""
    return {"tokenFile": str(token)}


def by_plugin(token: Path) -> dict[str, Any]:
    """Return a kubeconfig user whose token is printed by a credential plugin."""
    version = "client.authentication.k8s.io/v1"
    printed = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": "TOKEN"}}
    script = f"sed s/TOKEN/$(cat {shlex.quote(str(token))})/ <<END\n{json.dumps(printed)}\nEND\n"
    return {"exec": {"apiVersion": version, "interactiveMode": "Never", "command": "sh", "args": ["-c", script]}}


@pytest.mark.parametrize("user", [by_file, by_plugin])
def test_rotated_token(own: World, start: Start, rotation: Rotation, user: Callable[[Path], dict[str, Any]]) -> None:
    """When the token is revoked, the operator gets the new one, for the watch and all other calls."""
    operator = start(way=Way(user=user(rotation.file)))
    own.adopt("jane")
    rotation.rotate()
    changes_arrive(own)
    operator.kube.cut_streams()
    own.edit("jane", roles=[READ_ONLY])
    own.until_it("jane", "is changed back", has_roles(READ_ONLY))


def test_rejected_for_a_while(own: World, start: Start) -> None:
    """Without other credentials, the watch and all other calls go on as soon as these are accepted again."""
    operator = start()
    own.adopt("jane")
    rejected = operator.kube.fault(".*", 401)
    operator.kube.cut_streams()
    operator.operator.wait_for_line("the watch ended")
    operator.kube.mend(rejected)
    changes_arrive(own)


def test_impersonation(own: World, start: Start) -> None:
    """`as` in a kubeconfig applies to each call, also to the watch."""
    config = json.loads(own.plane.control_plane.kubeconfig.read_text())
    mark = own.plane.api.audit_mark()
    start(way=Way(user={**config["users"][0]["user"], "as": OPERATOR}))
    own.adopt("jane")
    changes_arrive(own)
    requests = own.plane.control_plane.audit_log.requests(mark)
    ours = [r for r in requests if r["userAgent"].startswith(("atlas-invites/", "kopf/"))]
    assert {"list", "watch", "patch"} <= {r["verb"] for r in ours}
    assert {r.get("impersonatedUser", {}).get("username") for r in ours} == {OPERATOR}


# Certificates.


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A file with the CA of the API server, which can be replaced."""
    file = tmp_path / "ca.crt"
    trust(file, "first")
    return file


def trust(file: Path, name: str) -> None:
    """Let a file hold one of the two CAs."""
    file.write_text((CERTIFICATES / f"{name}-authority.pem").read_text())


def test_server_name(own: World, start: Start, authority: Path) -> None:
    """`tls-server-name` is the name in the certificate, also for the watch."""
    names = {"certificate-authority": str(authority), "tls-server-name": "kubernetes.example.com"}
    start(way=Way(NAMED, names))
    own.adopt("jane")
    changes_arrive(own)


def test_rotated_ca(own: World, start: Start, authority: Path, tmp_path: Path) -> None:
    """A rejected certificate is logged with OpenSSL's reason; a rotated CA is trusted, and the old one no longer.

    All certificates here lack key identifiers, which the strict verification of Python 3.13 rejects.
    """
    (tmp_path / "sitecustomize.py").write_text(STRICT)
    cluster, variables = {"certificate-authority": str(authority)}, {"PYTHONPATH": f"{tmp_path}:{ROOT / 'operator'}"}
    operator = start(way=Way(FIRST, cluster, variables=variables))
    own.adopt("jane")
    operator.kube.present(SECOND)
    operator.kube.cut_connections()
    operator.operator.wait_for_line("unable to get local issuer certificate")
    trust(authority, "second")
    changes_arrive(own)
    operator.kube.present(FIRST)
    before = operator.operator.log.count("unable to get local issuer certificate")
    operator.kube.cut_connections()
    reasons = "unable to get local issuer certificate"
    wait_until("the old CA is rejected", lambda: operator.operator.log.count(reasons) > before)


def test_rotated_ca_of_a_standby(own: World, start: Start, authority: Path, no_lease: None) -> None:
    """Leader and standby both trust the rotated CA, and the leader stays the same."""
    del no_lease
    way = Way(FIRST, {"certificate-authority": str(authority)})
    leader = start(*ELECTION, way=way)
    standby = start(*ELECTION, wait=False, way=way)
    standby.operator.wait_for_line("standing by")
    own.adopt("jane")
    trust(authority, "second")
    for one in (leader, standby):
        one.kube.present(SECOND)
        one.kube.cut_connections()
        reads = len(one.kube.seen)
        wait_until("it is connected again", partial(_leases, one, reads))
    changes_arrive(own)
    assert not standby.leads
    assert leader.operator.process.popen.poll() is None


def _leases(contender: Contender, since: int) -> bool:
    return any("/leases/" in seen.line for seen in contender.kube.seen[since:])


# Probes.


@pytest.mark.long
@pytest.mark.timeout(300)
def test_without_contact(start: Start, authority: Path, no_lease: None) -> None:
    """After a minute without a success a standby, or an operator without election, is neither alive nor ready."""
    del no_lease
    leader = start(*ELECTION)
    standby = start(*ELECTION, wait=False, way=Way(FIRST, {"certificate-authority": str(authority)}))
    standby.operator.wait_for_line("standing by")
    alone = start()
    alone.kube.silent = True
    standby.kube.present(SECOND)  # and its CA is not available
    standby.kube.cut_connections()
    probes = [(one, path) for one in (alone, standby) for path in ("/healthz", "/readyz")]

    def answers() -> list[int]:
        return [one.get(path).status_code for one, path in probes]

    assert answers() == [200] * 4
    wait_until("they are not alive and not ready", lambda: answers() == [503] * 4, 120)
    assert "no list, watch or read of the Lease has succeeded for 60 s" in standby.get("/readyz").text
    assert "unable to get local issuer certificate" in standby.operator.log
    assert [leader.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    alone.kube.silent = False
    trust(authority, "second")
    wait_until("they are alive and ready", lambda: answers() == [200] * 4, 60)
