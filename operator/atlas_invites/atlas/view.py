"""Snapshots of a project, and fetches that many callers share."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atlas_invites.atlas.errors import AtlasFailure
from atlas_invites.coalesce import Coalesced, Run
from atlas_invites.invitation.email import email_key
from atlas_invites.invitation.model import Invitation, Observation, User, View

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from atlas_invites.atlas.calls import Entries
    from atlas_invites.invitation.case import Target

E = TypeVar("E", bound=Invitation | User)

FETCHES, FETCHES_IN = 3, 3.0
"""At most FETCHES fetches begin in FETCHES_IN seconds, so the cost of a burst depends on its duration, not its size."""

RETAINED = 10.0
"""Seconds for which a snapshot is kept after its last use by ``look``."""


def joined(first: Observation, then: Observation) -> Observation:
    """Merge two observations. If both have an entry with the same id, the second one counts."""
    invitations = {invitation.id: invitation for invitation in (*first.invitations, *then.invitations)}
    users = {user.id: user for user in (*first.users, *then.users)}
    return first.model_copy(update={"invitations": tuple(invitations.values()), "users": tuple(users.values())})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Both lists of a project."""

    invitations: Index[Invitation]
    users: Index[User]

    @property
    def complete(self) -> bool:
        """Whether every entry could be read."""
        return self.invitations.complete and self.users.complete

    def find(self, target: Target) -> Observation:
        """Return every candidate: by id, by e-mail, and by the e-mail of the entries with these ids."""
        ids = (target.invitation_id, target.member_id)
        named: tuple[Invitation | User, ...] = (*self.invitations.find(ids, ()), *self.users.find(ids, ()))
        known = (target.username, target.shown_as, *(entry.username for entry in named))
        emails = sorted({email_key(email) for email in known if email})
        return Observation(
            invitations=self.invitations.find(ids, emails),
            users=self.users.find(ids, emails),
            view=View.LISTED if self.complete else View.PARTIAL,
        )


class Index(Generic[E]):
    """The entries of one list, by id and by e-mail key. ``complete``: every entry could be read."""

    def __init__(self, entries: Entries[E]) -> None:
        self.complete = entries.complete
        self.by_id: dict[str, E] = {entry.id: entry for entry in entries.read}
        self._by_email: dict[str, list[E]] = {}
        for entry in self.by_id.values():
            if entry.username:
                self._by_email.setdefault(email_key(entry.username), []).append(entry)

    def find(self, ids: Iterable[str | None], emails: Iterable[str]) -> tuple[E, ...]:
        """Return the entries with one of the ids or one of the e-mail keys, each once."""
        named = [self.by_id[entry_id] for entry_id in ids if entry_id is not None and entry_id in self.by_id]
        found = [*named, *(entry for email in emails for entry in self._by_email.get(email, ()))]
        return tuple({entry.id: entry for entry in found}.values())


class SharedLists:
    """Fetches the lists of a project for all callers, one fetch at a time. A fetch serves no caller that came later.

    If a fetch fails, it fails for all callers that wait for it.
    """

    def __init__(self, fetch: Callable[[], Coroutine[Any, Any, Snapshot]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetches: Coalesced[Snapshot] = Coalesced(clock, self._end)
        self._kept: Run[Snapshot] | None = None
        self._forget: asyncio.TimerHandle | None = None
        self._invalid: dict[str, int] = {}
        """The latest fetch that does not show our last write, by id and e-mail."""
        self._looking = 0
        self._began: deque[float] = deque(maxlen=FETCHES)

    async def get(self, since: float) -> Snapshot:
        """Return a snapshot whose fetch began at or after ``since`` (monotonic seconds). It is not kept.

        Raises:
            AtlasFailure: the fetch failed.
        """
        return (await self._served(since, 0)).task.result()

    async def look(self, target: Target, since: float) -> Observation:
        """Return what a snapshot shows of ids and an e-mail. It is not older than ``since`` or our own writes.

        Raises:
            AtlasFailure: the fetch failed.
        """
        invalid = 0
        self._looking += 1
        try:
            while True:
                fetch = await self._served(since, invalid)
                seen = fetch.task.result().find(target)
                invalid = max(self._invalid.get(key, 0) for key in (*_keys(target, seen), ""))
                if fetch.number > invalid:
                    return seen
        finally:
            self._looking -= 1

    def invalidate(self, key: str) -> None:
        """Mark the fetches so far as outdated for an id or e-mail that we may have changed."""
        if latest := self._fetches.running or self._kept:
            self._invalid[email_key(key)] = latest.number

    async def aclose(self) -> None:
        """Cancel the fetch in progress and drop the snapshot."""
        if self._forget is not None:
            self._forget.cancel()
        self._drop()
        if (fetch := self._fetches.running) is not None:
            fetch.task.cancel()
            await fetch.has_ended()

    async def _served(self, since: float, after: int) -> Run[Snapshot]:
        """Return a successful fetch that began at or after ``since`` and has a higher number than ``after``."""
        since, has_waited = min(since, self._clock()), False
        while True:
            if self._kept is not None and self._kept.began >= since and self._kept.number > after:
                self._keep(self._kept)
                return self._kept
            fetch = self._fetches.running
            if fetch is None:
                is_burst = len(self._began) == FETCHES
                if not has_waited and is_burst and (early := self._began[0] + FETCHES_IN - self._clock()) > 0:
                    await asyncio.sleep(early)
                    has_waited = True
                    continue
                fetch = self._fetches.start(self._fetch())
                self._began.append(fetch.began)
            if fetch.began < since or fetch.number <= after:
                await fetch.has_ended()
                continue
            try:
                await fetch.result()
            except AtlasFailure as failure:
                again = failure.again()
            else:
                return fetch
            raise again

    def _end(self, fetch: Run[Snapshot]) -> None:
        if fetch.task.cancelled() or fetch.task.exception() is not None:
            return
        if self._looking:
            self._invalid = {key: number for key, number in self._invalid.items() if number >= fetch.number}
            self._keep(fetch)
        elif self._kept is None:
            self._invalid.clear()

    def _keep(self, fetch: Run[Snapshot]) -> None:
        self._kept = fetch
        if self._forget is not None:
            self._forget.cancel()
        self._forget = asyncio.get_running_loop().call_later(RETAINED, self._drop)

    def _drop(self) -> None:
        self._kept = self._forget = None
        if self._fetches.running is None:
            self._invalid.clear()


def _keys(target: Target, seen: Observation) -> set[str]:
    """Return the key of every id and e-mail in a target and in its observation."""
    found = [key for invitation in seen.invitations for key in (invitation.id, invitation.username)]
    found += [key for user in seen.users for key in (user.id, user.username)]
    return {email_key(key) for key in (*target, *found) if key}
