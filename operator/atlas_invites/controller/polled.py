"""A cache of values that are read from the cluster at most once per ttl, for all callers together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atlas_invites.coalesce import Coalesced, Run
from atlas_invites.failures import ClusterUnavailable, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from atlas_invites.invitation.outcome import Reason

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

REREAD_INTERVAL = 10.0
"""Seconds between two reads of a value that may be outdated."""

WAIT_AT_MOST = 3.0
"""Seconds after which callers no longer wait for a read.

The caller may be a worker, and a Secret may be shared by the objects of more projects than there are workers. The read
continues, and later callers get its result.
"""

_IDLE = 3600.0
"""Seconds after which an unused entry is dropped."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    """What is known about one key.

    ``done`` is the latest read that returned a value or raised ``Failure``, and ``outcome`` is its result. ``value`` is
    the last value that a read returned. ``doubted_at`` is when the value was last read because it might be outdated.
    """

    reads: Coalesced[V]
    done: Run[V] | None = None
    asked_at: float = float("-inf")
    doubted_at: float = float("-inf")
    outcome: V | tuple[Reason, str] | None = None
    value: V | None = None

    def read_since(self, since: float) -> Run[V] | None:
        """Return a read that began at this time or later, if possible one that is done."""
        reads = (self.done, self.reads.running)
        return next((read for read in reads if read is not None and read.began >= since), None)


class Polled(Generic[K, V]):
    """A cache of what ``read`` returns, or why it failed. All callers during a read share its result.

    A ``Failure`` is cached like a value. Any other exception is raised for all callers that wait for the read, and the
    next caller starts another read.

    Args:
        read: reads the value of a key; raises ``Failure`` for a failure that is to be cached.
        ttl: seconds for which a result is used.
        clock: monotonic seconds.
        on_change: called with a key whose result differs from the previous one.
    """

    def __init__(
        self,
        read: Callable[[K], Coroutine[Any, Any, V]],
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
        """Return the value. Read it again if it is older than the ttl or than ``since`` (monotonic seconds).

        Raises:
            Failure: the read raised it.
            ClusterUnavailable: the read raised it, or has been under way for ``WAIT_AT_MOST``.
        """
        entry, now = self._entry(key), self._clock()
        entry.asked_at = now
        read = entry.read_since(max(since, now - self._ttl)) or entry.reads.start(self._read(key))
        if not (read.task.done() or await read.has_ended(max(read.began + WAIT_AT_MOST - now, 0.0))):
            raise ClusterUnavailable(f"reading {key}: the API server has not responded yet")
        return read.task.result()

    async def reread(self, key: K, *, since: float) -> V:
        """Return the value. It may be outdated, so read it again if it is older than ``since`` (monotonic seconds).

        It is read again at most once in ``REREAD_INTERVAL`` seconds, and all callers get the value that was read.

        Raises:
            Failure, ClusterUnavailable: see ``get``.
        """
        entry, now = self._entry(key), self._clock()
        if entry.read_since(since) is None:
            if now >= entry.doubted_at + REREAD_INTERVAL:
                entry.doubted_at = now
            since = min(since, entry.doubted_at)
        return await self.get(key, since=since)

    def last(self, key: K) -> V | None:
        """Return the last value that a read returned, if it is still held."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def _end(self, key: K, read: Run[V]) -> None:
        """Record the result of a read if it is one to cache."""
        entry = self._entries.get(key)
        if entry is None or read.task.cancelled():
            return
        failure = read.task.exception()
        if not (failure is None or isinstance(failure, Failure)):
            return
        before, entry.done = entry.outcome, read
        if failure is None:
            entry.outcome = entry.value = read.task.result()
        else:
            entry.outcome = failure.reason, failure.message
        if before is not None and entry.outcome != before:
            self._on_change(key)

    def _entry(self, key: K) -> _Entry[V]:
        if key not in self._entries:
            idle_since = self._clock() - _IDLE
            self._entries = {known: entry for known, entry in self._entries.items() if entry.asked_at >= idle_since}
            self._entries[key] = _Entry(Coalesced(self._clock, lambda read: self._end(key, read)))
        return self._entries[key]
