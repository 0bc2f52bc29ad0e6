"""How many objects are in which state, and when the next invitation ends: kept as objects change, cheap to ask for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from atlas_invites.invitation.conditions import READY, SUSPENDED
from atlas_invites.invitation.model import State
from atlas_invites.invitation.outcome import REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_invites.invitation.resource import Key, Resource


class Tally:
    """Counts the objects of a store."""

    def __init__(self) -> None:
        self._states: dict[Key, State] = {}
        self._counts: Counter[State] = Counter()
        self._ends: dict[Key, float] = {}
        self.refused: set[Key] = set()
        """The objects that Atlas refuses something."""

    def update(self, resource: Resource) -> None:
        """Take in the latest version of an object."""
        key, status = resource.key, resource.status
        state = status.state or State.UNKNOWN
        if (before := self._states.get(key)) is not state:
            if before is not None:
                self._counts[before] -= 1
            self._counts[state] += 1
            self._states[key] = state
        ready = status.condition(READY)
        (self.refused.add if ready is not None and ready.reason in REFUSED else self.refused.discard)(key)
        counts = state is State.PENDING and status.condition(SUSPENDED) is None
        ends = status.invitation.expires if counts and status.invitation else None
        if ends is None:
            self._ends.pop(key, None)
        else:
            self._ends[key] = ends.timestamp()

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        if (state := self._states.pop(key, None)) is not None:
            self._counts[state] -= 1
        self._ends.pop(key, None)
        self.refused.discard(key)

    def states(self) -> Mapping[str, int]:
        """Return how many objects there are, by state; those that were never evaluated are Unknown."""
        return {state.value: self._counts[state] for state in State}

    def next_end(self, now: float) -> float | None:
        """Return when the next pending invitation ends, or None where none does.

        One whose end has passed, and which could not be looked at since, does not hide those to come. Suspended objects
        do not count.

        Args:
            now: the time that decides (Unix seconds, as is what is returned).
        """
        return min((end for end in self._ends.values() if end > now), default=None)
