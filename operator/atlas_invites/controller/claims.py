"""The index of all claims: which object names which invitation, whether it has proven that, and its age.

An object claims (project, e-mail) and (project, invitation id), from spec and status, once its own credentials have
read the project. So no object can take an invitation of a project that its credentials cannot read. Of two objects the
older one keeps the invitation.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_invites.invitation.claim import claimed, is_proven_by, leads_elsewhere, named, qualified, unplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atlas_invites.invitation.resource import Key, Resource

RELEASED_AT_MOST = 10_000
"""How many claims of deleted objects are remembered."""


@dataclass(slots=True)
class Claim:
    """What one object names.

    Attributes:
        names: the (project, e-mail) and (project, id) pairs, as text.
        unplaced: its e-mails and ids while their project is unknown. Each may turn out to be a name.
        group_id: the id of the project that its ``projectRef`` leads to, once that was resolved.
        found: the names that were found in Atlas, in addition to those of spec and status.
        proven: its own credentials have read the project.
        ended: it is deleted, and our finalizer is being removed. Nothing more is done for it.
        reconciled: this process has reconciled it at least once.
        doubtful_since: when it was last finalized, if an invitation may have been sent for it that no status shows.
    """

    key: Key
    uid: str
    created_at: str
    deleting: bool = False
    names: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    group_id: str | None = None
    found: tuple[str, ...] = ()
    proven: bool = False
    ended: bool = False
    reconciled: bool = False
    doubtful_since: float | None = None

    @property
    def evaluated(self) -> bool:
        """Whether its claims are known: it was reconciled at least once, or is proven."""
        return self.reconciled or self.proven

    @property
    def age(self) -> tuple[str, str]:
        """The order of claims. The smaller one is the older one."""
        return self.created_at, self.uid


class Claims:
    """The claims of every object.

    Attributes:
        wake: called with the objects to reconcile again because another one was created or deleted.
        unknown: the watched namespaces that this process has never listed; None before its first list.
    """

    def __init__(self) -> None:
        self.wake: Callable[[Iterable[Key]], None] = lambda _: None
        self.unknown: frozenset[str] | None = None
        self._claims: dict[Key, Claim] = {}
        self._by_name: dict[str, tuple[Key, ...]] = {}
        self._released: OrderedDict[str, float | None] = OrderedDict()

    def update(self, resource: Resource) -> None:
        """Record the latest version of an object. One that is being deleted without our finalizer claims nothing."""
        if resource.deleting and not resource.has_finalizer:
            self.forget(resource.key)
            return
        claim = self._claims.get(resource.key)
        if claim is not None and claim.uid != resource.uid:
            self.forget(resource.key)
            claim = None
        if claim is None:
            claim = self._claims[resource.key] = Claim(resource.key, resource.uid, resource.created_at)
        spec, status = resource.readable_spec, resource.status
        own = claimed(spec, status, claim.group_id)
        if own.issuperset(claim.found):
            claim.found = ()
        is_ending, claim.deleting = resource.deleting and not claim.deleting, resource.deleting
        claim.proven = claim.proven or is_proven_by(spec, status)
        names = own.union(claim.found)
        is_renamed = self._rename(claim, names, () if names else map(unplaced, named(spec, status)))
        if claim.proven and (is_renamed or is_ending):
            self._wake_younger(claim)

    def note_unlisted(self, namespaces: frozenset[str]) -> None:
        """Record the namespaces that a complete list does not cover. A namespace that was listed once stays known."""
        self.unknown = namespaces if self.unknown is None else namespaces & self.unknown

    def forget(self, key: Key) -> None:
        """Forget an object that is gone, and requeue those that may take over."""
        claim = self._claims.pop(key, None)
        if claim is None:
            return
        self._index(key, claim.names + claim.unplaced, ())
        for name in claim.names:
            times = {self._released.pop(name, None), claim.doubtful_since} - {None}
            self._released[name] = max(filter(None, times), default=None)
        while len(self._released) > RELEASED_AT_MOST:
            self._released.popitem(last=False)
        self.wake([rival.key for rival in self._naming(claim)])

    def resolve(self, resource: Resource, group_id: str) -> None:
        """Record the project that the ``projectRef`` of an object leads to. The project was not read yet.

        An object with an invitation of another project on status keeps that project. An object that is gone claims
        nothing.
        """
        claim = self._claims.get(resource.key)
        if claim is None or claim.uid != resource.uid or claim.group_id == group_id:
            return
        if leads_elsewhere(resource.readable_spec, resource.status, group_id):
            return
        if claim.group_id is not None:
            claim.proven = False
        claim.group_id = group_id
        self.update(resource)

    def prove(self, key: Key) -> None:
        """Record that the credentials of an object have read its project."""
        claim = self._claims.get(key)
        if claim is not None and not claim.proven:
            claim.proven = True
            self._wake_younger(claim)

    def add_found(self, key: Key, group_id: str, *names: str | None) -> bool:
        """Record the names that were found in Atlas for an object: the id for its e-mail, or the e-mail for its id.

        Returns:
            Whether it claims more than before, so that another object may be the oldest to claim them.
        """
        claim = self._claims.get(key)
        more = frozenset(qualified(group_id, name) for name in names if name)
        if claim is None or more <= frozenset(claim.names):
            return False
        claim.found = tuple(sorted(more))
        self._rename(claim, more.union(claim.names), ())
        self._wake_younger(claim)
        return True

    def mark_evaluated(self, key: Key) -> None:
        """Record that an object was reconciled, whatever the outcome."""
        claim = self._claims.get(key)
        if claim is not None:
            claim.reconciled = True

    def is_named(self, key: Key) -> bool:
        """Return whether it is known what an object names. It is not before its ``projectRef`` was resolved."""
        claim = self._claims.get(key)
        return claim is not None and bool(claim.names)

    def is_alone(self, key: Key) -> bool:
        """Return whether no other object names the same."""
        return not self._rivals(key)

    def is_proven(self, key: Key) -> bool:
        """Return whether the credentials of an object have read its project."""
        claim = self._claims.get(key)
        return claim is not None and claim.proven

    def had_another(self, key: Key) -> bool:
        """Return whether a deleted object named the same: a list that lags may not show what it has left."""
        claim = self._claims.get(key)
        return claim is not None and any(name in self._released for name in claim.names)

    def end(self, key: Key) -> None:
        """Record that our finalizer is being removed. A younger object that is deleted too now has the invitation."""
        claim = self._claims.get(key)
        if claim is not None:
            claim.ended = True

    def doubt(self, key: Key, now: float) -> None:
        """Record that an invitation may have been sent for an object that is being deleted (monotonic seconds)."""
        claim = self._claims.get(key)
        if claim is not None:
            claim.doubtful_since = now

    def doubtful_since(self, key: Key) -> float | None:
        """Return when a deleted object that named the same and may have an unconfirmed send was finalized, or None."""
        claim = self._claims.get(key)
        times = [self._released.get(name) for name in claim.names] if claim else []
        return max((time for time in times if time is not None), default=None)

    def rivals(self, key: Key) -> list[Key]:
        """Return the other objects that name the same: live or being deleted, proven or not."""
        return [rival.key for rival in self._rivals(key)]

    def possible_rivals(self, key: Key) -> list[Key]:
        """Return the other objects that name the same, or may do so once their ``projectRef`` is resolved."""
        return [rival.key for rival in (*self._rivals(key), *self._unplaced(key))]

    def holder(self, key: Key) -> Key | None:
        """Return the oldest object that claims what this younger one names, or None if there is no older one."""
        return _oldest(rival for rival in self._older(key) if rival.proven)

    def live_holder(self, key: Key) -> Key | None:
        """Return the oldest live object that claims what this younger one names, or None."""
        return _oldest(rival for rival in self._older(key) if rival.proven and not rival.deleting)

    def live_claimant(self, key: Key) -> Key | None:
        """Return the oldest live object that claims the same, which takes over, or None."""
        return _oldest(rival for rival in self._rivals(key) if rival.proven and not rival.deleting)

    def ending(self, key: Key) -> list[Key]:
        """Return the objects that claim the same and are being deleted, oldest first.

        Those in the same namespace count without proof, because a restart loses the proof of a ``projectRef``.
        """
        ending = [r for r in self._rivals(key) if r.deleting and (r.proven or r.key.namespace == key.namespace)]
        return [rival.key for rival in sorted(ending, key=lambda rival: rival.age)]

    def has_ended(self, key: Key) -> bool:
        """Return whether an object is gone, or only the removal of our finalizer is left to do."""
        claim = self._claims.get(key)
        return claim is None or claim.ended

    def is_older(self, key: Key, than: Key) -> bool:
        """Return whether one object is older than another."""
        return self._claims[key].age < self._claims[than].age

    def awaits_older(self, key: Key) -> bool:
        """Return whether an older object that names the same, or may do so, was not evaluated yet."""
        return any(not older.evaluated for older in self._older(key)) or any(
            not other.reconciled and other.age < self._claims[key].age for other in self._unplaced(key)
        )

    def awaits_any(self, key: Key) -> bool:
        """Return whether a live object that names the same, or may do so, has not proven its claim yet."""
        return any(not rival.proven and not rival.deleting for rival in self._rivals(key)) or any(
            not other.deleting for other in self._unplaced(key)
        )

    def _rename(self, claim: Claim, names: Iterable[str], unplaced: Iterable[str]) -> bool:
        """Replace the names of an object. Return whether they have changed."""
        before = (claim.names, claim.unplaced)
        claim.names, claim.unplaced = tuple(sorted(names)), tuple(sorted(unplaced))
        if before == (claim.names, claim.unplaced):
            return False
        self._index(claim.key, before[0] + before[1], claim.names + claim.unplaced)
        return True

    def _index(self, key: Key, old: Iterable[str], new: Iterable[str]) -> None:
        for name in set(old) - set(new):
            left = tuple(k for k in self._by_name[name] if k != key)
            if left:
                self._by_name[name] = left
            else:
                del self._by_name[name]
        for name in set(new) - set(old):
            self._by_name[name] = (*self._by_name.get(name, ()), key)

    def _naming(self, claim: Claim) -> list[Claim]:
        keys = {key for name in claim.names for key in self._by_name.get(name, ())}
        return [self._claims[key] for key in keys]

    def _rivals(self, key: Key) -> list[Claim]:
        """Return the other objects that name the same. For an object that is gone there are none."""
        claim = self._claims.get(key)
        return [] if claim is None else [other for other in self._naming(claim) if other.key != key]

    def _unplaced(self, key: Key) -> list[Claim]:
        """Return the other objects with the same e-mail or id whose project is not known yet."""
        claim = self._claims.get(key)
        if claim is None:
            return []
        names = {*claim.unplaced, *(unplaced(name.partition("/")[2]) for name in claim.names)}
        keys = {other for name in names for other in self._by_name.get(name, ()) if other != key}
        return [self._claims[other] for other in keys]

    def _wake_younger(self, claim: Claim) -> None:
        """Requeue the objects that yield to a claim: younger ones, and if it is live, those that are being deleted."""

        def yields(rival: Claim) -> bool:
            is_younger = rival.age > claim.age and rival.evaluated
            return is_younger or (rival.deleting and not claim.deleting)

        self.wake([rival.key for rival in self._rivals(claim.key) if yields(rival)])

    def _older(self, key: Key) -> list[Claim]:
        return [rival for rival in self._rivals(key) if rival.age < self._claims[key].age and not rival.ended]


def _oldest(claims: Iterable[Claim]) -> Key | None:
    oldest = min(claims, key=lambda claim: claim.age, default=None)
    return oldest.key if oldest is not None else None
