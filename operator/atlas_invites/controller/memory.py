"""What this process knows of an object beyond its status. All of it may be lost at any time: a restart forgets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_invites.invitation.case import known_member
from atlas_invites.invitation.deletion import DeletionCase
from atlas_invites.invitation.outcome import Later

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.controller.ending import Ended
    from atlas_invites.controller.refusals import Refusal
    from atlas_invites.invitation.deletion import Trouble
    from atlas_invites.invitation.model import Spec, Status
    from atlas_invites.invitation.resource import Key, Resource

AWAIT_OTHERS = 60.0
"""Seconds that an object waits at most until others that name the same person were evaluated."""

AWAIT_STEP = 1.0
"""Seconds between two looks whether they were."""


@dataclass(slots=True)
class Memory:
    """One object's. Times in seconds are the monotonic clock's.

    Attributes:
        uid: the object that it is about.
        finalizer_ours: this process put the finalizer on, the first one as far as status shows, so nobody can have sent
            anything for the object before.
        refusal: the write that Atlas refused last.
        elsewhere: ids of those with the e-mail who were in the project through a team or the organization when Atlas
            refused a send with a second 409.
        roles_written: the id and the roles of the last write of roles, until Atlas has shown them.
        renewed_at: when status.error was last renewed.
        confirming_since: when the wait before a sending began.
        unanswered_since: Atlas's time right before a sending that got no answer.
        lost_invite: Atlas's time right before a sending through the invites API which may have worked, and which its
            successor does not show.
        created: ids of the invitations (or users) that our sendings were answered with.
        sent: this process has sent something for the object.
        conflicted: Atlas answered the last sending with a 409.
        waiting_since: when it began to wait for other objects to be evaluated; by whether it is being deleted.
        unsaved: the status that a write to Atlas led to, until the cluster holds it.
        trouble: what its deletion met last, and since when.
        ended: what its deletion did in Atlas, until the finalizer is removed.
        told: the last refusal of the API server of which an event tells.
    """

    uid: str
    finalizer_ours: bool = False
    refusal: Refusal | None = None
    elsewhere: frozenset[str] = frozenset()
    roles_written: tuple[str, frozenset[str]] | None = None
    renewed_at: float | None = None
    confirming_since: float | None = None
    unanswered_since: datetime | None = None
    lost_invite: datetime | None = None
    created: set[str] = field(default_factory=set)
    sent: bool = False
    conflicted: bool = False
    waiting_since: dict[bool, float] = field(default_factory=dict)
    unsaved: Status | None = None
    trouble: tuple[Trouble | None, float] = (None, 0.0)
    ended: Ended | None = None
    told: str | None = None

    def await_others(self, now: float, *, waiting: bool, ending: bool = False) -> None:
        """Wait, for a minute in all, until other objects that name the same person were evaluated.

        Args:
            now: monotonic seconds.
            waiting: whether there are any that were not.
            ending: whether the object is being deleted: that has a minute of its own.

        Raises:
            Later: the minute is not over.
        """
        if not waiting:
            self.waiting_since.pop(ending, None)
        elif now < self.waiting_since.setdefault(ending, now) + AWAIT_OTHERS:
            raise Later(AWAIT_STEP)

    def note_trouble(self, trouble: Trouble | None, now: float) -> float:
        """Record the trouble that a deletion has just met, if any, and return since when it has met that one in a row.

        Args:
            trouble: which trouble; None for every other outcome.
            now: monotonic seconds.
        """
        if trouble is not self.trouble[0]:
            self.trouble = (trouble, now)
        return self.trouble[1]

    def unseen_roles(self, entry_id: str, shown: frozenset[str]) -> frozenset[str] | None:
        """Return the roles that this process wrote last to an entry, or None once Atlas shows them.

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

    def is_known(self, status: Status, entry_id: str) -> bool:
        """Return whether an entry of Atlas is the object's own: status shows its id, or our own send returned it."""
        member = known_member(status)
        ids = {status.invitation.id if status.invitation else None, member.id if member else None}
        return entry_id in ids | self.created

    def deletion_case(self, spec: Spec | None, known: Status) -> DeletionCase:
        """Return the case of the object's deletion, with what this process knows of it."""
        return DeletionCase(spec, known, self.sent or self.unanswered_since is not None, self.finalizer_ours)

    def completed(self, status: Status) -> Status:
        """Return a status with what Atlas responded to our own write, if the cluster could not be told of it yet."""
        if self.unsaved is None:
            return status
        kept = {name: getattr(self.unsaved, name) for name in ("state", "origin", "invitation", "member")}
        return status.model_copy(update=kept)


class Memories:
    """The memory of every object that has one."""

    def __init__(self) -> None:
        self._memories: dict[Key, Memory] = {}

    def of(self, resource: Resource) -> Memory:
        """Return the object's memory, an empty one at first; another object of the same name has another."""
        memory = self._memories.get(resource.key)
        if memory is None or memory.uid != resource.uid:
            memory = self._memories[resource.key] = Memory(resource.uid)
        return memory

    def forget(self, key: Key) -> None:
        """Forget all about an object: it is gone, or settled, and idle objects cost nothing."""
        self._memories.pop(key, None)
