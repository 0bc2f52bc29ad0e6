"""Leader election by a Lease: one replica leads, the others stand by.

The rules are those of client-go. The holder renews the record every two seconds. A candidate takes over after it has
observed no change of the record for the duration in the record, at least 15 seconds. Every write is a compare-and-swap.
Only the monotonic clock decides, never a time in the record.

The holder stops before another replica can lead: its lease runs from the moment when the renewal was *requested*, and
every write to Atlas and to Kubernetes must pass the gate ``time_to_write``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.kube.leases import CALL_AT_MOST, DURATION, LeaseObject, Record

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

RENEW_DEADLINE = 10.0
"""Seconds after the last renewal at which the holder gives up."""

RETRY_PERIOD = 2.0
"""Seconds between two attempts to take or renew the lease."""

RELEASED_DURATION = 1.0
"""The duration in a released lease, as client-go writes it: candidates need not wait for its end."""

WRITE_NEEDS = 5.0
"""Seconds that must be left of the lease for a write to start."""

WRITE_MARGIN = 2.0
"""Seconds before the end of the lease at which every write has ended."""


def new_identity() -> str:
    """Return a unique name for this process."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex}"


def awake_clock() -> float:
    """Return monotonic seconds. On Linux they include the time for which the machine was suspended."""
    boot_time: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def no_election() -> float:
    """Return the time that a write may take without leader election: unlimited."""
    return float("inf")


class Lease:
    """One candidate. Its identity comes from ``new_identity``.

    ``clock`` returns monotonic seconds, ``jitter`` a factor for the time between two attempts of a candidate.
    """

    def __init__(
        self,
        leases: LeaseObject,
        identity: str,
        *,
        clock: Callable[[], float] = awake_clock,
        jitter: Callable[[], float] = lambda: random.uniform(1.0, 1.2),  # noqa: S311 - no secret
    ) -> None:
        self._leases = leases
        self._identity = identity
        self._clock = clock
        self._jitter = jitter
        self._observed: Record | None = None
        self._observed_at = float("-inf")
        self._held: Record | None = None
        self._ends_at = float("-inf")
        self._may_be_ours = False
        self._said = ""

    @property
    def leads(self) -> bool:
        """Whether this process holds the lease."""
        return self._clock() < self._ends_at

    def time_to_write(self) -> float:
        """Return how many seconds a write that starts now may take.

        Raises:
            ClusterUnavailable: no write may start: another replica may take the lease before it ends.
        """
        left = self._ends_at - self._clock()
        if left < WRITE_NEEDS:
            raise ClusterUnavailable(f"write refused: less than {WRITE_NEEDS:.0f} s of the lease remain")
        return left - WRITE_MARGIN

    async def acquire(self) -> None:
        """Stand by until this process holds the lease."""
        while not await self.attempt():
            pause, left = RETRY_PERIOD * self._jitter(), self._expires_in()
            await asyncio.sleep(min(pause, left) if left > 0 else pause)
        log.info("leading as %s", self._identity)

    async def hold(self) -> None:
        """Renew the lease as long as this process holds it. Return when the lease is lost."""
        while True:
            await asyncio.sleep(RETRY_PERIOD)
            if self._gives_up_in() <= 0:
                break
            if not await self.attempt() and (self._held is None or self._gives_up_in() <= 0):
                break
        self._ends_at = float("-inf")
        log.error("the lease is lost: %s", self._said or "it was not renewed in time")

    async def attempt(self) -> bool:
        """Try once to take or renew the lease. Return whether that succeeded; errors of the API server are logged."""
        held = self._held
        try:
            async with asyncio.timeout(CALL_AT_MOST if held is None else min(CALL_AT_MOST, self._gives_up_in())):
                return await (self._take() if held is None else self._renew(held))
        except TimeoutError:
            self._say("the API server did not respond in time")
        except Stale:
            self._say("another replica wrote the lease first")
        except ClusterUnavailable as error:
            self._say(str(error))
        except Exception:
            log.exception("lease: an unexpected error")
        return False

    async def release(self, seconds: float = CALL_AT_MOST) -> None:
        """Release the lease, so that another replica need not wait for its end. Try for the given seconds.

        From now on, nothing may be written.
        """
        self._ends_at = float("-inf")
        if not self._may_be_ours:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._clear_holder()
        except Exception as error:  # noqa: BLE001 - the process ends in any case
            log.warning("the lease was not released and will expire: %s", str(error) or "no response in time")
        self._held, self._may_be_ours = None, False

    async def _clear_holder(self) -> None:
        """Write that nobody holds the lease, unless the record already has another holder."""
        record = self._held or await self._leases.read()
        while record is not None and record.holder == self._identity:
            try:
                await self._leases.write(replace(record, holder="", duration=RELEASED_DURATION), taken=False)
            except Stale:  # a renewal in progress was faster
                record = await self._leases.read()
            else:
                log.info("the lease was released")
                return

    async def _take(self) -> bool:
        """Take the lease if nobody holds it. Raise ``Stale`` if another replica was faster."""
        record = await self._leases.read()
        if record is not None and not record.has_same_spec(self._observed):
            self._observed, self._observed_at = record, self._clock()
        is_free = record is not None and (
            record.holder == self._identity or (not record.holder and record.duration <= RELEASED_DURATION)
        )
        if not is_free and self._expires_in() > 0:
            holder = self._observed.holder if self._observed else ""
            free = "the lease names no holder, but no replica has released it"
            self._say(f"standing by: {f'the lease is held by {holder}' if holder else free}")
            return False
        wanted = Record(self._identity)
        if record is not None:
            wanted = replace(wanted, transitions=record.transitions + 1, version=record.version)
        return await self._write(wanted, taken=True)

    async def _renew(self, held: Record) -> bool:
        """Renew the lease that this process holds. Raise ``Stale`` if another replica was faster."""
        try:
            return await self._write(held, taken=False)
        except Stale:
            record = await self._leases.read()
        if record is None or record.holder != self._identity:
            # It was deleted or taken: another replica may lead already.
            self._held, self._ends_at = None, float("-inf")
            self._say(f"it is held by {record.holder or 'nobody'}" if record else "it was deleted")
            return False
        # The response to an earlier renewal was lost, or somebody has edited the Lease.
        return await self._write(replace(record, duration=DURATION), taken=False)

    async def _write(self, record: Record, *, taken: bool) -> bool:
        asked = self._clock()
        self._may_be_ours = True
        self._held = await self._leases.write(record, taken=taken)
        self._ends_at, self._said = asked + DURATION, ""
        return True

    def _expires_in(self) -> float:
        """Return the seconds until the record that was observed last counts as expired.

        This is never before its holder gives up, whatever duration somebody has written into the record.
        """
        if self._observed is None:
            return 0.0
        return self._observed_at + max(self._observed.duration, DURATION) - self._clock()

    def _gives_up_in(self) -> float:
        return self._ends_at - DURATION + RENEW_DEADLINE - self._clock()

    def _say(self, what: str) -> None:
        """Log why the lease is not taken or renewed, once."""
        if what != self._said:
            self._said = what
            log.info("lease: %s", what)
