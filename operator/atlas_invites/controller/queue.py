"""A keyed work queue: dedup, delay, back-off, priority.

The rules are those of client-go's work queue: a key that waits is there once; a key in a worker's hands is handed out
again only after ``done``; a change that arrives meanwhile makes one more reconcile. ``asyncio`` has nothing like it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Hashable
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from atlas_invites.controller.fairness import Line, Shares

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K", bound=Hashable)

BACK_OFF_FIRST, BACK_OFF_LAST = 1.0, 300.0
"""Seconds before the first and, at most, before every later try."""

_STALE_AT_MOST = 64
"""Timers that were replaced stay in the heap until they are more than the live ones and this many."""


class Priority(IntEnum):
    """A user's change goes before a sweep's, also where it has to be tried again."""

    CHANGE = 0
    SWEEP = 1


class Item(NamedTuple, Generic[K]):
    """A key handed to a worker, the time of its last wake-up (the queue's clock, seconds), and its priority."""

    key: K
    since: float
    priority: Priority


class Closed(Exception):  # noqa: N818 - it ends a worker, it is no error
    """The queue takes and gives no more."""


class WorkQueue(Generic[K]):
    """The queue. Not thread-safe: for one event loop.

    Args:
        clock: monotonic seconds.
        jitter: returns a factor for a back-off, 0.5 to 1.
        workers: how many there are, if no group of keys may take them all; see ``fairness``.
        group: returns the group of a key.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        jitter: Callable[[], float] | None = None,
        *,
        workers: int | None = None,
        group: Callable[[K], Hashable] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._jitter = jitter or (lambda: random.uniform(0.5, 1))  # noqa: S311 - no secret
        self._group = group
        self._shares = Shares(workers)
        self._ready: tuple[Line[K], Line[K]] = (Line(), Line())
        self._waiting: dict[K, tuple[Priority, float]] = {}
        self._running: dict[K, tuple[Hashable, Priority]] = {}
        self._delayed: dict[K, tuple[float, int, Priority]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._closed = False

    def __len__(self) -> int:
        """The keys that are ready and wait for a worker."""
        return len(self._waiting) - sum(key in self._waiting for key in self._running)

    @property
    def idle(self) -> bool:
        """Whether no key is ready, and none in a worker's hands; keys may still be delayed."""
        return not self._waiting and not self._running

    def add(self, key: K, priority: Priority = Priority.CHANGE) -> None:
        """Wake a key now. A timer of the key is void: its next reconcile decides again when to come back."""
        if self._closed:
            return
        self._delayed.pop(key, None)
        known = self._waiting.get(key)
        self._waiting[key] = (min(priority, known[0]) if known else priority, self._clock())
        if key not in self._running and (known is None or priority < known[0]):
            self._ready[priority].append(self._group(key), key)
            self._wake_getter()

    def add_after(self, key: K, delay: float, *, at_most: bool = False) -> None:
        """Wake a key after so many seconds, unless something else wakes it before. A later call replaces the time.

        With ``at_most`` a time that is set already, and earlier, stays. A key in a worker's hands comes back with the
        priority that it has there, any other one with that of a sweep.
        """
        due = self._clock() + max(delay, 0.0)
        known = self._delayed.get(key)
        is_earlier = at_most and known is not None and known[0] < due
        if self._closed or key in self._waiting or is_earlier:
            return
        self._pushed += 1
        _, priority = self._running.get(key, (None, Priority.SWEEP))
        self._delayed[key] = due, self._pushed, priority
        heapq.heappush(self._heap, (due, self._pushed, key))
        if len(self._heap) > 2 * len(self._delayed) + _STALE_AT_MOST:
            self._heap = [entry for entry in self._heap if self._is_live(*entry)]
            heapq.heapify(self._heap)
        self._arm()

    def back_off(self, key: K) -> float:
        """Count a failure and return the seconds until the next try: doubling, with jitter, 1 s to 5 min."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACK_OFF_FIRST * 2.0 ** min(failures, 16), BACK_OFF_LAST)
        return max(BACK_OFF_FIRST, delay * self._jitter())

    def forget(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def drop(self, key: K) -> None:
        """Forget a key altogether: its object is gone."""
        self.forget(key)
        self._delayed.pop(key, None)

    async def get(self) -> Item[K]:
        """Wait for the next key.

        Raises:
            Closed: the queue was closed.
        """
        while not self._closed:
            self.promote_due()
            if (item := self._next()) is not None:
                return item
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake_getter()
                raise
        raise Closed

    def done(self, key: K) -> None:
        """Give a key back. One that was woken meanwhile is ready again, as if it had been woken only now.

        For what Atlas showed before the end of this reconcile may lack what it has changed there.
        """
        if key in self._running:
            group, _ = self._running.pop(key)
            self._shares.give_back(group)
        if key in self._waiting and not self._closed:
            priority, _ = self._waiting[key]
            self._waiting[key] = (priority, self._clock())
            self._ready[priority].append(self._group(key), key)
        if any(self._ready):  # also a key of another group, which may be handed out now
            self._wake_getter()

    def promote_due(self) -> None:
        """Make ready the keys whose time has come. The timer does so by itself; a clock that was moved needs a call."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, number, key = heapq.heappop(self._heap)
            if self._is_live(due, number, key):
                self.add(key, self._delayed[key][2])
        self._arm()

    def close(self) -> None:
        """Take and give no more; whoever waits in ``get`` leaves."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)

    def _next(self) -> Item[K] | None:
        for priority, ready in zip(Priority, self._ready, strict=True):

            def is_due(key: K, priority: Priority = priority) -> bool:
                # A key that moved up to another priority, or is in a worker's hands, left its old place behind.
                return key not in self._running and self._waiting.get(key, (None,))[0] is priority

            if (found := ready.pop(self._shares.may_take, is_due)) is not None:
                group, key = found
                _, since = self._waiting.pop(key)
                self._running[key] = group, priority
                self._shares.take(group)
                return Item(key, since, priority)
        return None

    def _is_live(self, due: float, number: int, key: K) -> bool:
        """Tell whether an entry of the heap is the key's timer, not one that was replaced."""
        delayed = self._delayed.get(key)
        return delayed is not None and delayed[:2] == (due, number)

    def _arm(self) -> None:
        """Keep one timer, for the earliest time in the heap."""
        due = self._heap[0][0] if self._heap else None
        if self._timer is not None and (due is None or due != self._timer_due):
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None and not self._closed:
            self._timer_due = due
            self._timer = asyncio.get_running_loop().call_later(max(due - self._clock(), 0.0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.promote_due()

    def _wake_getter(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
