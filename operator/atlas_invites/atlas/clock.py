"""The time that Atlas has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from atlas_invites.atlas.responses import http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STEP_BACK = timedelta(minutes=1)
"""The least step back of the clock of Atlas that is believed; a smaller one is a response that took long."""


class AtlasClock:
    """The last ``Date`` of Atlas and the seconds since; the local clock before the first.

    A ``Date`` that is a little behind makes the clock stand, not go back: an invitation that has expired must not be
    missing before its end a moment later.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._date: datetime | None = None
        self._seen_at = 0.0
        self._not_before = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time, UTC."""
        if self._date is None:
            return datetime.now(UTC)
        return max(self._date + timedelta(seconds=self._clock() - self._seen_at), self._not_before)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the ``Date`` of a response that is from Atlas itself: a proxy has a clock of its own."""
        if (date := http_date(headers.get("Date"))) is None:
            return
        if self._date is not None:
            was = self.now()
            self._not_before = was if was - date < STEP_BACK else date
        self._date, self._seen_at = date, self._clock()
