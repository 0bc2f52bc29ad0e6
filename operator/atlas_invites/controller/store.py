"""The latest of every object, as events, lists and our own writes show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_invites.controller.claims import Claims
from atlas_invites.controller.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.invitation.resource import Key, Listed, Resource


_GONE_AT_MOST = 1024
"""So many deleted objects are remembered: the answer to our own last write may come after the deletion's event."""


@dataclass(slots=True)
class Listing:
    """A complete list that is under way: what was known before it, and what was deleted meanwhile."""

    known_before: frozenset[tuple[Key, str]]
    deleted: set[str] = field(default_factory=set)


class Store:
    """The latest of every object by key. Older versions never replace newer ones.

    After a cut watch, objects deleted in the gap get no event: a complete list, begun with ``begin_listing`` and ended
    with ``end_listing``, drops these ghosts. Not thread-safe: for one event loop.
    """

    def __init__(self) -> None:
        self.claims = Claims()
        self.tally = Tally()
        self._objects: dict[Key, Resource] = {}
        self._listing: Listing | None = None
        self._gone: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._objects.values()))

    def get(self, key: Key) -> Resource | None:
        """Return the latest version of the object, or None."""
        return self._objects.get(key)

    def put(self, resource: Resource) -> bool:
        """Take in a version of an object; return whether it gives the reconciler something to do."""
        known = self._objects.get(resource.key)
        if resource.uid in self._gone or (self._listing is not None and resource.uid in self._listing.deleted):
            return False
        if known is not None and known.uid == resource.uid and not resource.newer_than(known):
            return False
        if known is not None and known.uid != resource.uid and known.newer_than(resource):
            return False
        self._objects[resource.key] = resource
        self.claims.update(resource)
        self.tally.update(resource)
        return resource.needs_reconcile(known)

    def remove(self, resource: Resource) -> bool:
        """Forget an object that was deleted; return whether it was known (not so if its name was taken anew since)."""
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
        """Call right before a complete list is asked for."""
        self._listing = Listing(frozenset((r.key, r.uid) for r in self._objects.values()))
        return self._listing

    def end_listing(self, listing: Listing, listed: Listed) -> tuple[list[Key], list[Key]]:
        """Take in a complete list.

        Returns:
            The keys that have something to do and were not known by an event, and the keys of the ghosts dropped.
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
        """Call where a list failed."""
        if self._listing is listing:
            self._listing = None

    def _forget(self, key: Key) -> None:
        del self._objects[key]
        self.tally.forget(key)
        self.claims.forget(key)
