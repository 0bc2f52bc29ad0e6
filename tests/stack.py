"""The sandbox, and the operator as its ServiceAccount, as real processes, for tests and the demo."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import Process, ProcessGroup

ROOT = Path(__file__).parent.parent
PROJECT = "32b6e34b3d91647abb20e7b8"
PUBLIC_KEY, PRIVATE_KEY = "sandbox", "sandbox-private-key"
INVITES_VERSION = "application/vnd.atlas.2023-01-01+json"
USERS_VERSION = "application/vnd.atlas.2025-02-19+json"
OPERATOR_NAMESPACE = "atlas-invites"
PATIENCE = 30.0
"""The seconds within which a state must appear."""


def wait_until(what: str, check: Callable[[], Any], seconds: float = PATIENCE) -> Any:  # noqa: ANN401
    """Return the first truthy value of ``check``.

    Raises:
        AssertionError: there was none in time; the text has the expected state and the last value.
    """
    deadline = time.monotonic() + seconds
    while not (value := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s; the last value is {value!r}")
        time.sleep(0.05)
    return value


@dataclass(slots=True)
class Sandbox:
    """A running sandbox: Atlas as an administrator uses it, and the control API under ``/_sandbox/``."""

    url: str
    process: Process

    @classmethod
    def start(cls, group: ProcessGroup, *options: str, name: str = "sandbox") -> Sandbox:
        """Start a sandbox on a free port of loopback and wait until it serves."""
        process = group.start(name, [sys.executable, "-m", "atlas_sandbox", "--port", "0", *options])
        group.wait_until(lambda: "http://" in process.log.read_text(), process)
        return cls(process.log.read_text().split("\n")[0].strip(), process)

    def invite(self, username: str, roles: Sequence[str], project: str = PROJECT) -> dict[str, Any]:
        """Invite a person, as an administrator does."""
        return self._atlas("POST", f"/groups/{project}/invites", {"username": username, "roles": list(roles)})

    def invitation(self, invitation_id: str, project: str = PROJECT) -> dict[str, Any]:
        """Return an invitation in Atlas, or the error response of Atlas."""
        return self._atlas("GET", f"/groups/{project}/invites/{invitation_id}")

    def update(self, username: str, roles: Iterable[str], project: str = PROJECT) -> dict[str, Any]:
        """Change the roles of a pending invitation, as an administrator does."""
        return self._atlas("PATCH", f"/groups/{project}/invites", {"username": username, "roles": list(roles)})

    def cancel(self, invitation_id: str, project: str = PROJECT) -> None:
        """Cancel an invitation, as an administrator does."""
        self._atlas("DELETE", f"/groups/{project}/invites/{invitation_id}")

    def control(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401
        """Call the control API under ``/_sandbox/``."""
        response = httpx.request(method, f"{self.url}/_sandbox{path}", json=body, timeout=PATIENCE)
        response.raise_for_status()
        return response.json() if response.content else None

    def calls(self, project: str | None = None) -> list[dict[str, Any]]:
        """Return the API calls so far, oldest first, of one project or all."""
        calls: list[dict[str, Any]] = self.control("GET", "/calls?limit=100000")["calls"]
        return [c for c in calls if project is None or f"/groups/{project}" in c["path"]]

    def fault(self, kind: str = "status", **attributes: Any) -> str:  # noqa: ANN401
        """Order a fault (docs/sandbox.md), without a limit unless ``count`` is given, and return its id."""
        return str(self.control("POST", "/faults", {"kind": kind, "count": None, **attributes})["id"])

    def struck(self, fault: str) -> int:
        """Return how many calls a fault has struck."""
        return next(int(f["struck"]) for f in self.control("GET", "/faults") if f["id"] == fault)

    def mend(self, fault: str) -> None:
        """Remove a fault."""
        self.control("DELETE", f"/faults/{fault}")

    def _atlas(self, method: str, path: str, body: Any = None) -> dict[str, Any]:  # noqa: ANN401
        response = httpx.request(
            method,
            f"{self.url}/api/atlas/v2{path}",
            json=body,
            auth=httpx.DigestAuth(PUBLIC_KEY, PRIVATE_KEY),
            headers={"Accept": INVITES_VERSION},
            timeout=PATIENCE,
        )
        found: dict[str, Any] = response.json() if response.content else {}
        return found


def install(control_plane: ControlPlane) -> None:
    """Install CRD, namespace and RBAC, as a platform engineer does."""
    control_plane.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    control_plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy" / "base"))
    control_plane.kubectl(
        "wait", "--for=condition=Established", "--timeout=60s", "crd/atlasprojectinvites.atlasinvites.io"
    )


class Cluster(Protocol):
    """The cluster for which the operator runs."""

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig file for a ServiceAccount."""


@dataclass(slots=True)
class Operator:
    """A running operator process."""

    process: Process

    @classmethod
    def start(
        cls,
        group: ProcessGroup,
        cluster: Cluster,
        *options: str,
        name: str = "operator",
        wait: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> Operator:
        """Start the operator as its ServiceAccount, and wait until its store is filled."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "KUBE"))}
        environment["KUBECONFIG"] = str(cluster.kubeconfig_for(OPERATOR_NAMESPACE, OPERATOR_NAMESPACE))
        environment |= variables or {}
        process = group.start(name, [sys.executable, "-m", "atlas_invites", "run", *options], environment)
        operator = cls(process)
        if wait:
            operator.wait_for_line("ready: ")
        return operator

    @property
    def log(self) -> str:
        """The log so far."""
        return self.process.log.read_text()

    def wait_for_line(self, text: str) -> None:
        """Wait until the operator has logged the text.

        Raises:
            AssertionError: the text was not logged in time.
            StartError: the operator ended before.
        """

        def seen() -> bool:
            if text in self.log:
                return True
            self.process.check()
            return False

        wait_until(f"the operator logs {text!r}", seen)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.popen.send_signal(number)
        return self.process.popen.wait(PATIENCE)


def free_address() -> str:
    """Return a free host and port, on a loopback address that no other run of the tests uses."""
    host = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    with socket.create_server((host, 0)) as one:
        return f"{host}:{one.getsockname()[1]}"


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
