"""Work that is done once for all callers that request it at the same time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Run(Generic[T]):
    """One run of some work. All callers that join while it runs share its result or its failure.

    It continues if these callers are canceled. Runs are numbered from 1; ``began`` is in seconds of the clock.
    """

    number: int
    began: float
    task: asyncio.Task[T]

    async def has_ended(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as asyncio.wait has it
        """Wait at most ``timeout`` seconds for the end, and return whether the run has ended."""
        await asyncio.wait([self.task], timeout=timeout)
        return self.task.done()

    async def result(self) -> T:
        """Return the result, or raise the failure: one exception object for all callers."""
        await self.has_ended()
        return self.task.result()


class Coalesced(Generic[T]):
    """The runs of some work, and the latest one while it is ``running``.

    Args:
        clock: monotonic seconds.
        on_end: called with each run that has ended, unless a later one has started.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, on_end: Callable[[Run[T]], None] = lambda _: None
    ) -> None:
        self.running: Run[T] | None = None
        self._clock = clock
        self._on_end = on_end
        self._started = 0

    def start(self, work: Coroutine[Any, Any, T]) -> Run[T]:
        """Start a run. A run that is in progress continues for its callers."""
        self._started += 1
        run = self.running = Run(self._started, self._clock(), asyncio.create_task(work))
        run.task.add_done_callback(lambda _: self._end(run))
        return run

    def _end(self, run: Run[T]) -> None:
        if not run.task.cancelled():
            run.task.exception()  # else asyncio logs an exception that nobody awaited
        if self.running is run:
            self.running = None
            self._on_end(run)
