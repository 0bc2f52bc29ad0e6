"""Serve the sandbox on a real socket: inside a running event loop, in a thread, or for the command line."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from atlas_sandbox.wire import TRANSPORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractContextManager

    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"


class _Protocol(H11Protocol):
    """Pass the transport of the connection to the application, which may have to break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport of a new connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class SandboxServer(uvicorn.Server):
    """A server that does not handle signals, reports when it is ready, and does not wait for open calls to stop."""

    def __init__(self, app: ASGIApp, host: str = LOOPBACK, port: int = 0) -> None:
        """Bind at once, so that `url` is valid; port 0 takes a free one.

        Raises:
            OSError: the address cannot be bound.
        """
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            backlog=4096,
            timeout_keep_alive=75,
        )
        super().__init__(config)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, port), family=family, backlog=4096)
        # The head and the body of a response are two writes: without this the second waits for the client's delayed
        # ACK (40 ms).
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ready = asyncio.Event()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.socket.getsockname()[1]}"
        """The URL of the server, without a slash at the end."""

    async def run_until_stopped(self) -> None:
        """Serve until `stop` is called."""
        await self.serve(sockets=[self.socket])

    def stop(self) -> None:
        """Make `run_until_stopped` return."""
        self.should_exit = True

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave the signals to the process, which may be another program."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and set `ready`."""
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and close all open connections."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


@asynccontextmanager
async def serve(app: ASGIApp, *, host: str = LOOPBACK, port: int = 0) -> AsyncIterator[str]:
    """Serve an application in the running event loop; yield its URL, without a slash at the end."""
    server = SandboxServer(app, host, port)
    task = asyncio.create_task(server.run_until_stopped())
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield server.url
    finally:
        ready.cancel()
        server.stop()
        await task


@contextmanager
def serve_in_thread(app: ASGIApp, *, host: str = LOOPBACK, port: int = 0) -> Iterator[str]:
    """Serve an application in a thread with its own event loop; yield its URL, without a slash at the end."""
    server = SandboxServer(app, host, port)
    started = threading.Event()

    async def run() -> None:
        task = asyncio.create_task(server.run_until_stopped())
        await server.ready.wait()
        started.set()
        await task

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="atlas-sandbox", daemon=True)
    thread.start()
    try:
        started.wait()
        yield server.url
    finally:
        server.stop()
        thread.join()
