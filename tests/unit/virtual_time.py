"""An event loop whose time passes only if nothing else can happen: hours of waiting take no time, and never vary."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Jump to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-6  # a nanosecond is lost after half a year, and a timer would never be due
        selector: Any = self._selector  # type: ignore[attr-defined]
        really_select = selector.select

        def select(timeout: float | None) -> list[Any]:
            if timeout is None:
                raise AssertionError("every task waits, and nothing is left that could wake one")
            self._now += timeout
            return list(really_select(0))

        selector.select = select

    def time(self) -> float:
        return self._now


def virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an asynchronous test in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())

    return run


def now() -> float:
    """Return the seconds of the running loop, for code that takes a monotonic clock."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everything run that can run without passing time."""
    for _ in range(50):
        await asyncio.sleep(0)
