"""The latest version of every object, from events, lists and our own writes. Our own writes do not requeue it."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.controller.claims import Claims
from atlas_invites.invitation.conditions import READY, SUSPENDED
from atlas_invites.invitation.model import State
from atlas_invites.invitation.outcome import REFUSED, Reason
from atlas_invites.telemetry.metrics import STATUS_WRITES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atlas_invites.controller.ports import Invites
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Key, Listed, Resource


_GONE_AT_MOST = 1024
"""How many deleted objects are remembered. The response to our own last write may come after the DELETED event."""

NO_REASON = "Unknown"
"""Counted as the reason of an object without one: never reconciled, or suspended while in progress."""


@dataclass(slots=True)
class Listing:
    """A complete list that is under way: the objects known before it, and the uids deleted meanwhile."""

    known_before: frozenset[tuple[Key, str]]
    deleted: set[str] = field(default_factory=set)


class _Facts(NamedTuple):
    """What is counted of an object, so that counting does not decode every status.

    Attributes:
        state: ``status.state``.
        ends: when its pending invitation expires (Unix seconds), unless it is suspended.
        reason: the reason of its condition Ready, or None if it has no such condition.
    """

    state: State
    ends: float | None
    reason: str | None

    @classmethod
    def of(cls, resource: Resource) -> _Facts:
        status = resource.status
        state, ready = status.state or State.UNKNOWN, status.condition(READY)
        counts = state is State.PENDING and status.condition(SUSPENDED) is None
        ends = status.invitation.expires if counts and status.invitation else None
        return cls(state, ends.timestamp() if ends else None, intern(ready.reason) if ready else None)


class Store:
    """The latest version of every object by key. Older versions never replace newer ones.

    If a watch is interrupted, objects deleted meanwhile get no event. A complete list, started with ``begin_listing``
    and ended with ``end_listing``, drops these ghosts. The store is not thread-safe, and for one event loop only.
    """

    def __init__(self) -> None:
        self.claims = Claims()
        self._objects: dict[Key, Resource] = {}
        self._facts: dict[Key, _Facts] = {}
        self._listing: Listing | None = None
        self._gone: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._objects.values()))

    def get(self, key: Key) -> Resource | None:
        """Return the latest version of an object, or None."""
        return self._objects.get(key)

    def states(self) -> Mapping[str, int]:
        """Return the number of objects by state. Objects that were never evaluated count as Unknown."""
        counts = Counter(facts.state for facts in self._facts.values())
        return {state.value: counts[state] for state in State}

    def reasons(self) -> Mapping[str, int]:
        """Return the number of objects by the reason of Ready. Objects without one count as Unknown.

        Every reason is present, also with 0, so that an alert about it ends.
        """
        counts = Counter(facts.reason or NO_REASON for facts in self._facts.values())
        return {NO_REASON: 0} | dict.fromkeys(map(str, Reason), 0) | counts

    def next_end(self, now: float) -> float | None:
        """Return when the next pending invitation expires after ``now``, or None (both in Unix seconds).

        An invitation that has expired, but whose state was not updated yet, does not hide the next one. Suspended
        objects do not count.
        """
        ends = (facts.ends for facts in self._facts.values() if facts.ends is not None)
        return min((end for end in ends if end > now), default=None)

    def refused(self) -> list[Resource]:
        """Return the objects whose reason says that Atlas refuses a request."""
        return [self._objects[key] for key, facts in self._facts.items() if facts.reason in REFUSED]

    def put(self, resource: Resource) -> bool:
        """Record a version of an object. Return whether it needs a reconcile."""
        known = self._objects.get(resource.key)
        if resource.uid in self._gone or (self._listing is not None and resource.uid in self._listing.deleted):
            return False
        if known is not None and known.uid == resource.uid and not resource.newer_than(known):
            return False
        if known is not None and known.uid != resource.uid and known.newer_than(resource):
            return False
        self._objects[resource.key] = resource
        self.claims.update(resource)
        self._facts[resource.key] = _Facts.of(resource)
        return resource.needs_reconcile(known)

    def remove(self, resource: Resource) -> bool:
        """Forget a deleted object. Return whether it was known; it was not if a new object has its name already."""
        if self._listing is not None:
            self._listing.deleted.add(resource.uid)
        self._gone[resource.uid] = None
        while len(self._gone) > _GONE_AT_MOST:
            del self._gone[next(iter(self._gone))]
        known = self._objects.get(resource.key)
        if known is None or known.uid != resource.uid:
            return False
        self._forget(resource.key)
        return True

    def begin_listing(self) -> Listing:
        """Start a complete list. Call this right before the request."""
        self._listing = Listing(frozenset((r.key, r.uid) for r in self._objects.values()))
        return self._listing

    def end_listing(self, listing: Listing, listed: Listed) -> tuple[list[Key], list[Key]]:
        """Record a complete list.

        Returns:
            The keys of the objects that need a reconcile and whose change no event has shown, and the keys of the
            dropped ghosts.
        """
        seen: set[tuple[Key, str]] = set()
        changed = []
        for resource in listed.resources:
            seen.add((resource.key, resource.uid))
            if self.put(resource):
                changed.append(resource.key)
        self.abort_listing(listing)
        self.claims.note_unlisted(listed.unlisted)
        ghosts = [
            key
            for key, uid in listing.known_before - seen
            if (known := self._objects.get(key)) is not None and known.uid == uid
            if key.namespace not in listed.unlisted
        ]
        for key in ghosts:
            self._forget(key)
        return changed, ghosts

    def abort_listing(self, listing: Listing) -> None:
        """End a complete list that failed."""
        if self._listing is listing:
            self._listing = None

    def _forget(self, key: Key) -> None:
        del self._objects[key]
        del self._facts[key]
        self.claims.forget(key)


class Writer:
    """Writes finalizers and statuses, and updates the store with them.

    Every write raises ``Stale`` if the object has changed meanwhile, ``ClusterUnavailable`` if the API server failed,
    and ``WriteRefused`` if the API server rejected it.

    Args:
        store: the latest version of every object.
        invites: writes to Kubernetes.
    """

    def __init__(self, store: Store, invites: Invites) -> None:
        self._store = store
        self._invites = invites
        self._being_written: dict[Key, Resource] = {}

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Add our finalizer. Return the new version of the object, which has the same spec."""
        with self._announced(resource.with_finalizer()):
            written = await self._invites.add_finalizer(resource)
            self._store.put(written)
        return written

    async def remove_finalizer(self, resource: Resource) -> None:
        """Remove our finalizer."""
        self._store.put(await self._invites.remove_finalizer(resource))

    async def write_status(self, resource: Resource, wanted: Status) -> Resource:
        """Write the whole status if it differs from the stored one. Return the latest version of the object."""
        if wanted == resource.status:
            return resource
        status = wanted.to_wire()
        with self._announced(resource.with_status(status)):
            written = await self._invites.write_status(resource, status)
            self._store.put(written)
        STATUS_WRITES.inc()
        return written

    def is_ours(self, resource: Resource) -> bool:
        """Return whether this event is the echo of our own write and arrived before the response."""
        expected = self._being_written.get(resource.key)
        return expected is not None and expected.substance == resource.substance

    @contextmanager
    def _announced(self, expected: Resource) -> Iterator[None]:
        self._being_written[expected.key] = expected
        try:
            yield
        finally:
            del self._being_written[expected.key]
