"""What a project held at one moment, and how look-ups join so that many askers cost one fetch."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from atlas_invites.atlas.errors import AtlasFailure
from atlas_invites.invitation.model import Invitation, Membership, Seen, User

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

E = TypeVar("E", bound=Invitation | User)

RETAINED = 10.0
"""Seconds for which a snapshot is kept after its last use."""
ENDED = frozenset({Membership.EXPIRED, Membership.REJECTED})


def live(seen: Seen) -> bool:
    """Tell whether something is there: an invitation, or a user whose invitation has not ended."""
    return bool(seen.invitations) or any(user.org_membership_status not in ENDED for user in seen.users)


def joined(*parts: Seen) -> Seen:
    """Return all that several looks showed; of an id that was seen twice, what was seen last."""
    invitations = {invitation.id: invitation for part in parts for invitation in part.invitations}
    users = {user.id: user for part in parts for user in part.users}
    return Seen(invitations=tuple(invitations.values()), users=tuple(users.values()))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Both lists of a project. ``began``: monotonic seconds when the first request went out."""

    began: float
    invitations: Index[Invitation]
    users: Index[User]

    def find(self, username: str | None, invitation_id: str | None) -> Seen:
        """Return every candidate: by id, by e-mail, and by the e-mail of what the id led to."""
        named: tuple[Invitation | User, ...] = (
            *self.invitations.find(invitation_id, ()),
            *self.users.find(invitation_id, ()),
        )
        emails = sorted({email.lower() for email in (username, *(entry.username for entry in named)) if email})
        return Seen(
            invitations=self.invitations.find(invitation_id, emails), users=self.users.find(invitation_id, emails)
        )


class Index(Generic[E]):
    """The entries of one list by id and by lower-case e-mail."""

    def __init__(self, entries: Iterable[E]) -> None:
        self.by_id: dict[str, E] = {entry.id: entry for entry in entries}
        self._by_email: dict[str, list[E]] = {}
        for entry in self.by_id.values():
            if entry.username:
                self._by_email.setdefault(entry.username.lower(), []).append(entry)

    def find(self, entry_id: str | None, emails: Iterable[str]) -> tuple[E, ...]:
        """Return the entry with the id and those with one of the e-mails, each once."""
        named: list[E] = [self.by_id[entry_id]] if entry_id is not None and entry_id in self.by_id else []
        found = [*named, *(entry for email in emails for entry in self._by_email.get(email, ()))]
        return tuple({entry.id: entry for entry in found}.values())


class Joint:
    """Fetches a snapshot for all who ask: one flight at a time, and nobody is served by one that began before it asked.

    A flight goes on for the others when one asker is cancelled; when it fails, all who joined it get its failure.
    """

    def __init__(
        self, fetch: Callable[[float], Awaitable[Snapshot]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: Snapshot | None = None
        self._flight: tuple[float, asyncio.Task[Snapshot]] | None = None
        self._forget: asyncio.TimerHandle | None = None
        self._touched: dict[str, float] = {}

    async def look(self, username: str | None, invitation_id: str | None, since: float) -> Seen:
        """Return what a snapshot shows of an id and an e-mail: none that began before ``since``, or before a touch.

        Raises:
            AtlasFailure: the fetch that would have served failed.
        """
        while True:
            snapshot = await self.get(since)
            seen = snapshot.find(username, invitation_id)
            since = max((self._touched.get(key, since) for key in _keys(username, invitation_id, seen)), default=since)
            if snapshot.began >= since:
                return seen

    def touch(self, key: str) -> None:
        """Take note that we may just have changed what is there under an id or e-mail."""
        if self._kept is not None or self._flight is not None:
            self._touched[key.lower()] = self._clock()

    async def get(self, since: float) -> Snapshot:
        """Return a snapshot whose fetch began at or after ``since`` (monotonic seconds).

        Raises:
            AtlasFailure: the fetch that would have served failed.
        """
        since = min(since, self._clock())
        while True:
            if self._kept is not None and self._kept.began >= since:
                self._keep(self._kept)
                return self._kept
            began, task = self._flight or self._start()
            if began < since:
                await asyncio.wait([task])
                continue
            try:
                return await asyncio.shield(task)
            except AtlasFailure as failure:
                again = failure.again()
            raise again

    def _start(self) -> tuple[float, asyncio.Task[Snapshot]]:
        began = self._clock()
        task = asyncio.ensure_future(self._fetch(began))
        task.add_done_callback(self._landed)
        self._flight = (began, task)
        return self._flight

    def _landed(self, task: asyncio.Task[Snapshot]) -> None:
        self._flight = None
        if not task.cancelled() and task.exception() is None:
            snapshot = task.result()
            self._touched = {key: at for key, at in self._touched.items() if at > snapshot.began}
            self._keep(snapshot)

    def _keep(self, snapshot: Snapshot) -> None:
        self._kept = snapshot
        if self._forget is not None:
            self._forget.cancel()
        self._forget = asyncio.get_running_loop().call_later(RETAINED, self._drop)

    def _drop(self) -> None:
        self._kept = self._forget = None
        if self._flight is None:
            self._touched.clear()

    async def aclose(self) -> None:
        """Cancel what is in flight and forget what is kept."""
        if self._forget is not None:
            self._forget.cancel()
        self._drop()
        if self._flight is not None:
            self._flight[1].cancel()
            await asyncio.wait([self._flight[1]])


def _keys(username: str | None, invitation_id: str | None, seen: Seen) -> set[str]:
    """Return every id and e-mail, in lower case, that a look was about or came upon."""
    found = [key for invitation in seen.invitations for key in (invitation.id, invitation.username)]
    found += [key for user in seen.users for key in (user.id, user.username)]
    return {key.lower() for key in (username, invitation_id, *found) if key}
