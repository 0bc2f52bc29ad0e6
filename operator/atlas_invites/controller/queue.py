"""A keyed work queue with deduplication, delay, back-off, priority, and projects in rotation.

The rules are those of the work queue of client-go. A waiting key is in the queue once. A key that a worker holds is
handed out again only after ``done``. A change that arrives meanwhile causes one more reconcile. ``asyncio`` has no such
queue.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

BACK_OFF_FIRST, BACK_OFF_LAST = 1.0, 300.0
"""Seconds before the first retry, and the most seconds before any later one."""


class Priority(IntEnum):
    """The priority of a key. A change by a user, and its retries, go before what a resync has found."""

    CHANGE = 0
    RESYNC = 1


class Item(NamedTuple, Generic[K]):
    """A key, the time when it was last added (seconds of the queue's clock), its priority, and its group."""

    key: K
    since: float
    priority: Priority
    group: Hashable = None


class _Delayed(NamedTuple):
    """A key that is added later: the time (seconds of the queue's clock), the priority, and the timer."""

    due: float
    priority: Priority
    timer: asyncio.TimerHandle


class Closed(Exception):  # noqa: N818 - it ends a worker and is not an error
    """The queue is closed."""


class WorkQueue(Generic[K]):
    """The queue. It is not thread-safe, and for one event loop only.

    Keys are in groups that take turns. No group may hold more than half of the workers, or the last free worker while
    it holds another one. A group is an Atlas project. If a project does not respond, each of its reconciles holds a
    worker until its time-out. If a project has a thousand changes, they must not delay those of other projects.

    Args:
        clock: monotonic seconds.
        jitter: returns a factor for a back-off, 0.5 to 1.
        workers: the number of workers that the groups share.
        group: returns the group of a key.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        jitter: Callable[[], float] | None = None,
        *,
        workers: float = float("inf"),
        group: Callable[[K], Hashable] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._jitter = jitter or (lambda: random.uniform(0.5, 1))  # noqa: S311 - no secret
        self._workers = workers
        self._group = group
        self._waiting: dict[K, Item[K]] = {}
        self._lines: dict[Priority, OrderedDict[Hashable, OrderedDict[K, None]]] = {p: OrderedDict() for p in Priority}
        self._running: dict[K, Item[K]] = {}
        self._held: Counter[Hashable] = Counter()
        self._woken: dict[K, Priority] = {}
        self._delayed: dict[K, _Delayed] = {}
        self._failures: dict[K, int] = {}
        self._ready = asyncio.Semaphore(0)
        self._closed = False

    def __len__(self) -> int:
        """Return the number of keys that wait for a worker."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether no key waits and no worker holds one. Keys may still be delayed."""
        return not self._waiting and not self._running

    def add(self, key: K, priority: Priority = Priority.CHANGE) -> None:
        """Add a key now, and cancel its timer: its next reconcile decides again when to requeue it."""
        if self._closed:
            return
        self._cancel_timer(key)
        if key in self._running:
            self._woken[key] = min(priority, self._woken.get(key, priority))
            return
        known = self._waiting.get(key)
        if known is not None and known.priority <= priority:
            self._waiting[key] = known._replace(since=self._clock())
            return
        if known is not None:
            self._leave_line(known)
        item = self._waiting[key] = Item(key, self._clock(), priority, self._group(key))
        self._lines[priority].setdefault(item.group, OrderedDict())[key] = None
        self._wake_getter()

    def add_after(self, key: K, delay: float, *, at_most: bool = False) -> None:
        """Add a key after so many seconds, unless it is added before. A later call replaces the time.

        With ``at_most``, an earlier time that is already set stays. A key that a worker holds keeps its priority; any
        other key gets the priority of the resync.
        """
        delay = max(delay, 0.0)
        due, known = self._clock() + delay, self._delayed.get(key)
        is_earlier = at_most and known is not None and known.due < due
        if self._closed or key in self._waiting or key in self._woken or is_earlier:
            return
        self._cancel_timer(key)
        running = self._running.get(key)
        priority = running.priority if running is not None else Priority.RESYNC
        timer = asyncio.get_running_loop().call_later(delay, self.add, key, priority)
        self._delayed[key] = _Delayed(due, priority, timer)

    def back_off(self, key: K) -> float:
        """Count a failure, and return the seconds until the next try: doubling, with jitter, from 1 s to 5 min."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACK_OFF_FIRST * 2.0 ** min(failures, 16), BACK_OFF_LAST)
        return max(BACK_OFF_FIRST, delay * self._jitter())

    def forget(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def drop(self, key: K) -> None:
        """Forget the failures and the timer of a key whose object is gone."""
        self.forget(key)
        self._cancel_timer(key)

    async def get(self) -> Item[K]:
        """Wait for the next key, and return it.

        Raises:
            Closed: the queue is closed.
        """
        while not self._closed:
            if (item := self._next()) is not None:
                return item
            await self._ready.acquire()
        self._wake_getter()  # the waiting workers leave one after the other
        raise Closed

    def done(self, key: K) -> None:
        """Give a key back. A key that was added meanwhile waits again, as if it had been added only now.

        What Atlas showed before the end of this reconcile may lack what the reconcile has changed.
        """
        if (ran := self._running.pop(key, None)) is not None:
            self._held[ran.group] -= 1
            if not self._held[ran.group]:
                del self._held[ran.group]
        if (priority := self._woken.pop(key, None)) is not None:
            self.add(key, priority)
        elif self._waiting:  # a key of another group may be handed out now
            self._wake_getter()

    def close(self) -> None:
        """Close the queue. Each worker that waits in ``get`` gets ``Closed``."""
        self._closed = True
        for key in tuple(self._delayed):
            self._cancel_timer(key)
        self._wake_getter()

    def _next(self) -> Item[K] | None:
        for line in self._lines.values():
            for group in filter(self._may_take, line):
                key = next(iter(line[group]))
                item = self._running[key] = self._waiting.pop(key)
                self._leave_line(item)
                if group in line:
                    line.move_to_end(group)
                self._held[group] += 1
                return item
        return None

    def _may_take(self, group: Hashable) -> bool:
        """Return whether a group may hold one more of the free workers."""
        held, free = self._held[group], self._workers - len(self._running)
        return not held or (held < self._workers / 2 and free > 1)

    def _leave_line(self, item: Item[K]) -> None:
        line = self._lines[item.priority]
        del line[item.group][item.key]
        if not line[item.group]:
            del line[item.group]

    def _cancel_timer(self, key: K) -> None:
        if (delayed := self._delayed.pop(key, None)) is not None:
            delayed.timer.cancel()

    def _wake_getter(self) -> None:
        """Wake one waiting worker to look for a key. If none waits, the next one looks twice before it waits."""
        if self._ready.locked():
            self._ready.release()
