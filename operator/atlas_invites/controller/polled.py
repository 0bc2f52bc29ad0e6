"""Values that are looked up in the cluster at most once in so many seconds, whoever asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from atlas_invites.invitation.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

ANEW = 10.0
"""Seconds between two reads of an answer that somebody doubts."""

_IDLE = 3600.0
"""Seconds after which an entry that nobody asked for is dropped."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    lock: asyncio.Lock
    read_at: float = float("-inf")
    asked_at: float = float("-inf")
    anew_at: float = float("-inf")
    failure: Failure | None = None
    value: V | None = None


class Polled(Generic[K, V]):
    """A cache of what ``read`` returns or why it failed, with one read at a time for each key.

    Args:
        read: looks a key up; raises ``Failure`` for an answer that is worth remembering as well.
        ttl: seconds for which an answer serves.
        clock: monotonic seconds.
        on_change: called with a key whose answer differs from the one before.
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
        """Return the value, read again where it is older than the ttl or than ``since`` (the clock's seconds).

        Raises:
            Failure: the look-up failed so.
        """
        asked = self._clock()
        entry = self._entries.get(key) or self._new(key)
        entry.asked_at = asked
        async with entry.lock:
            if entry.read_at < max(since, asked - self._ttl):
                await self._refresh(key, entry)
        if entry.failure is not None:
            raise Failure(entry.failure.reason, entry.failure.message, certain=entry.failure.certain)
        return entry.value  # type: ignore[return-value]  # without a failure there is a value

    async def get_anew(self, key: K, *, since: float) -> V:
        """Return the value, read again where it is older than ``since``: it is in doubt, as it is for others perhaps.

        However many doubt it, it is read once in ``ANEW`` seconds for that, and who comes meanwhile gets what was read.

        Raises:
            Failure: the look-up failed so.
        """
        entry, now = self._entries.get(key) or self._new(key), self._clock()
        if entry.read_at < since:
            if now < entry.anew_at + ANEW:
                since = float("-inf")
            else:
                entry.anew_at = now
        return await self.get(key, since=since)

    def last(self, key: K) -> V | None:
        """Return the last value that was good, if it is still held."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    async def _refresh(self, key: K, entry: _Entry[V]) -> None:
        began, first = self._clock(), entry.read_at == float("-inf")
        before = (entry.value, entry.failure and (entry.failure.reason, entry.failure.message))
        try:
            entry.value, entry.failure = await self._read(key), None
        except Failure as failure:
            entry.failure = failure
        entry.read_at = began
        after = (entry.value, entry.failure and (entry.failure.reason, entry.failure.message))
        if not first and after != before:
            self._on_change(key)

    def _new(self, key: K) -> _Entry[V]:
        idle_since = self._clock() - _IDLE
        for other in [k for k, e in self._entries.items() if e.asked_at < idle_since and not e.lock.locked()]:
            del self._entries[other]
        return self._entries.setdefault(key, _Entry(asyncio.Lock()))
