"""Ids of 24 hex digits, like Atlas's: seconds, a part for the machine, a counter."""

from __future__ import annotations

import secrets
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class ObjectIds:
    """Create unique ids from the clock's time, `machine` (5 bytes, random by default) and a counter."""

    def __init__(self, now: Callable[[], datetime], machine: bytes | None = None) -> None:
        self._now = now
        self._machine = (secrets.token_bytes(5) if machine is None else machine).hex()
        self._counter = count(1)

    def __call__(self) -> str:
        """Return a new id."""
        seconds = int(self._now().timestamp()) & 0xFFFFFFFF
        return f"{seconds:08x}{self._machine}{next(self._counter) & 0xFFFFFF:06x}"
