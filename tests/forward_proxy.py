"""A forwarding proxy on loopback, as a company has one: it may ask for credentials, and it may read TLS."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.in_thread import InThread

if TYPE_CHECKING:
    import ssl


@dataclass(slots=True)
class ForwardProxy(InThread):
    """Passes connections on to a server, whatever host a client asks for, in a thread of its own.

    Attributes:
        target: the ``http://`` URL of the server.
        credentials: ``user:password`` that a client must have.
        tls: the certificate that the proxy shows in place of the server's. Without one the tunnel leads to the server.
        address: ``host:port`` where the proxy listens.
        asked: the request lines of its clients that had the credentials.
        refused: how many had not.
    """

    target: str
    credentials: str | None = None
    tls: ssl.SSLContext | None = None
    address: str = ""
    asked: list[str] = field(default_factory=list)
    refused: int = 0
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        await self._serve_until_stopped()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # the client has left, or does not trust the certificate
        finally:
            writer.close()
            self._connections.discard(connection)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *headers = head.strip().split("\r\n")
        if not self._admits(headers):
            self.refused += 1
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        self.asked.append(line)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        if self.tls is not None:
            await writer.start_tls(self.tls)
        target = urlsplit(self.target)
        server_reader, server_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(_pass(reader, server_writer), _pass(server_reader, writer))

    def _admits(self, headers: list[str]) -> bool:
        if self.credentials is None:
            return True
        token = base64.b64encode(self.credentials.encode()).decode()
        sent = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in headers)}
        return sent.get("proxy-authorization") == f"Basic {token}"


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
