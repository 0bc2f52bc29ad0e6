"""Virtual time continues at any time value."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from tests.unit.virtual_time import VirtualTimeLoop

HALF_A_YEAR = 18_550_744.97599999
"""So late that a float cannot represent a nanosecond."""


def test_a_timer_is_due_at_its_time_however_late_it_is() -> None:
    """A timer whose time has come is run, even if the time is too large to be exact to the nanosecond."""
    loop = VirtualTimeLoop()
    selector: Any = loop._selector  # type: ignore[attr-defined]  # noqa: SLF001
    select, selects = selector.select, count()

    def counted(timeout: float | None) -> list[Any]:
        assert next(selects) < 10_000, "time stands still"
        return list(select(timeout))

    selector.select = counted

    async def sleeps() -> None:
        await asyncio.sleep(HALF_A_YEAR)
        for _ in range(1000):
            await asyncio.sleep(0.0025)

    loop.run_until_complete(sleeps())
    loop.close()
