"""When the API server was last of any use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOST_AFTER = 60.0
"""Seconds without any success after which the process is not alive, or, standing by, not ready either."""


class Contact:
    """Knows when a list, a watch or a call for the Lease last succeeded; at first, the beginning counts.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()

    def succeed(self) -> None:
        """Record that one has succeeded now."""
        self._at = self._clock()

    def lost_for(self) -> float:
        """Return the seconds since one has succeeded."""
        return self._clock() - self._at
