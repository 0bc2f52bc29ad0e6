"""A server that writes to the socket what a test tells it to, for responses that no HTTP server would send."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping


@dataclass
class Heard:
    """One request as it arrived on the socket."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


@dataclass
class Wire:
    """Where the server listens, and which requests it got."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0


def answer(
    status: int = 200, body: object = None, headers: Mapping[str, str] | None = None, *, raw: bytes | None = None
) -> bytes:
    """Return a complete HTTP response with ``body`` as JSON, or ``raw`` unchanged."""
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} X",
        f"Content-Length: {len(content)}",
        *(f"{k}: {v}" for k, v in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def wire(
    talk: Callable[[Heard, asyncio.StreamWriter], Awaitable[bytes | None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Wire]:
    """Serve. ``talk`` returns the response, or None if it has sent the response itself."""
    server = Wire()
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            while (request := await _read(reader)) is not None:
                server.heard.append(request)
                if (said := await talk(request, writer)) is not None:
                    writer.write(said)
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers)


async def _read(reader: asyncio.StreamReader) -> Heard | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    return Heard(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
