"""A server of the tests that runs in a thread of its own, with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class InThread:
    """Runs ``_serve`` in a thread from ``__enter__`` to ``__exit__``."""

    _ready: threading.Event = field(default_factory=threading.Event, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _stopping: asyncio.Event | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="server", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stopping is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._serve()

    async def _serve(self) -> None:
        """Begin to listen, call ``_serve_until_stopped``, and close what was opened."""
        raise NotImplementedError

    async def _serve_until_stopped(self) -> None:
        """Let ``__enter__`` return, and wait for ``__exit__``."""
        assert self._stopping is not None
        self._ready.set()
        await self._stopping.wait()
