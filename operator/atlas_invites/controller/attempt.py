"""One reconcile of one object, as it is handed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_invites.controller.memory import Memory
    from atlas_invites.invitation.model import Spec, Status
    from atlas_invites.invitation.resource import Resource


@dataclass(slots=True)
class Attempt:
    """One try to make Atlas agree with an object.

    Attributes:
        resource: the object; becomes what our own write of the finalizer answered: the same spec, a newer version.
        spec: what it asks for.
        known: its status, with what the cluster could not be told yet.
        memory: what this process knows of it beyond.
        since: as of when Atlas must be seen (monotonic seconds).
    """

    resource: Resource
    spec: Spec
    known: Status
    memory: Memory
    since: float
