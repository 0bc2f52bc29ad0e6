"""A reverse proxy on loopback with controls: what a failing network or server does to a client."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

from tests.in_thread import InThread
from tests.stack import wait_until

if TYPE_CHECKING:
    from pathlib import Path

_HOPS = frozenset({"host", "connection", "transfer-encoding", "content-length", "keep-alive"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_GONE = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410}}


@dataclass(slots=True)
class Fault:
    """What happens to the requests whose ``METHOD /path?query`` matches.

    Attributes:
        status: the status of the response, with a Kubernetes Status as its body; None: there is no response, the
            request is held.
        gone: the response is a watch that says 410 Gone.
        after: the request is carried out first.
        count: how many requests are struck; None: all.
        seconds: how long the request is held before it is struck.
        struck: how many were struck.
    """

    matches: re.Pattern[str]
    status: int | None
    gone: bool
    after: bool
    count: int | None
    seconds: float = 0.0
    struck: int = 0

    def strikes(self, line: str) -> bool:
        """Return whether a request is struck, and count it."""
        if not self.matches.search(line) or (self.count is not None and self.struck >= self.count):
            return False
        self.struck += 1
        return True


@dataclass(frozen=True, slots=True)
class Observation:
    """A request that came through: its time (monotonic seconds), and its content."""

    at: float
    line: str

    @property
    def writes(self) -> bool:
        """Return whether it changes something."""
        return self.line.split(" ", 1)[0] not in _READS


@dataclass(slots=True)
class Proxy(InThread):
    """Pass requests on to a server, in its own thread.

    Attributes:
        certificate: certificate and key for TLS on the side of the client; None: plain HTTP.
        silent: nothing is passed on in either direction, and nothing is refused, as with a cut cable.
        swallowed: requests, and parts of responses, that were lost during silence: they never come, even after it has
            ended.
        seen: the requests that were passed on.
    """

    target: str
    tls: ssl.SSLContext | None = None
    certificate: Path | None = None
    url: str = ""
    silent: bool = False
    swallowed: int = 0
    seen: list[Observation] = field(default_factory=list)
    _presented: ssl.SSLContext | None = None
    _faults: list[Fault] = field(default_factory=list)
    _streams: set[asyncio.Transport] = field(default_factory=set)
    _runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        if self.certificate is not None:
            self._presented = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.present(self.certificate)
        return InThread.__enter__(self)  # super() does not know the class that slots create

    def fault(  # noqa: PLR0913 - the levers
        self,
        pattern: str,
        status: int | None = None,
        *,
        gone: bool = False,
        after: bool = False,
        count: int | None = None,
        seconds: float = 0.0,
    ) -> Fault:
        """Order a fault for requests that match, without a limit unless it has a count; see ``Fault``."""
        fault = Fault(re.compile(pattern), status, gone, after, count, seconds)
        self._faults.append(fault)
        return fault

    def mend(self, fault: Fault) -> None:
        """Remove a fault. The requests that it holds stay held until the client leaves."""
        self._faults.remove(fault)

    def present(self, certificate: Path) -> None:
        """Present another certificate on new connections."""
        assert self._presented is not None
        self._presented.load_cert_chain(certificate)

    def cut_streams(self) -> None:
        """Reset the connections of all watches; wait for a watch that was just requested."""
        assert self._loop is not None
        wait_until("there is a watch to cut", lambda: self._streams)
        self._loop.call_soon_threadsafe(self._cut)

    def cut_connections(self) -> None:
        """Reset the connections of all clients, as an API server that stops does."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._cut_all)

    def writes(self, since: float = 0.0) -> list[Observation]:
        """Return the changing requests since a time, except those for the Lease."""
        return [seen for seen in list(self.seen) if seen.writes and seen.at >= since and "/leases" not in seen.line]

    def _cut(self) -> None:
        while self._streams:
            self._streams.pop().abort()

    def _cut_all(self) -> None:
        assert self._runner is not None
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _serve(self) -> None:
        options: dict[str, Any] = {} if self.tls is None else {"ssl": self.tls}
        connector = aiohttp.TCPConnector(limit=0, **options)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as client:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._pass(request, client)

            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
            self._runner = runner
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._presented)
            await site.start()
            self.url = f"{site.name.partition(':')[0]}://127.0.0.1:{runner.addresses[0][1]}"
            await self._serve_until_stopped()
            await runner.cleanup()

    async def _pass(self, request: web.Request, client: aiohttp.ClientSession) -> web.StreamResponse:
        line = f"{request.method} {request.raw_path}"
        body = await request.read()
        await self._stay_silent()
        fault = next((f for f in list(self._faults) if f.strikes(line)), None)
        if fault is not None and not fault.after:
            return await self._strike(fault, request)
        self.seen.append(Observation(time.monotonic(), line))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOPS}
        try:
            async with client.request(
                request.method,
                f"{self.target}{request.raw_path}",
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                if fault is not None:
                    await answer.read()
                    return await self._strike(fault, request)
                return await self._answer(request, answer)
        except aiohttp.ClientConnectionError:
            return web.Response(status=502, text="no server")

    async def _answer(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOPS:
                response.headers.add(name, value)
        stream = request.transport if request.query.get("watch") == "true" else None
        if stream is None:
            response.content_length = answer.content_length
        else:
            self._streams.add(stream)
        try:
            await self._stay_silent()
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await self._stay_silent()
                await response.write(chunk)
            await response.write_eof()
        except aiohttp.ClientConnectionResetError:
            pass  # The client has left: nothing reads the rest.
        finally:
            self._streams -= {stream}
        return response

    @staticmethod
    async def _strike(fault: Fault, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(fault.seconds)
        if fault.gone:
            return web.Response(text=json.dumps(_GONE) + "\n", content_type="application/json")
        if fault.status is None:
            await asyncio.Event().wait()
        about = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status}
        message = f"the proxy was told to answer {request.method} so"
        return web.json_response({**about, "message": message, "reason": "Forced"}, status=fault.status or 500)

    async def _stay_silent(self) -> None:
        if self.silent:
            self.swallowed += 1
            await asyncio.Event().wait()
