"""Rate limits: token buckets (429) and the limit on sending invitations (400). All are off by default."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Literal

from atlas_sandbox.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable

BucketScope = Literal["project", "credential", "ip"]
Headers = tuple[tuple[str, str], ...]

UNLIMITED: Headers = (("Ratelimit-Limit", "1200"), ("Ratelimit-Remaining", "1199"))
"""The headers of a response if no bucket is on: the limit of real responses, which is never used up."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The properties of a call by which buckets count."""

    operation: str
    project: str
    credential: str
    ip: str


@dataclass(slots=True)
class Bucket:
    """`capacity` calls every `seconds`, refilled evenly; one level for each project, credential or address."""

    operations: frozenset[str]
    """The operations that share it; empty for all except Token."""
    capacity: int
    seconds: float
    scope: BucketScope = "project"
    retry_after: bool = True
    error_code: Literal["RATE_LIMITED", "RATE_LIMITED_TOKEN_BUCKET"] = "RATE_LIMITED_TOKEN_BUCKET"
    levels: dict[str, tuple[float, datetime]] = field(default_factory=dict)

    def covers(self, operation: str) -> bool:
        """Return whether calls of this operation use the bucket."""
        return operation in self.operations if self.operations else operation != "Token"

    def take(self, caller: Caller, now: datetime) -> Headers:
        """Take one token, and return the headers that show how many are left.

        Raises:
            AtlasError: 429, with `Retry-After` in whole seconds if `retry_after` is set.
        """
        key = {"project": caller.project, "credential": caller.credential, "ip": caller.ip}[self.scope]
        level, since = self.levels.get(key, (float(self.capacity), now))
        refill = max(0.0, (now - since).total_seconds()) * self.capacity / self.seconds
        level = min(float(self.capacity), level + refill)
        if level < 1:
            self.levels[key] = (level, now)
            headers = [("Ratelimit-Limit", str(self.capacity)), ("Ratelimit-Remaining", "0")]
            if self.retry_after:
                wait = (1 - level) * self.seconds / self.capacity
                headers.append(("Retry-After", str(max(1, ceil(wait)))))
            raise AtlasError(self.error_code, caller.operation, self.capacity, self.seconds, headers=tuple(headers))
        self.levels[key] = (level - 1, now)
        return (("Ratelimit-Limit", str(self.capacity)), ("Ratelimit-Remaining", str(int(level - 1))))


@dataclass(slots=True)
class SendingLimit:
    """At most `limit` invitations every `minutes` from one address; Atlas refuses the next with a 400."""

    limit: int
    minutes: float = 1.0
    sent: dict[str, deque[datetime]] = field(default_factory=dict)

    def check(self, ip: str, now: datetime) -> None:
        """Check that one more invitation is within the limit.

        Raises:
            AtlasError: 400 INVITATIONS_RATE_LIMITED_IP.
        """
        sent = self.sent.setdefault(ip, deque())
        while sent and now - sent[0] >= timedelta(minutes=self.minutes):
            sent.popleft()
        if len(sent) >= self.limit:
            raise AtlasError("INVITATIONS_RATE_LIMITED_IP", self.limit, f"{self.minutes:g}")


class Limits:
    """The limits that are on."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.buckets: list[Bucket] = []
        self.sending: SendingLimit | None = None
        self._now = now

    def take(self, caller: Caller) -> Headers:
        """Count one call in its buckets, and return the headers of the bucket with the fewest calls left.

        Raises:
            AtlasError: 429.
        """
        taken = [bucket.take(caller, self._now()) for bucket in self.buckets if bucket.covers(caller.operation)]
        return min(taken, key=lambda headers: int(headers[1][1])) if taken else UNLIMITED

    def check_sending(self, ip: str) -> None:
        """Check that an invitation may be sent.

        Raises:
            AtlasError: 400 INVITATIONS_RATE_LIMITED_IP.
        """
        if self.sending is not None:
            self.sending.check(ip, self._now())

    def count_sending(self, ip: str) -> None:
        """Count an invitation that was sent."""
        if self.sending is not None:
            self.sending.sent.setdefault(ip, deque()).append(self._now())
