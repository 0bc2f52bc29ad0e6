"""The environment of a tool: a real API server, the sandbox, Git, and an operator that runs while it has pods."""

from __future__ import annotations

import shutil
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import httpx

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup
from tests.e2e.api import Api, History
from tests.e2e.world import Plane
from tests.gitops.git import GitServer
from tests.stack import OPERATOR_NAMESPACE, ROOT, Operator, Sandbox, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.control_plane.processes import Process
    from tests.e2e.api import Object
    from tests.gitops.git import Repository

_PODS = f"api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
SHIPPED = ("crds", "deploy")
"""The folders that a platform engineer copies into a repository."""


class Rig:
    """An empty cluster and the repository of the platform, in a ``with`` block.

    Args:
        folder: the folder for logs and repositories; it is kept.

    Attributes:
        plane: the control plane and its history.
        sandbox: Atlas.
        git: the server of all repositories.
        platform: the repository with the shipped files.
        group: the processes.
        kubelet: runs the operator.
    """

    plane: Plane
    sandbox: Sandbox
    git: GitServer
    platform: Repository
    group: ProcessGroup
    kubelet: Kubelet

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._needed: list[Process] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.group = ProcessGroup(self.folder)
        stack.callback(self.group.close)
        self.git = GitServer(self.folder / "git")
        stack.callback(self.git.close)
        self.platform = self.git.repository("platform")
        self.platform.copy("Bring the operator", *(ROOT / name for name in SHIPPED))
        control_plane = stack.enter_context(ControlPlane(audit=True))
        api, history = Api(control_plane), History(control_plane)
        stack.callback(api.close)
        stack.callback(history.close)
        self.plane = Plane(control_plane, api, history)
        self.sandbox = Sandbox.start(self.group)
        self.kubelet = Kubelet(self)
        stack.callback(self.kubelet.close)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a process of a tool; ``check`` fails if it ends."""
        self._needed.append(self.group.start(name, command, environment))

    def check(self) -> None:
        """Raise StartError if a process of the tool has ended."""
        for process in self._needed:
            process.check()

    def until_served(self, path: str) -> None:
        """Wait until the API server serves a custom resource."""
        wait_until(f"{path} is served", lambda: self.plane.api.ask("GET", path).is_success, 120)


class Kubelet:
    """Stand in for nodes: run one operator process while the operator has pods, and report the pods Ready.

    Args:
        rig: the environment of the operator.

    Attributes:
        operators: every operator process that was started, oldest first.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._api = Api(rig.plane.control_plane)
        self._stopping = threading.Event()
        self._away = False
        self.operators: list[Operator] = []
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the operator ends with the process group."""
        self._stopping.set()
        self._thread.join()
        self._api.close()

    @property
    def running(self) -> Operator | None:
        """The running operator, if any."""
        last = self.operators[-1] if self.operators else None
        return last if last is not None and last.process.popen.poll() is None else None

    def stop_operator(self) -> None:
        """Stop the operator, and do not start it before ``allow_operator``."""
        self._away = True
        if self.running is not None:
            self.running.stop()

    def allow_operator(self) -> None:
        """Allow the operator to run again."""
        self._away = False

    def _run(self) -> None:
        while not self._stopping.wait(0.3):
            try:
                self._look()
            except httpx.HTTPError:  # the API server does not respond
                continue

    def _look(self) -> None:
        response = self._api.ask("GET", _PODS)
        pods = response.json()["items"] if response.is_success else []
        running = self.running
        if not pods and running is not None:
            running.stop()
        elif pods and running is None and not self._away:
            self._start_operator()
        ready = self.running is not None
        for pod in pods:
            if _is_ready(pod) != ready:
                self._report(pod, ready=ready)

    def _start_operator(self) -> None:
        options = ("--atlas-url", self._rig.sandbox.url, "--listen", "off", "--log-level", "debug")
        name = f"operator-{len(self.operators)}"
        started = Operator.start(self._rig.group, self._rig.plane.control_plane, *options, name=name)
        self.operators.append(started)

    def _report(self, pod: Object, *, ready: bool) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": now}
        status = {"phase": "Running", "conditions": [condition]}
        self._api.ask("PATCH", f"{_PODS}/{pod['metadata']['name']}/status", {"status": status})


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
