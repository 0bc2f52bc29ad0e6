"""Encode a response to bytes (`envelope`, `pretty`, headers), and read a request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from atlas_sandbox.clock import http_date
from atlas_sandbox.errors import AtlasError, reason_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from datetime import date, datetime

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 1 << 20
"""The most bytes that a request body of the API may have."""
TRANSPORT = "atlas_sandbox.transport"
"""The key in `scope["state"]` of the transport of the connection, if there is one to break."""
UNAUTHORIZED = 401
BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Response:
    """A response before it is encoded; `raw` is sent unchanged, instead of the JSON of `content`."""

    status: int
    content: object = None
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None

    @classmethod
    def of(cls, error: AtlasError) -> Response:
        """Return Atlas's response for an error."""
        return cls(error.status, error.body(), headers=error.headers)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded response, without the headers that every response has."""

    status: int
    media_type: str
    body: bytes


def encode(response: Response, query: dict[str, list[str]], *, keep_status: bool) -> Encoded:
    """Encode a response as the query asks for it.

    `envelope=true` wraps it: `{"status", "content"}`, or `status` beside the `results` of a paged list. Then the HTTP
    status is 200, unless `keep_status` is set or it is a 401, which asks for credentials. `pretty=true` indents.
    """
    if response.raw is not None:
        return Encoded(response.status, response.media_type, response.raw)
    status, content = response.status, response.content
    if _asks(query, "envelope"):
        if isinstance(content, dict) and "results" in content:
            content = content | {"status": status}
        else:
            content = {"content": {} if content is None else content, "status": status}
        status = status if keep_status or status == UNAUTHORIZED else 200
    if content is None:
        return Encoded(status, response.media_type, b"")
    if _asks(query, "pretty"):
        return Encoded(status, response.media_type, json.dumps(content, indent=2).encode())
    return Encoded(status, response.media_type, json.dumps(content, separators=(",", ":")).encode())


def media_type(version: date) -> str:
    """Return the `Content-Type` of a response in this version."""
    return f"application/vnd.atlas.{version.isoformat()}+json;charset=utf-8"


def _asks(query: dict[str, list[str]], name: str) -> bool:
    return name in query and query[name][-1].lower() == "true"


@dataclass(slots=True)
class HttpRequest:
    """A request as the server received it."""

    method: str
    path: str
    target: str
    """Path and query as they were sent: the digest is computed from them."""
    headers: dict[bytes, bytes] = field(repr=False)
    query: dict[str, list[str]]
    url: str
    """Scheme, host and path as the client sent them."""
    ip: str
    transport: asyncio.Transport | None

    @classmethod
    def of(cls, scope: Scope) -> HttpRequest:
        """Read an ASGI scope."""
        headers = dict(scope["headers"])
        query = scope["query_string"].decode("latin-1")
        raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        host = headers.get(b"host", b"localhost").decode("latin-1")
        client = scope.get("client")
        return cls(
            method=scope["method"],
            path=scope["path"],
            target=f"{raw_path}?{query}" if query else raw_path,
            headers=headers,
            query=parse_qs(query, keep_blank_values=True) if query else {},
            url=f"{scope.get('scheme', 'http')}://{host}{raw_path}",
            ip=client[0] if client else "127.0.0.1",
            transport=cast("asyncio.Transport | None", scope.get("state", {}).get(TRANSPORT)),
        )

    def header(self, name: bytes) -> str:
        """Return the value of a header, empty if it was not sent."""
        return self.headers.get(name, b"").decode("latin-1")


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request; read one that is too large to its end, so that the client gets the error response.

    Raises:
        AtlasError: 413 PAYLOAD_TOO_LARGE.
        ClientDisconnectedError: the client closed the connection before it sent the whole body.
    """
    body, size = b"", 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT:
            body += chunk
        if not message.get("more_body", False):
            break
    if size > BODY_LIMIT:
        raise AtlasError("PAYLOAD_TOO_LARGE", BODY_LIMIT)
    return body


class ClientDisconnectedError(Exception):
    """The client closed the connection; a response cannot be sent."""


class DateHeader:
    """ASGI middleware that sets the `Date` header of every response to the sandbox's own time."""

    def __init__(self, app: ASGIApp, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"date", _date_header(self._clock().replace(microsecond=0))))
            await send(message)

        await self._app(scope, receive, dated)


@lru_cache(maxsize=8)
def _date_header(moment: datetime) -> bytes:
    return http_date(moment).encode()


async def send_response(send: Send, encoded: Encoded, headers: Iterable[tuple[str, str]]) -> None:
    """Send a response, with the headers that every response of the API has."""
    lines = [
        (b"server", b"mdbws"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-type", encoded.media_type.encode("latin-1")),
    ]
    body = b"" if encoded.status in BODILESS else encoded.body
    if encoded.status not in BODILESS:
        lines.append((b"content-length", str(len(body)).encode()))
    lines += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": encoded.status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def head_of(encoded: Encoded) -> bytes:
    """Return the status line and headers of a response that is written to the socket directly."""
    lines = [
        f"HTTP/1.1 {encoded.status} {reason_of(encoded.status)}",
        f"Content-Type: {encoded.media_type}",
        f"Content-Length: {len(encoded.body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
