"""The time that Atlas has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atlas_invites.atlas.responses import http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STEP_BACK = 60.0
"""Seconds by which the clock goes back at least: a ``Date`` less far behind is of a response that took long."""


class AtlasClock:
    """The last ``Date`` of Atlas and the seconds since; the local clock before the first.

    A ``Date`` that is a little behind makes the clock stand, not go back: an invitation that has expired must not be
    missing before its end a moment later. ``clock`` returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offset = self._not_before = float("-inf")

    def now(self) -> datetime:
        """Return the time, UTC."""
        time = max(self._offset + self._clock(), self._not_before)
        return datetime.now(UTC) if time == float("-inf") else datetime.fromtimestamp(time, UTC)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the ``Date`` of a response that is from Atlas itself: a proxy has a clock of its own."""
        if (date := http_date(headers.get("Date"))) is None:
            return
        clock, time = self._clock(), date.timestamp()
        before = max(self._offset + clock, self._not_before)
        self._not_before = before if before - time < STEP_BACK else time
        self._offset = time - clock
