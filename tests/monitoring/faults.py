"""The fault that each alert is for: how it begins, and how it ends.

Each is a generator that works on a stage of its own: a namespace, an Atlas project, and an operator process. Up to the
first ``yield`` all is well; up to the second one the fault begins; then it ends.
"""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.control_plane.processes import ProcessGroup
from tests.e2e.faults.conftest import send
from tests.e2e.world import FORCE_DELETE, REQUESTED_AT, Plane, World
from tests.monitoring.recording import STRETCH, Recording
from tests.stack import Operator, Sandbox, free_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RESYNC_INTERVAL = 600 / STRETCH


@dataclass(slots=True)
class Stage:
    """Where one fault plays.

    Attributes:
        world: a namespace and an Atlas project in a sandbox of their own.
        group: the processes.
        recording: the scrapes of the operator.
        operator: the operator, once it is started.
    """

    world: World
    group: ProcessGroup
    recording: Recording
    operator: Operator | None = None

    @classmethod
    def build(cls, plane: Plane, group: ProcessGroup, name: str) -> Stage:
        """Make the namespace, the project and the sandbox."""
        namespace = f"{name.lower()}-{secrets.token_hex(2)}"
        plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
        sandbox = Sandbox.start(group, name=f"sandbox-{name}")
        return cls(World.make(plane, sandbox, namespace), group, Recording(free_address(), name.lower()))

    def start_operator(self, *options: str) -> None:
        """Start the operator for the namespace."""
        self.operator = Operator.start(
            self.group,
            self.world.plane.control_plane,
            *("--atlas-url", self.world.sandbox.url, "--namespace", self.world.namespace),
            *("--listen", self.recording.address, "--resync-interval", f"{RESYNC_INTERVAL}s"),
            *options,
            name=f"operator-{self.recording.pod}",
        )

    def invite(self, name: str = "jane", **spec: Any) -> None:  # noqa: ANN401 - fields are JSON
        """Create an object, and wait until its invitation is sent."""
        send(self.world, name, **spec)
        self.world.until(name, "Invited")


Fault = "Callable[[Stage], Iterator[None]]"


def orphaned(stage: Stage) -> Iterator[None]:
    """Atlas refuses the cleanup of a deleted object, and a user forces the deletion."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    world.fault("CancelInvite", status=403)
    world.delete("jane")
    world.until("jane", "Forbidden")
    world.annotate("jane", FORCE_DELETE, "true")
    world.until_gone("jane")
    yield


def no_leader(stage: Stage) -> Iterator[None]:
    """The only operator dies, and comes back."""
    stage.start_operator()
    stage.invite()
    yield
    assert stage.operator is not None
    stage.operator.process.kill()
    yield
    stage.start_operator()


FAULTS: Mapping[str, Any] = {
    "AtlasInvitesOrphaned": orphaned,
    "AtlasInvitesNoLeader": no_leader,
}
"""The fault for each alert."""
