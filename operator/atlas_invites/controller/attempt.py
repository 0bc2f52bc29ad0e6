"""One try to reconcile an object: the state that its phases share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_invites.failures import Stale
from atlas_invites.invitation.case import target
from atlas_invites.invitation.email import email_key
from atlas_invites.invitation.refusal import refused_before

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.controller.claims import Claims
    from atlas_invites.controller.memory import Memories, Memory
    from atlas_invites.controller.ports import Atlas, Events, Project
    from atlas_invites.controller.resolve import Access
    from atlas_invites.controller.sends import Sends
    from atlas_invites.controller.store import Store, Writer
    from atlas_invites.invitation.case import Target
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.deletion import DeletionCase
    from atlas_invites.invitation.model import Api, Spec, Status
    from atlas_invites.invitation.plan import Decision
    from atlas_invites.invitation.refusal import Request
    from atlas_invites.invitation.resource import Resource


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the phases work with.

    Attributes:
        store: the latest version of every object.
        writer: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        events: publishes Kubernetes Events.
        memories: what this process knows about every object.
        sends: the sends of this process.
        clock: monotonic seconds.
        wall: the local time, UTC, for the times of conditions.
        deletion_grace: seconds that a deletion waits before it removes something in Atlas.
    """

    store: Store
    writer: Writer
    access: Access
    atlas: Atlas
    events: Events
    memories: Memories
    sends: Sends
    clock: Callable[[], float]
    wall: Callable[[], datetime]
    deletion_grace: float


@dataclass(slots=True)
class Attempt:
    """The state of one try. Each phase reads what earlier phases have set.

    Attributes:
        collaborators: what the phases work with.
        resource: the object, or the version of it that our own write of the finalizer returned.
        spec: its spec.
        known: its status, with what could not be stored in the cluster yet.
        memory: what else this process knows about it.
        since: what Atlas showed before this time (monotonic seconds) does not count.
        began: when this try began (monotonic seconds).
        credentials: the credentials in use, once they are read.
        has_renewed: the Secret was read again because Atlas rejected the credentials.
        is_secret_lost: the Secret is gone or invalid, and the credentials are those last read from it.
        is_resolved: the project is resolved.
        is_decided_from_status: the decision was made from status, without an observation of Atlas.
        must_observe: the decision must not be made from status.
        project: the Atlas project, once it is resolved.
        api: the API that was in use when the project was resolved.
        request: what the object requests, with which credentials.
        decision: the decision.
    """

    collaborators: Collaborators
    resource: Resource
    spec: Spec
    known: Status
    memory: Memory
    since: float
    began: float
    credentials: Credentials | None = None
    has_renewed: bool = False
    is_secret_lost: bool = False
    is_resolved: bool = False
    is_decided_from_status: bool = False
    must_observe: bool = False
    project: Project = field(init=False)
    api: Api = field(init=False)
    request: Request = field(init=False)
    decision: Decision = field(init=False)

    @property
    def claims(self) -> Claims:
        """The claims of every object."""
        return self.collaborators.store.claims

    @property
    def target(self) -> Target:
        """The e-mail and ids by which the invitation and member of the object are found."""
        return target(self.spec, self.known)

    @property
    def invitee(self) -> str:
        """The key of the invitee in the project."""
        return f"{self.project.group_id}/{email_key(self.spec.username or '')}"

    @property
    def deletion_case(self) -> DeletionCase:
        """The case of the object's deletion."""
        return self.memory.deletion_case(self.spec, self.known)

    @property
    def may_belong_to_unlisted(self) -> bool:
        """Whether an object in a namespace that was never listed may have the observed invitation or member."""
        there = self.decision.case.invitation or self.decision.case.member
        return bool(self.claims.unknown) and there is not None and not self.memory.is_known(self.known, there.id)

    @property
    def may_be_refused(self) -> bool:
        """Whether Atlas has refused a write for the current request, as far as memory and status show."""
        refusal = self.memory.refusal
        if refusal is not None:
            return refusal.request == self.request
        return refused_before(self.resource, self.known) is not None

    def resolve(self, project: Project) -> None:
        """Record the project."""
        self.project, self.api, self.is_resolved = project, project.api, True

    def check(self) -> None:
        """Check that the object exists, has its finalizer, and has not changed since the try began.

        Call this right before each write to Atlas.

        Raises:
            Stale: the check failed. The object is reconciled again.
        """
        resource, latest = self.resource, self.collaborators.store.get(self.resource.key)
        if latest is None or latest.uid != resource.uid:
            raise Stale(f"{resource.key} is gone")
        if latest.generation > resource.generation or latest.deleting != resource.deleting:
            raise Stale(f"the spec or the deletion of {resource.key} has changed")
        if resource.has_finalizer and not latest.has_finalizer:
            raise Stale(f"{resource.key} has lost its finalizer")
