"""The HTTP transport for every request to Atlas, including challenges and tokens.

It is httpx on aiohttp (``httpx-aiohttp``, which takes a tenth of the CPU of httpx's own pool), with these rules:

- Exceptions from below are replaced, and not kept as cause or context: aiohttp's errors print the headers.
- A response is read immediately: at most 4 MiB, uncompressed, and within one deadline, however slowly it arrives.
- No cookie is kept: the jars of aiohttp and httpx would send it with the next request, perhaps of another caller.
- The number of connections is not limited, so that no request waits for one. A write that was cut while it waited would
  count as possibly carried out.
- No redirect is followed, here or in httpx, which does not even see the location.
- The body of a write is sent only if the gate is open at that moment: before that, aiohttp yields to other tasks, and
  the process may be stopped there for longer than its lease.
- Nothing is repeated here. If a connection ends without a response, aiohttp would repeat a GET or DELETE with the same
  ``nc``, which looks like an attack to a server. ``authenticated`` repeats reads with a new signature.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from pydantic_core import from_json

from atlas_invites.atlas.errors import AtlasUnavailable
from atlas_invites.atlas.responses import failure_of
from atlas_invites.environment import accept_legacy_certificates, openssl_reason, proxy_for

if TYPE_CHECKING:
    from atlas_invites.atlas.admission import Admission

log = logging.getLogger(__name__)

RESPONSE_MAX = 4 * 1024 * 1024
"""The maximum size of a response in bytes."""
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
DEADLINE = CONNECT_TIMEOUT + READ_TIMEOUT
"""Seconds: to connect, to wait for the next bytes, and for the whole request."""
KEEP_ALIVE = 15.0
"""Seconds for which an idle connection is kept."""

DISCONNECTED = "the connection ended"
"""The text of an AtlasUnavailable if no response began: an idle connection may have been dead already."""


_sending: ContextVar[httpx.Request] = ContextVar("sending")
"""The request that the current task of aiohttp sends."""


class Transport(AiohttpTransport):
    """The transport of the process.

    The extensions of a request are its ``operation``, ``of`` (what Atlas counts it by: the project, or for a token the
    client), and whether an ``envelope`` was requested. Those of a response are ``json``, its body (None if it is not
    JSON), and ``failure``, what it means (None if it is a success). Its status is that of the envelope if there is one.
    """

    def __init__(self, admission: Admission, **options: Any) -> None:  # noqa: ANN401 - the base class knows them
        super().__init__(**options)
        self._admission = admission
        self._tls_fault: str | None = None

    def get_client(self) -> aiohttp.ClientSession:
        """Return a new aiohttp session. It is called at the first request, because it needs a running loop."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ssl=self.ssl_context)
        before_body = aiohttp.TraceConfig()
        before_body.on_request_chunk_sent.append(self._before_body)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[before_body]
        )
        session._retry_connection = False  # noqa: SLF001 - aiohttp has this only for its own tests
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its response, read and classified.

        Raises:
            ClusterUnavailable: it was not sent: it is a write, and the gate is closed.
            RateLimited: it was not sent, because Atlas requested to wait.
            AtlasUnavailable: there is no response that can be read; or it was not sent, because of an outage.
        """
        seconds = await self._admission.admit(request)
        _sending.set(request)
        request.extensions["timeout"] = {"connect": CONNECT_TIMEOUT, "read": READ_TIMEOUT}
        outcome: httpx.Response | AtlasUnavailable
        try:
            async with asyncio.timeout(min(seconds, DEADLINE)):
                response = await super().handle_async_request(request)
                try:
                    content = await _read(response)
                finally:
                    await response.aclose()
        except Exception as error:  # noqa: BLE001 - any exception may print the headers of the request
            self._log_tls(openssl_reason(error))
            what, sent = _described(error)
            outcome = AtlasUnavailable.of(request.extensions["operation"], what, sent=sent)
        else:
            self._tls_fault = None
            outcome = _classified(request, response, content)
        try:
            self._admission.learn(request, outcome)
        except Exception:  # it must not hide the outcome, which shows whether the send is unconfirmed
            log.exception("the outcome of a request to Atlas could not be recorded")
        if isinstance(outcome, AtlasUnavailable):
            raise outcome  # not in the except block, where aiohttp's error would be its context
        return outcome

    async def _before_body(self, *_: object) -> None:
        """Check the gate. aiohttp calls this right before it passes head and body to the operating system."""
        self._admission.time_for(_sending.get())

    def _log_tls(self, fault: str | None) -> None:
        """Log why TLS fails, if it does. The same reason is logged again only after TLS has worked."""
        if fault is not None and fault != self._tls_fault:
            log.warning("no TLS connection to Atlas, or to the proxy: %s", fault)
        self._tls_fault = fault


class HttpClient(httpx.AsyncClient):
    """The client of httpx with our transport, through the proxy of the environment if there is one.

    httpx does not read the environment itself: it would raise for a range of IPv6 addresses in ``NO_PROXY``, and would
    read a netrc file.

    Raises:
        StartupError: the proxy of the environment cannot be used.
    """

    def __init__(self, admission: Admission, url: str) -> None:
        proxy = (address := proxy_for(url)) and httpx.Proxy(address)
        if proxy and proxy.raw_auth:  # as a header: httpx-aiohttp would use a way that aiohttp deprecates
            basic = base64.b64encode(b":".join(proxy.raw_auth)).decode()
            proxy = httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {basic}"})
        tls = accept_legacy_certificates(httpx.create_ssl_context())  # uses SSL_CERT_FILE and SSL_CERT_DIR
        super().__init__(base_url=url, transport=Transport(admission, verify=tls, proxy=proxy), trust_env=False)
        self._cookies = _NoCookies()


class _NoCookies(httpx.Cookies):
    """Keeps no cookies: they would be sent with the next request, perhaps of another caller."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignore the cookies of a response."""


