"""Values that are read in the cluster at most once in so many seconds, however many ask for them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from atlas_invites.failures import ClusterUnavailable, Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from atlas_invites.invitation.outcome import Reason

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

ANEW = 10.0
"""Seconds between two reads of a value that may be outdated."""

PATIENCE = 3.0
"""Seconds after which nobody waits for a read any more.

Whoever waits may be a worker, and a Secret may be shared by the objects of more projects than there are workers. The
read goes on, and its result serves those who ask later.
"""

_IDLE = 3600.0
"""Seconds after which an entry that nobody asked for is dropped."""


@dataclass(frozen=True, slots=True)
class _Read(Generic[V]):
    """One read: when it began (the clock's seconds), and the task that ends with its result."""

    began: float
    task: asyncio.Future[V]


@dataclass(slots=True)
class _Entry(Generic[V]):
    """What is known of one key.

    Attributes:
        done: the latest read that returned a value or raised ``Failure``.
        pending: the latest read, while it is under way.
        asked_at: when a caller last asked.
        anew_at: when the value was last read because of a doubt.
        said: what ``done`` resulted in.
        value: the last value that was good.
    """

    done: _Read[V] | None = None
    pending: _Read[V] | None = None
    asked_at: float = float("-inf")
    anew_at: float = float("-inf")
    said: V | tuple[Reason, str] | None = None
    value: V | None = None

    def read_since(self, since: float) -> _Read[V] | None:
        """Return a read that began at this time or later, preferably one that is done."""
        return next((read for read in (self.done, self.pending) if read is not None and read.began >= since), None)


class Polled(Generic[K, V]):
    """A cache of what ``read`` returns or why it failed. Whoever asks during a read shares its result.

    A ``Failure`` is remembered like a value. Any other exception is raised for all who asked during the read, and the
    next one who asks starts another.

    Args:
        read: reads the value of a key; raises ``Failure`` for a result that is worth remembering as well.
        ttl: seconds for which a result serves.
        clock: monotonic seconds.
        on_change: called with a key whose result differs from the one before.
    """

    def __init__(
        self,
        read: Callable[[K], Awaitable[V]],
        ttl: float,
        clock: Callable[[], float],
        on_change: Callable[[K], None],
    ) -> None:
        self._read = read
        self._ttl = ttl
        self._clock = clock
        self._on_change = on_change
        self._entries: dict[K, _Entry[V]] = {}

    async def get(self, key: K, *, since: float = float("-inf")) -> V:
        """Return the value, read again if it is older than the ttl or than ``since`` (the clock's seconds).

        Raises:
            Failure: the read failed with it.
            ClusterUnavailable: the same, or the read has been under way for ``PATIENCE``.
        """
        now = self._clock()
        entry = self._entries.get(key) or self._new(key)
        entry.asked_at = now
        read = entry.read_since(max(since, now - self._ttl)) or self._begin(key, entry)
        if not read.task.done():
            await asyncio.wait([read.task], timeout=max(read.began + PATIENCE - now, 0.0))
        if not read.task.done():
            raise ClusterUnavailable(f"reading {key}: the API server has not responded yet")
        return read.task.result()

    async def get_anew(self, key: K, *, since: float) -> V:
        """Return the value, read again if it is older than ``since``: it may be outdated, for all callers.

        However many doubt it, it is read once in ``ANEW`` seconds because of that, and all of them get what was read.

        Raises:
            Failure, ClusterUnavailable: see ``get``.
        """
        entry, now = self._entries.get(key) or self._new(key), self._clock()
        if entry.read_since(since) is None:
            if now >= entry.anew_at + ANEW:
                entry.anew_at = now
            since = min(since, entry.anew_at)
        return await self.get(key, since=since)

    def last(self, key: K) -> V | None:
        """Return the last value that was good, if it is still held."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def _begin(self, key: K, entry: _Entry[V]) -> _Read[V]:
        read = _Read(self._clock(), asyncio.ensure_future(self._read(key)))
        entry.pending = read
        read.task.add_done_callback(partial(self._end, key, entry, read))
        return read

    def _end(self, key: K, entry: _Entry[V], read: _Read[V], task: asyncio.Future[V]) -> None:
        """Record how a read ended, unless a newer one has begun: then it is the result of its own askers only."""
        failure = None if task.cancelled() else task.exception()
        if entry.pending is not read:
            return
        entry.pending = None
        if task.cancelled() or not (failure is None or isinstance(failure, Failure)):
            return
        before, entry.done = entry.said, read
        if failure is None:
            entry.said = entry.value = task.result()
        else:
            entry.said = failure.reason, failure.message
        if before is not None and entry.said != before:
            self._on_change(key)

    def _new(self, key: K) -> _Entry[V]:
        idle_since = self._clock() - _IDLE
        for other in [key for key, entry in self._entries.items() if entry.asked_at < idle_since]:
            del self._entries[other]
        return self._entries.setdefault(key, _Entry())
