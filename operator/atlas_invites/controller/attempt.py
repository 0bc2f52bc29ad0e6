"""One reconcile of one object, as it is handed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_invites.controller.refusals import refused_before
from atlas_invites.invitation.outcome import Stale

if TYPE_CHECKING:
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.refusals import Request
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
        request: what it asks for, with which credentials, once those are known.
    """

    resource: Resource
    spec: Spec
    known: Status
    memory: Memory
    since: float
    request: Request | None = None

    @property
    def may_be_refused(self) -> bool:
        """Whether Atlas has refused a write for what is asked now, as far as memory and status tell."""
        refusal = self.memory.refusal
        if refusal is not None:
            return refusal.request == self.request
        return refused_before(self.resource, self.known) is not None

    def check(self, latest: Resource | None) -> None:
        """See that the object is there, has what finalizer it had, and asks for nothing else since the attempt began.

        To be called right before each write to Atlas.

        Args:
            latest: the object as it is now, or None.

        Raises:
            Stale: it does not; its next attempt will see.
        """
        resource = self.resource
        if latest is None or latest.uid != resource.uid:
            raise Stale(f"{resource.key} has gone")
        if latest.generation > resource.generation or latest.deleting != resource.deleting:
            raise Stale(f"{resource.key} asks for something else by now")
        if resource.has_finalizer and not latest.has_finalizer:
            raise Stale(f"{resource.key} has lost its finalizer")
