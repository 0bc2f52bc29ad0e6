"""The network between the operator and the sandbox: requests take time, are recorded, and may get lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from atlas_invites.atlas.transport import Transport
from atlas_sandbox.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from atlas_invites.atlas.admission import Admission
    from atlas_sandbox.faults import FaultKind
    from atlas_sandbox.sandbox import Sandbox

LATENCY = 0.05
"""The seconds of a call, half of them before Atlas carries it out."""
_SERVER_ERROR = 500


@dataclass(slots=True)
class Exchange:
    """One request of the operator and its result; times are seconds of the virtual clock.

    ``carried_out`` is the time at which it reached Atlas, None before. ``answered``: a usable response of Atlas came
    back (a 2xx, or an error with a code). ``challenged``: the response asks for other credentials. ``shown_id`` is the
    id of the single entry in the response. ``unclear``: the id or the e-mail of an entry of a list cannot be read.
    ``refused``: the request was never sent. ``filter`` is the e-mail of a filtered list, in lower case.
    """

    number: int
    operation: str
    group_id: str
    record_id: str
    body: dict[str, Any]
    filter: str
    began: float
    carried_out: float | None = None
    ended: float | None = None
    status: int = 0
    code: str = ""
    challenged: bool = False
    unclear: bool = False
    shown_id: str = ""
    refused: bool = False

    @property
    def answered(self) -> bool:
        """Whether the operator knows the result."""
        return self.status != 0 and (self.status < 300 or (self.status < _SERVER_ERROR and bool(self.code)))

    @property
    def username(self) -> str:
        """The e-mail that it invites, in lower case."""
        return str(self.body.get("username", "")).lower()


@dataclass(slots=True)
class Network:
    """Carry requests to a sandbox in the same process.

    A request that was sent is carried out even if nothing waits for it any more, because its process was killed or it
    timed out.

    Attributes:
        down: connections are refused.
        before: called with each exchange when it leaves the operator.
        arriving: called with each exchange right before Atlas carries it out.
        done: called with each exchange right after that, even if the response is lost.
        after: called with each exchange when it ends for the operator.
    """

    sandbox: Sandbox
    time: Callable[[], float]
    down: bool = False
    before: Callable[[Exchange], None] = lambda _: None
    arriving: Callable[[Exchange], None] = lambda _: None
    done: Callable[[Exchange], None] = lambda _: None
    after: Callable[[Exchange], None] = lambda _: None
    count: int = 0
    _app: Any = None
    _under_way: set[asyncio.Task[httpx.Response]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._app = create_app(self.sandbox, connection_error=_broken)

    def client(self, admission: Admission, url: str) -> httpx.AsyncClient:
        """Return the client for ``atlas_invites.atlas.client``, whose transport uses this network."""
        transport = _InProcess(admission)
        transport.network = self
        return httpx.AsyncClient(base_url=url, transport=transport, trust_env=False)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response."""
        self.count += 1
        exchange = _exchange(self.count, request, self.time())
        self.before(exchange)
        try:
            if self.down:
                exchange.refused = True
                raise httpx.ConnectError("refused") from aiohttp.ClientConnectorError(_NOWHERE, OSError("refused"))
            task = asyncio.get_running_loop().create_task(self._carry(exchange, request))
            self._under_way.add(task)
            task.add_done_callback(self._landed)
            response = await asyncio.shield(task)
            exchange.status, exchange.code = response.status_code, _code(response.content)
            exchange.challenged = "WWW-Authenticate" in response.headers
            exchange.shown_id = _id(response.content)
            exchange.unclear = any(not _is_clear(entry) for entry in _entries(response.content))
        finally:
            exchange.ended = self.time()
            self.after(exchange)
        return response

    def _landed(self, task: asyncio.Task[httpx.Response]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved; ``send`` raises it

    async def _carry(self, exchange: Exchange, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(LATENCY / 2)
        exchange.carried_out = self.time()
        self.arriving(exchange)
        started: dict[str, Any] = {}
        body: list[bytes] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": request.content}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                body.append(message.get("body", b""))

        try:
            await self._app(_scope(request), receive, send)
        finally:
            self.done(exchange)
        await asyncio.sleep(LATENCY / 2)
        return httpx.Response(started["status"], headers=started["headers"], content=b"".join(body))


class _Seam(AiohttpTransport):
    """Replaces aiohttp below the operator's own transport."""

    network: Network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.network.send(request)
        return httpx.Response(response.status_code, headers=response.headers, stream=_Raw(response.content))


class _InProcess(Transport, _Seam):
    """The operator's own transport, over the simulated network."""


class _Raw(httpx.AsyncByteStream):
    """A response body that was not read yet."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> Any:  # noqa: ANN401 - an asynchronous iterator of bytes
        yield self._content


_NOWHERE = aiohttp.client_reqrep.ConnectionKey(
    "atlas", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)


def _broken(kind: FaultKind) -> Exception:
    return httpx.ReadTimeout(kind) if kind == "timeout" else httpx.ReadError(kind)


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "root_path": "",
        "http_version": "1.1",
    }


def _exchange(number: int, request: httpx.Request, now: float) -> Exchange:
    operation = str(request.extensions["operation"])
    segments = request.url.path.split("/")
    body = json.loads(request.content) if request.content and operation != "Token" else {}
    return Exchange(
        number=number,
        operation=operation,
        group_id=segments[5] if len(segments) > 5 else "",
        record_id=segments[7].partition(":")[0] if len(segments) > 7 else "",
        body=body,
        filter=parse_qs(request.url.query.decode()).get("username", [""])[0].lower(),
        began=now,
    )


def _code(content: bytes) -> str:
    body = _json(content)
    return str(body.get("errorCode", "")) if isinstance(body, dict) else ""


def _id(content: bytes) -> str:
    body = _json(content)
    return str(body.get("id", "")) if isinstance(body, dict) else ""


def _entries(content: bytes) -> list[Any]:
    body = _json(content)
    listed = body.get("results", []) if isinstance(body, dict) else body
    return listed if isinstance(listed, list) else []


def _is_clear(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("id"), str) and isinstance(entry.get("username"), str)


def _json(content: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(content)
    except ValueError:
        return None