class _Unreadable(Exception):  # noqa: N818 - a property of the response
    """A response that is not read; the message says why."""


async def _read(response: httpx.Response) -> bytes:
    """Return the body, up to the maximum size. Compression is rejected: a small body could become a large one."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _Unreadable("a compressed response, which was not requested")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > RESPONSE_MAX:
            raise _Unreadable("a response of over 4 MiB")
    return bytes(content)


def _classified(request: httpx.Request, response: httpx.Response, content: bytes) -> httpx.Response:
    """Return the response with its JSON and its meaning, without the envelope if there is one.

    OpenAPI: ``envelope=true`` adds ``status`` to the body.
    """
    try:
        json = from_json(content, allow_inf_nan=False)
    except (ValueError, RecursionError):
        json = None
    status = response.status_code
    wrapped = json.get("status") if request.extensions.get("envelope") and isinstance(json, dict) else None
    if type(wrapped) is int and 100 <= wrapped < 600:  # noqa: PLR2004 - the range of HTTP
        status = wrapped
        json = json["content"] if "content" in json else {k: v for k, v in json.items() if k != "status"}
    failure = failure_of(request.extensions["operation"], status, json, response.headers)
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _UNWANTED]
    return httpx.Response(status, headers=headers, extensions={"json": json, "failure": failure})


_UNWANTED = frozenset({b"location", b"set-cookie", b"content-length", b"transfer-encoding"})


def _described(error: Exception) -> tuple[str, bool]:
    """Return what went wrong, in fixed words, and whether the request may have been sent."""
    if isinstance(error, _Unreadable):
        return str(error), True
    if isinstance(error.__cause__, aiohttp.ClientConnectorError):
        reason = openssl_reason(error)
        return f"no connection: {reason}" if reason else "no connection", False
    if isinstance(error.__cause__, aiohttp.ClientHttpProxyError):
        return f"no connection: the proxy responded with HTTP {error.__cause__.status}", False
    if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
        return "no response in time", True
    if isinstance(error.__cause__, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return DISCONNECTED, True
    return "a response that is not HTTP", True
