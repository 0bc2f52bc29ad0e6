"""A Lease object in memory: compare-and-swap like the API server, and a network with chosen failures."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.kube.leases import LeaseObject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.kube.leases import Record


class FakeLeases(LeaseObject):
    """The Lease object.

    Attributes:
        stored: its content.
        before: called with the number of the call before the call has any effect; it may raise, or take time.
        after: the same, between the effect and the response.
    """

    def __init__(self) -> None:
        self.stored: Record | None = None
        self.before: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[], Awaitable[None]] | None = None
        self.fail: deque[Exception] = deque()
        self.lose_response = 0
        self.calls: list[str] = []
        self._version = 0

    async def read(self) -> Record | None:
        self.calls.append("read")
        await self._before()
        found = self.stored
        await self._after()
        return found

    async def write(self, record: Record, *, taken: bool) -> Record:
        self.calls.append("take" if taken else "renew")
        await self._before()
        if record.version != (self.stored.version if self.stored else ""):
            raise Stale("the Lease: it has changed or gone")
        self._version += 1
        now = str(self._version)
        acquired = now if taken else record.times[0]
        stored = self.stored = replace(record, version=now, times=(acquired, now))
        await self._after()
        return stored

    async def _before(self) -> None:
        if self.fail:
            raise self.fail.popleft()
        if self.before is not None:
            await self.before()

    async def _after(self) -> None:
        if self.after is not None:
            await self.after()
        if self.lose_response:
            self.lose_response -= 1
            raise ClusterUnavailable("the Lease: ServerDisconnectedError")
