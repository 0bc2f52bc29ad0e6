"""The sandbox's clock: UTC, movable, and the source of every time in a response."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the machine's time, in UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """Format a time as Atlas does: ISO 8601, UTC, whole seconds, `Z` at the end."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(moment: datetime) -> str:
    """Format a time for the `Date` header (RFC 9110)."""
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


class Clock:
    """A clock that runs with its base until it is moved or frozen; call it to get the time, in UTC."""

    def __init__(self, base: Callable[[], datetime] = utc_now) -> None:
        self._base = base
        self._offset = timedelta()
        self._frozen_at: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        return self._frozen_at or self._base() + self._offset

    @property
    def frozen(self) -> bool:
        """Whether the clock is frozen."""
        return self._frozen_at is not None

    def advance(self, seconds: float) -> None:
        """Move the clock, forwards or (negative seconds) backwards.

        Raises:
            ValueError: the result is not a year from 2000 to 8999; the clock did not move.
        """
        try:
            moment = self() + timedelta(seconds=seconds)
        except OverflowError as error:
            raise ValueError("the clock cannot advance that far: the year must be from 2000 to 8999") from error
        self.set(moment)

    def set(self, moment: datetime) -> None:
        """Set the time; a frozen clock stays frozen, at the new time.

        Raises:
            ValueError: the time has no time zone, or is not in a year from 2000 to 8999.
        """
        if moment.tzinfo is None or not EARLIEST <= moment < LATEST:
            raise ValueError("the time must have a time zone and a year from 2000 to 8999")
        moment = moment.astimezone(UTC)
        if self._frozen_at is not None:
            self._frozen_at = moment
        self._offset = moment - self._base()

    def freeze(self, *, frozen: bool) -> None:
        """Stop the clock, or let it continue from its current time."""
        now = self()
        self._frozen_at = now if frozen else None
        self._offset = now - self._base()
