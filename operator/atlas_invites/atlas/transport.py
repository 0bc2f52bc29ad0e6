"""The one seam that every HTTP request passes: challenges and tokens too.

httpx with aiohttp underneath (``httpx-aiohttp``, a tenth of the CPU of httpx's own pool), and what that takes:

- nothing that is raised below leaves here, nor stays as a cause or context: aiohttp's errors print the headers;
- a response is read here and now, at most 4 MiB and uncompressed, and within one deadline, however slowly it drips;
- no cookie is kept: aiohttp's jar would send one caller's with the next caller's request, and so would httpx's;
- nothing waits for a connection, of which there are as many as calls at a time: one that was cut while it waited would
  count as one that may have been carried out;
- no redirect is followed, here or in httpx, which is not even shown where it leads;
- the body of a write goes out only if it may at that very moment: before it aiohttp gives way to other tasks, and the
  process may be stopped there for longer than its lease;
- nothing is repeated here: when a connection ends without a response aiohttp would send a GET or DELETE again, with the
  same ``nc``, which a server takes for an attack. ``authenticated`` repeats reads, with a new signature.
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
"""Bytes of a response that are read at most."""
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
DEADLINE = CONNECT_TIMEOUT + READ_TIMEOUT
"""Seconds: for a connection, for the next bytes, and for one request in all."""
KEEP_ALIVE = 15.0
"""Seconds that an idle connection is kept."""

DISCONNECTED = "the connection ended"
"""What an AtlasUnavailable says when no response began: a connection that had been idle may have been dead already."""


_sending: ContextVar[httpx.Request] = ContextVar("sending")
"""The request that a task of aiohttp writes."""


class Transport(AiohttpTransport):
    """The transport of the process.

    The extensions of a request are its ``operation``, ``of`` (what Atlas counts it by: the project, or for a token the
    client), and whether an ``envelope`` was asked for. Those of a response are ``json``, its body (None if it is not
    JSON), and ``failure``, what it means (None if it is a success). Its status is that of the envelope if there is one.
    """

    def __init__(self, admission: Admission, **options: Any) -> None:  # noqa: ANN401 - the base class knows them
        super().__init__(**options)
        self._admission = admission
        self._tls_fault: str | None = None

    def get_client(self) -> aiohttp.ClientSession:
        """Return a new aiohttp session; called at the first request, for it needs a running loop."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ssl=self.ssl_context)
        before_body = aiohttp.TraceConfig()
        before_body.on_request_chunk_sent.append(self._before_body)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[before_body]
        )
        session._retry_connection = False  # noqa: SLF001 - aiohttp offers this to its own tests alone
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its response, read and classified.

        Raises:
            ClusterUnavailable: it was not sent: it is a write, and the gate is closed.
            RateLimited: it was not sent, because Atlas asked us to wait.
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
        except Exception as error:  # noqa: BLE001 - whatever it is, it may print the request's headers
            self._log_tls(openssl_reason(error))
            what, sent = _described(error)
            outcome = AtlasUnavailable.of(request.extensions["operation"], what, sent=sent)
        else:
            self._tls_fault = None
            outcome = _classified(request, response, content)
        try:
            self._admission.learn(request, outcome)
        except Exception:  # it must not hide the outcome: whether a write is in doubt depends on it
            log.exception("the outcome of a request to Atlas could not be recorded")
        if isinstance(outcome, AtlasUnavailable):
            raise outcome  # not above, where aiohttp's error would be its context
        return outcome

    async def _before_body(self, *_: object) -> None:
        """Called by aiohttp right before it hands head and body over to the operating system."""
        self._admission.time_for(_sending.get())

    def _log_tls(self, fault: str | None) -> None:
        """Log why TLS fails, if it does, once until it fails for another reason or works again."""
        if fault is not None and fault != self._tls_fault:
            log.warning("no TLS connection to Atlas, or to the proxy: %s", fault)
        self._tls_fault = fault


class HttpClient(httpx.AsyncClient):
    """httpx's client with our transport, through the proxy of the environment if there is one.

    httpx would read the environment in its own way: it raises for a range of IPv6 addresses in ``NO_PROXY``, and reads
    a netrc file.

    Raises:
        StartupError: the proxy of the environment cannot be used.
    """

    def __init__(self, admission: Admission, url: str) -> None:
        proxy = (address := proxy_for(url)) and httpx.Proxy(address)
        if proxy and proxy.raw_auth:  # as a header: aiohttp gives up the other way, which httpx-aiohttp would take
            basic = base64.b64encode(b":".join(proxy.raw_auth)).decode()
            proxy = httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {basic}"})
        tls = accept_legacy_certificates(httpx.create_ssl_context())  # heeds SSL_CERT_FILE and SSL_CERT_DIR
        super().__init__(base_url=url, transport=Transport(admission, verify=tls, proxy=proxy), trust_env=False)
        self._cookies = _NoCookies()


class _NoCookies(httpx.Cookies):
    """Keeps no cookie: it would be sent with the next request, which may be another caller's."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave the cookies of a response alone."""


class _Unreadable(Exception):  # noqa: N818 - says what the response is
    """A response that we do not read; the message says why."""


async def _read(response: httpx.Response) -> bytes:
    """Return the body, bounded. We ask for no compression: a small body must not become a large one here."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _Unreadable("a compressed answer, which was not asked for")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > RESPONSE_MAX:
            raise _Unreadable("an answer of over 4 MiB")
    return bytes(content)


def _classified(request: httpx.Request, response: httpx.Response, content: bytes) -> httpx.Response:
    """Return the response with its JSON, out of its envelope if there is one, and with what it means.

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
    """Return what went wrong in fixed words, and whether the request may have been sent."""
    if isinstance(error, _Unreadable):
        return str(error), True
    if isinstance(error.__cause__, aiohttp.ClientConnectorError):
        reason = openssl_reason(error)
        return f"no connection: {reason}" if reason else "no connection", False
    if isinstance(error.__cause__, aiohttp.ClientHttpProxyError):
        return f"no connection: the proxy responded with HTTP {error.__cause__.status}", False
    if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
        return "no answer in time", True
    if isinstance(error.__cause__, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return DISCONNECTED, True
    return "an answer that is not HTTP", True
