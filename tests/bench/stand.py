"""The stand: control plane, sandbox and operator as real processes, and measurements from the outside."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.bench.audit import Audit
from tests.bench.user import NAMESPACE, SECRET, User
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup
from tests.stack import PRIVATE_KEY, PUBLIC_KEY, Operator, Sandbox, install, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LATENCY = 0.05
"""The delay of every Atlas call, in seconds."""
WORKERS = 50
QUIET = 1.5
"""The operator is quiet after this many seconds without a call or a write."""
PATIENCE = 900.0
ROLES = ("GROUP_READ_ONLY",), ("GROUP_CLUSTER_MANAGER",)
_UNAUTHORIZED = 401
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Call:
    """One Atlas call: operation, project, HTTP status, and the time of its start (seconds since the epoch)."""

    operation: str
    project: str
    status: int
    at: float


@dataclass(frozen=True, slots=True)
class Work:
    """The cost of a piece of work.

    ``calls`` by operation, without digest challenges (``challenges`` counts those); ``writes`` by kind; ``seconds``
    from the user's first write, or the start of the operator, to the operator's last write or call; ``cpu`` seconds.
    """

    calls: Counter[str]
    challenges: int
    writes: Counter[str]
    seconds: float
    cpu: float

    @property
    def atlas(self) -> int:
        """All Atlas calls."""
        return self.calls.total()

    @property
    def lists(self) -> int:
        """The list calls among them."""
        return self.calls["ListInvites"] + self.calls["ListUsers"]

    @property
    def kubernetes(self) -> int:
        """Writes of objects: finalizer and status."""
        return self.writes["finalizer"] + self.writes["status"]


class Stand:
    """The processes for one number of objects, in a ``with`` block.

    Args:
        objects: the number of invitations.
        projects: the number of projects.
    """

    def __init__(self, objects: int, projects: int) -> None:
        self.names = [f"user{number:05d}" for number in range(objects)]
        self.projects = [f"{number + 1:024x}" for number in range(projects)]
        self._stack = ExitStack()
        self._operator: Operator | None = None
        self._cpu_before = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.cluster = stack.enter_context(ControlPlane(audit=True))
            self._group = ProcessGroup()
            stack.callback(self._group.close)
            self.sandbox = Sandbox.start(self._group, "--latency", str(LATENCY))
            install(self.cluster)
            self._prepare()
            self.user, self.audit = User(self.cluster.kubeconfig), Audit(self.cluster.audit_log.path)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _prepare(self) -> None:
        for project in self.projects:
            self.sandbox.control("POST", "/projects", {"id": project})
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        keys = [f"--from-literal=publicApiKey={PUBLIC_KEY}", f"--from-literal=privateApiKey={PRIVATE_KEY}"]
        self.cluster.kubectl("create", "secret", "generic", SECRET, "--namespace", NAMESPACE, *keys)

    def objects(self) -> list[dict[str, Any]]:
        """Return the objects, which invite by e-mail, distributed over the projects."""
        return [
            {
                "apiVersion": "atlasinvites.io/v1alpha1",
                "kind": "AtlasProjectInvite",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "groupId": self.projects[number % len(self.projects)],
                    "username": f"{name}@example.com",
                    "roles": list(ROLES[0]),
                    "connectionSecretRef": {"name": SECRET},
                },
            }
            for number, name in enumerate(self.names)
        ]

    # The operator.

    def start(self, *options: str) -> None:
        """Start the operator, and do not wait until it is ready."""
        fixed: tuple[str, ...] = ("--atlas-url", self.sandbox.url, "--workers", str(WORKERS), "--listen", "off")
        fixed += ("--deletion-grace", "0")  # measure deletions without their grace
        if "--resync-interval" not in options:
            fixed += ("--resync-interval", "24h")  # no resync disturbs the other measurements
        self.sandbox.control("DELETE", "/calls")
        self._operator = Operator.start(self._group, self.cluster, *fixed, *options, wait=False)
        self._cpu_before = 0.0

    def stop(self) -> None:
        """Stop the operator."""
        if self._operator is not None:
            self._operator.stop()
        self._operator = None

    def memory(self) -> float:
        """Return the operator's resident memory in MiB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    def cpu(self) -> float:
        """Return the operator's CPU seconds so far."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def _pid(self) -> int:
        assert self._operator is not None
        self._operator.process.check()
        return self._operator.process.popen.pid

    # Measuring.

    def begin(self) -> None:
        """Drop every call and write so far."""
        self.sandbox.control("DELETE", "/calls")
        self.audit.forget()
        self._cpu_before = self.cpu() if self._operator is not None else 0.0

    def calls(self) -> list[Call]:
        """Return the calls since ``begin``."""
        return [
            Call(c["operation"], c["path"].split("/groups/")[-1][:24], c["status"], _seconds(c["time"]))
            for c in self.sandbox.calls()
        ]

    def is_resynced(self) -> bool:
        """Return whether the users of every project were listed since ``begin``."""
        users = (call for call in self.calls() if call.operation == "ListUsers" and call.status != _UNAUTHORIZED)
        return {call.project for call in users} == set(self.projects)

    def wait_for_resync(self) -> None:
        """Wait until every project was resynced since ``begin``."""
        wait_until("every project is resynced", self.is_resynced, PATIENCE)

    def settle(self, done: Callable[[Counter[str]], bool]) -> None:
        """Wait until ``done`` is true for the operator's writes, and then until the operator is quiet."""
        wait_until("the operator is done", lambda: done(self.audit.counts()), PATIENCE)
        before: tuple[int, int] = (-1, -1)
        while before != (now := (int(self.sandbox.control("GET", "/calls?limit=1")["total"]), len(self.audit.read()))):
            before = now
            time.sleep(QUIET)

    def wait_for_status(self, count: int) -> None:
        """Wait until the operator has written this many statuses since ``Audit.forget``."""
        while self.audit.counts()["status"] < count:
            time.sleep(0.01)

    def work(self, since: float) -> Work:
        """Return the work since ``begin``, timed from a moment (seconds since the epoch)."""
        calls = self.calls()
        writes = [w for w in self.audit.read() if w.by_operator and w.kind != "event"]
        ends = [since, *(w.ended for w in writes), *(c.at + LATENCY for c in calls)]
        return Work(
            calls=Counter(c.operation for c in calls if c.status != _UNAUTHORIZED),
            challenges=sum(c.status == _UNAUTHORIZED for c in calls),
            writes=self.audit.counts(),
            seconds=max(ends) - since,
            cpu=self.cpu() - self._cpu_before,
        )

    def first_user_write(self) -> float:
        """Return the time at which the user's first write since ``begin`` reached the API server."""
        return min(w.began for w in self.audit.read() if not w.by_operator and w.kind != "event")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
