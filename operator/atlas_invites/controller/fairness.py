"""Whose turn it is: groups of keys in rotation, none of which may take all workers.

A group is an Atlas project. Where one does not answer, each of its reconciles holds a worker until its time-out; where
it has a thousand changes, they stand before everybody else's. So the groups take turns, and a group may hold at most
four times as many workers as are left free: alone it has four fifths of them, two have four ninths each. The last free
worker is left for whoever holds none, also where there are but two. Switches share their memory so ("dynamic
thresholds": Choudhury and Hahne, 1998).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K", bound=Hashable)

SHARE = 4
"""Workers that a group may hold for each one that is free."""


class Shares:
    """Counts the workers that each group holds.

    Args:
        workers: how many there are; None for any number, which are shared without a limit.
    """

    def __init__(self, workers: int | None) -> None:
        self._workers = workers
        self._held: Counter[Hashable] = Counter()
        self._busy = 0

    def may_take(self, group: Hashable) -> bool:
        """Tell whether a group may have one more of the workers that are free."""
        if self._workers is None or not self._held[group]:
            return True
        free = self._workers - self._busy
        return free > 1 and self._held[group] < SHARE * free

    def take(self, group: Hashable) -> None:
        """Take note that a worker has begun with a key of a group."""
        self._held[group] += 1
        self._busy += 1

    def give_back(self, group: Hashable) -> None:
        """Take note that a worker is done with a key of a group."""
        self._busy -= 1
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]


class Line(Generic[K]):
    """Keys that wait, by group; the groups take turns, within a group the first comes first."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, deque[K]] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def append(self, group: Hashable, key: K) -> None:
        """Let a key wait."""
        self._groups.setdefault(group, deque()).append(key)

    def pop(self, may_take: Callable[[Hashable], bool], is_due: Callable[[K], bool]) -> tuple[Hashable, K] | None:
        """Return the next key and its group, or None.

        Args:
            may_take: whether it may be that group's turn.
            is_due: whether a key still waits here; one that does not is forgotten.
        """
        found, empty = None, []
        for group, keys in self._groups.items():
            if not may_take(group):
                continue
            while keys and not is_due(keys[0]):
                keys.popleft()
            if keys:
                found = group, keys.popleft()
                break
            empty.append(group)
        for group in empty:
            del self._groups[group]
        if found is not None:
            group = found[0]
            keys = self._groups.pop(group)  # to the end of the rotation
            if keys:
                self._groups[group] = keys
        return found
