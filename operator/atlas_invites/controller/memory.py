"""What this process remembers of each object. A restart loses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_invites.failures import Later
from atlas_invites.invitation.case import known_member
from atlas_invites.invitation.deletion import DeletionCase
from atlas_invites.invitation.model import Origin

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.controller.finalizer import Finalized
    from atlas_invites.invitation.deletion import Trouble
    from atlas_invites.invitation.model import Invitation, Observation, Spec, Status
    from atlas_invites.invitation.refusal import Refusal
    from atlas_invites.invitation.resource import Key, Resource

AWAIT_OTHERS = 60.0
"""Seconds that an object waits at most for the evaluation of others that name the same invitee."""

AWAIT_STEP = 1.0
"""Seconds between two checks whether they were evaluated."""


@dataclass(slots=True)
class Memory:
    """What this process knows about an object beyond its status. A restart loses all of it.

    Times in seconds are those of the monotonic clock.

    Attributes:
        uid: the uid of the object.
        is_only_sender: no earlier process can have sent what status does not show: this process added the first
            finalizer, as far as status shows, or handled a requested resend.
        refusal: the last write that Atlas refused.
        elsewhere: ids of the users with the e-mail who were in the project through a team or the organization when
            Atlas refused a send with a second 409.
        roles_written: the id and the roles of the last write of roles, until Atlas has shown them.
        renewed_at: when status.error was last renewed.
        unconfirmed_since: when the last send that may be pending began, or when the wait for a send of an earlier
            process began.
        unconfirmed_send_at: Atlas's time right before a send of this process that got no response.
        hidden_send_at: Atlas's time right before a send through the Invites API that may have worked, and that the
            Users API does not show.
        created: ids of the invitations (or users) that Atlas returned for our sends.
        canceled: id and time of the invitations that a resend has canceled: lists that lag show them for a while.
        has_sent: this process has sent an invitation for the object.
        has_conflicted: Atlas refused the last send with a 409.
        waiting_since: when it began to wait for the evaluation of other objects; by whether it is being deleted.
        unsaved: the status after a write to Atlas, until it is stored in the cluster.
        trouble: the last trouble of its cleanup, and since when it lasts.
        deleting_since: when this process first saw that the object is being deleted.
        is_removing: its cleanup has begun to remove something in Atlas, and is not known to have failed.
        cleaned_up: the result of its cleanup in Atlas, until the finalizer is removed.
        published_refusal: the last refusal of the API server that was published as an event.
    """

    uid: str
    is_only_sender: bool = False
    refusal: Refusal | None = None
    elsewhere: frozenset[str] = frozenset()
    roles_written: tuple[str, frozenset[str]] | None = None
    renewed_at: float | None = None
    unconfirmed_since: float | None = None
    unconfirmed_send_at: datetime | None = None
    hidden_send_at: datetime | None = None
    created: set[str] = field(default_factory=set)
    canceled: set[tuple[str, str | None]] = field(default_factory=set)
    has_sent: bool = False
    has_conflicted: bool = False
    waiting_since: dict[bool, float] = field(default_factory=dict)
    unsaved: Status | None = None
    trouble: tuple[Trouble | None, float] = (None, 0.0)
    deleting_since: float | None = None
    is_removing: bool = False
    cleaned_up: Finalized | None = None
    published_refusal: str | None = None

    @property
    def may_have_an_unconfirmed_send(self) -> bool:
        """Whether a send may have worked although Atlas does not show it yet."""
        return self.unconfirmed_since is not None or self.unconfirmed_send_at is not None

    @property
    def may_have_removed(self) -> bool:
        """Whether this process may have removed in Atlas what status shows. Then no other object inherits it."""
        return self.is_removing or bool(self.canceled)

    def wait_from(self, moment: float) -> None:
        """Treat a send of another object at that time as an unconfirmed send of this object."""
        self.unconfirmed_since = max(self.unconfirmed_since or moment, moment)

    def await_others(self, now: float, *, waiting: bool, deleting: bool = False) -> None:
        """Wait, for a minute in all, for the evaluation of other objects that name the same invitee.

        Args:
            now: monotonic seconds.
            waiting: whether there is an object to wait for.
            deleting: whether the object is being deleted. A deletion has a minute of its own.

        Raises:
            Later: there is an object to wait for, and the minute is not over.
        """
        if not waiting:
            self.waiting_since.pop(deleting, None)
        elif now < self.waiting_since.setdefault(deleting, now) + AWAIT_OTHERS:
            raise Later(AWAIT_STEP)

    def forget_invitation(self, *, is_only_sender: bool) -> None:
        """Forget the earlier invitation. Unconfirmed sends are kept: they may still become pending.

        Args:
            is_only_sender: whether no other process can have sent an invitation that Atlas does not show yet.
        """
        self.refusal = self.roles_written = self.unsaved = None
        self.has_sent = self.has_conflicted = False
        self.is_only_sender = is_only_sender

    def without_canceled(self, seen: Observation) -> Observation:
        """Return an observation without the invitations that a resend has canceled."""
        if not self.canceled:
            return seen
        # A user who is invited again has the same id. Without the time of the invitation the two cannot be told apart.
        canceled = self.canceled - {(id_, None) for id_, _ in self.canceled}
        invitations = tuple(i for i in seen.invitations if i.id not in {id_ for id_, _ in self.canceled})
        users = tuple(u for u in seen.users if (u.id, u.invitation_created_at) not in canceled)
        return seen.model_copy(update={"invitations": invitations, "users": users})

    def note_trouble(self, trouble: Trouble | None, now: float) -> float:
        """Record the trouble of a cleanup, if any, and return the time from which on the cleanup has met only this one.

        Args:
            trouble: the trouble; None for every other outcome.
            now: monotonic seconds.
        """
        if trouble is not self.trouble[0]:
            self.trouble = (trouble, now)
        return self.trouble[1]

    def unseen_roles(self, entry_id: str, shown: frozenset[str]) -> frozenset[str] | None:
        """Return the roles that this process last wrote to an entry, or None once Atlas shows them.

        Args:
            entry_id: the id of an invitation or a user.
            shown: the roles that Atlas shows for it.
        """
        if self.roles_written is None or self.roles_written[0] != entry_id:
            return None
        if self.roles_written[1] == shown:
            self.roles_written = None
            return None
        return self.roles_written[1]

    def origin_of(self, invitation: Invitation) -> Origin:
        """Return Created if our own send created this invitation, as far as this process knows, else Adopted."""
        if invitation.id in self.created:
            return Origin.CREATED
        created, sent_at = invitation.created, self.unconfirmed_send_at
        return Origin.CREATED if created and sent_at and created >= sent_at else Origin.ADOPTED

    def is_known(self, status: Status, entry_id: str) -> bool:
        """Return whether an entry in Atlas is the object's own: its id is on status, or our own send returned it."""
        member = known_member(status)
        ids = {status.invitation.id if status.invitation else None, member.id if member else None}
        return entry_id in ids | self.created

    def deletion_case(self, spec: Spec | None, known: Status) -> DeletionCase:
        """Return the case of the object's deletion, with what this process knows about it."""
        has_sent = self.has_sent or self.unconfirmed_send_at is not None
        return DeletionCase(spec, known, has_sent, self.is_only_sender)

    def completed(self, status: Status) -> Status:
        """Return a status with what Atlas returned for our own write, if that is not stored in the cluster yet."""
        if self.unsaved is None:
            return status
        kept = {name: getattr(self.unsaved, name) for name in ("state", "origin", "invitation", "member")}
        return status.model_copy(update=kept)


class Memories:
    """The memory of every object that has one."""

    def __init__(self) -> None:
        self._memories: dict[Key, Memory] = {}

    def of(self, resource: Resource) -> Memory:
        """Return the memory of an object, at first an empty one. Another object with the same name has its own."""
        memory = self._memories.get(resource.key)
        if memory is None or memory.uid != resource.uid:
            memory = self._memories[resource.key] = Memory(resource.uid)
        return memory

    def forget(self, key: Key) -> None:
        """Forget an object that is gone or settled, so that idle objects need no memory."""
        self._memories.pop(key, None)
