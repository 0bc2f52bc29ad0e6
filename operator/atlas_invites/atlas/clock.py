"""The time of Atlas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atlas_invites.atlas.responses import http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STEP_BACK = 60.0
"""The smallest step back of the clock, in seconds: a ``Date`` that is less far behind comes from a slow response."""


class AtlasClock:
    """The last ``Date`` of Atlas plus the seconds since then; the local clock before the first ``Date``.

    A ``Date`` that is a little behind stops the clock instead of setting it back. Otherwise an invitation that has just
    expired could seem to be missing before its end. ``clock`` returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offset = self._not_before = float("-inf")

    def now(self) -> datetime:
        """Return the time, UTC."""
        time = max(self._offset + self._clock(), self._not_before)
        return datetime.now(UTC) if time == float("-inf") else datetime.fromtimestamp(time, UTC)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Set the clock by the ``Date`` of a response. It must be from Atlas itself: a proxy has its own clock."""
        if (date := http_date(headers.get("Date"))) is None:
            return
        clock, time = self._clock(), date.timestamp()
        before = max(self._offset + clock, self._not_before)
        self._not_before = before if before - time < STEP_BACK else time
        self._offset = time - clock
