"""The pitfalls of the HTTP transport, each tested on a real socket."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import socket
import ssl
import time
import traceback
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from atlas_invites.atlas import transport
from atlas_invites.atlas.admission import Admission
from atlas_invites.atlas.errors import AtlasUnavailable
from atlas_invites.atlas.transport import RESPONSE_MAX, HttpClient
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.model import Operation
from tests.unit.atlas.wire import Heard, answer, reset, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import httpx

CANARY = "canary-7d1f"
PEM = Path(__file__).with_name("localhost.pem")
LEGACY, LEGACY_CA = Path(__file__).with_name("legacy.pem"), Path(__file__).with_name("legacy_ca.pem")
"""A certificate for 127.0.0.1 and atlas.example.com, with its key, and its CA; neither has key identifiers."""
OPERATIONS = {
    "GET": Operation.READ_INVITE,
    "POST": Operation.CREATE_INVITE,
    "PATCH": Operation.UPDATE_INVITE,
    "DELETE": Operation.CANCEL_INVITE,
}
METHODS = list(OPERATIONS)


class Free(Admission):
    """Let every request go, and record its result."""

    def __init__(self) -> None:
        super().__init__(lambda: float("inf"), time.monotonic)
        self.outcomes: list[object] = []
        self.seconds = float("inf")
        self.stopped = False

    async def admit(self, _: httpx.Request) -> float:
        return self.seconds

    def time_for(self, _: httpx.Request) -> float:
        if self.stopped:
            raise ClusterUnavailable("the lease has ended")
        return self.seconds

    def learn(self, _: httpx.Request, outcome: object) -> None:
        self.outcomes.append(outcome)


@asynccontextmanager
async def client_of(url: str, admission: Free | None = None) -> AsyncIterator[HttpClient]:
    async with HttpClient(admission or Free(), url) as client:
        yield client


async def send(client: HttpClient, method: str = "GET", *, envelope: bool = False) -> httpx.Response:
    request = client.build_request(
        method,
        "/x",
        headers={"Authorization": f"Bearer {CANARY}"},
        json=None if method in {"GET", "DELETE"} else {"a": 1},
        extensions={"operation": OPERATIONS[method], "of": "1", "envelope": envelope},
    )
    return await client.send(request)


async def failure_of(url: str, method: str) -> AtlasUnavailable:
    async with client_of(url) as client:
        with pytest.raises(AtlasUnavailable) as failed:
            await send(client, method)
    shows_nothing(failed.value)
    return failed.value


def shows_nothing(error: BaseException) -> None:
    """Check that neither the exception nor its traceback, with the locals of each frame, shows credentials."""
    assert error.__cause__ is None
    assert error.__context__ is None
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(whole.format())
    assert CANARY not in text
    assert CANARY not in repr(error) + str(error) + repr(vars(error))


def always(said: bytes) -> Callable[[Heard, asyncio.StreamWriter], Awaitable[bytes | None]]:
    async def talk(_: Heard, __: asyncio.StreamWriter) -> bytes:
        return said

    return talk


async def hang_up(_: Heard, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut(_: Heard, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def garbage(_: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n")
    writer.close()


async def truncated(_: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    writer.close()


async def half_a_head(_: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    writer.close()


async def bad_chunks(_: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
    writer.close()


async def endless_header(_: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
    writer.close()


BREAKS = [hang_up, cut, garbage, truncated, half_a_head, bad_chunks, endless_header]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_write_that_may_not_go_any_more_sends_no_byte(method: str) -> None:
    """The process stops after the write was admitted: nothing of it reaches Atlas, on any kind of connection."""
    admission = Free()
    async with wire(always(answer(200, {}))) as server, client_of(server.url, admission) as client:
        for sent in range(2):  # on a new connection, and on a used one
            admission.stopped = True
            with pytest.raises(AtlasUnavailable) as failed:
                await send(client, method)
            assert failed.value.unanswered  # as far as the caller can know
            assert len(server.heard) == sent
            admission.stopped = False
            await send(client, method)
        assert len(server.heard) == 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("talk", BREAKS)
async def test_a_broken_connection_is_no_response(
    talk: Callable[[Heard, asyncio.StreamWriter], Awaitable[None]], method: str
) -> None:
    """A write that was received may have been carried out, however the connection breaks; a read is never in doubt."""
    async with wire(talk) as server:
        failure = await failure_of(server.url, method)
    assert failure.unanswered == (method != "GET")
    assert server.heard


@pytest.mark.parametrize("method", METHODS)
async def test_only_a_connection_that_was_never_made_proves_that_nothing_was_sent(method: str) -> None:
    """If nothing listens on the port, the write is not in doubt."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    failure = await failure_of(f"http://127.0.0.1:{port}", method)
    assert not failure.unanswered
    assert failure.what == "no connection"


async def test_an_unknown_host_gets_nothing() -> None:
    """If the host does not exist, the write is not in doubt."""
    assert not (await failure_of("http://no-such-host.invalid", "POST")).unanswered


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dripping", [False, True])
async def test_a_response_must_come_in_time(monkeypatch: pytest.MonkeyPatch, method: str, *, dripping: bool) -> None:
    """A server that sends nothing is cut off, and so is one that sends byte by byte without end."""
    monkeypatch.setattr(transport, "DEADLINE" if dripping else "READ_TIMEOUT", 0.1)

    async def slow(_: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" if dripping else b"")
        while True:
            writer.write(b" " if dripping else b"")
            await asyncio.sleep(0.01)

    async with wire(slow) as server:
        failure = await failure_of(server.url, method)
    assert failure.what == "no response in time"
    assert failure.unanswered == (method != "GET")


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_has_a_time_limit(method: str) -> None:
    """The caller that admits it sets the limit, and is also told the result."""

    async def never(_: Heard, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    admission = Free()
    admission.seconds = 0.05
    async with wire(never) as server, client_of(server.url, admission) as client:
        with pytest.raises(AtlasUnavailable) as failed:
            await send(client, method)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
    assert failed.value.what == "no response in time"
    assert admission.outcomes == [failed.value]


class Broken(Free):
    """Fail to process the result of a request."""

    def learn(self, _: httpx.Request, outcome: object) -> None:
        raise OverflowError(f"a bug: {outcome}")


async def test_a_bug_in_the_observer_hides_no_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """A write without a response stays in doubt, a response is still returned, and the bug is logged."""
    async with wire(hang_up) as server, client_of(server.url, Broken()) as client:
        with pytest.raises(AtlasUnavailable) as failed:
            await send(client, "POST")
    assert failed.value.unanswered
    assert (failed.value.__cause__, failed.value.__context__) == (None, None)
    async with wire(always(answer(200))) as server, client_of(server.url, Broken()) as client:
        assert (await send(client, "POST")).status_code == 200
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True] * 2
    assert CANARY not in caplog.text


async def test_every_response_is_reported() -> None:
    """Also an error response."""
    admission = Free()
    async with wire(always(answer(401))) as server, client_of(server.url, admission) as client:
        response = await send(client)
    assert admission.outcomes == [response]


async def test_the_time_outs() -> None:
    """5 s for a connection, 20 s for a response."""
    async with wire(always(answer(200, {}))) as server, client_of(server.url) as client:
        request = client.build_request("GET", "/x", extensions={"operation": Operation.READ_INVITE})
        await client.send(request)
    assert request.extensions["timeout"] == {"connect": 5.0, "read": 20.0}


@pytest.mark.parametrize("method", METHODS)
async def test_nothing_is_repeated(method: str) -> None:
    """No request goes out twice on a connection that died while idle: aiohttp would repeat a GET or DELETE."""

    async def once(request: Heard, writer: asyncio.StreamWriter) -> bytes | None:
        if request.headers.get("x-first") or len(server.heard) > 2:
            return answer(200, {})
        writer.close()
        return None

    async with wire(once) as server, client_of(server.url) as client:
        extensions = {"operation": Operation.READ_INVITE}
        await client.send(client.build_request("GET", "/", headers={"X-First": "1"}, extensions=extensions))
        try:
            status = (await send(client, method)).status_code
        except AtlasUnavailable:
            status = 0
    assert len(server.heard) == 2
    assert status == 0


async def test_a_garbage_status_line_hides_the_authorization() -> None:
    """The exception of aiohttp would print it: the problem still exists, and the transport does not pass it on."""
    async with wire(garbage) as server:
        async with aiohttp.ClientSession(headers={"Authorization": CANARY}) as session:
            with pytest.raises(aiohttp.ClientResponseError) as raw:
                await session.get(server.url)
        assert CANARY in repr(raw.value)
        await failure_of(server.url, "POST")


async def test_no_cookie_comes_back() -> None:
    """One caller's Set-Cookie is not sent with the next caller's request, by aiohttp or by httpx."""
    async with (
        wire(always(answer(200, {}, {"Set-Cookie": "session=of-another; Path=/"}))) as server,
        client_of(server.url) as client,
    ):
        for _ in range(3):
            assert "set-cookie" not in (await send(client)).headers
        assert not client.cookies
    assert not any("cookie" in heard.headers for heard in server.heard)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "http://127.0.0.1:1/", "http://[broken", "\x7f", ""])
async def test_no_redirect_is_followed(status: int, location: str) -> None:
    """The Authorization header goes nowhere else; not even the target's name is resolved."""
    async with wire(always(answer(status, None, {"Location": location}))) as server, client_of(server.url) as client:
        response = await send(client)
    assert response.status_code == status
    assert not response.has_redirect_location
    assert len(server.heard) == 1


async def test_a_response_is_bounded() -> None:
    """4 MiB are read. With one byte more, reading stops and the connection is not used again."""
    fits = b'"' + b"x" * (RESPONSE_MAX - 2) + b'"'
    async with wire(always(answer(200, raw=fits))) as server, client_of(server.url) as client:
        assert len((await send(client)).extensions["json"]) == RESPONSE_MAX - 2
    async with wire(always(answer(200, raw=fits + b" "))) as server:
        assert (await failure_of(server.url, "POST")).what == "a response of over 4 MiB"


async def test_a_body_without_end_is_bounded() -> None:
    """An endless series of chunks ends at the limit."""

    async def endless(_: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()

    async with wire(endless) as server:
        assert (await failure_of(server.url, "GET")).what == "a response of over 4 MiB"


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_a_small_body_does_not_grow(status: int) -> None:
    """The client asks for no compression, and does not unpack a compressed body: it may be a bomb."""
    bomb = gzip.compress(b" " * RESPONSE_MAX * 4)
    async with wire(always(answer(status, raw=bomb, headers={"Content-Encoding": "gzip"}))) as server:
        assert (await failure_of(server.url, "GET")).what == "a compressed response, which was not requested"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html><h1>502</h1></html>",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b'{"id": "truncated',
        b"\xff\xfe",
        b'"\\ud800"',
        b"NaN",
    ],
)
@pytest.mark.parametrize("status", [200, 404])
async def test_a_body_without_valid_json_is_none(raw: bytes, status: int) -> None:
    """Empty, HTML, truncated, not UTF-8, or endlessly nested: the response has no content, and nothing crashes."""
    async with wire(always(answer(status, raw=raw))) as server, client_of(server.url) as client:
        response = await send(client)
    assert response.extensions["json"] is None
    assert response.status_code == status


@pytest.mark.parametrize(
    ("http", "body", "status", "json"),
    [
        (200, {"status": 200, "content": {"id": "1"}}, 200, {"id": "1"}),
        (200, {"status": 200, "content": []}, 200, []),
        (200, {"status": 200, "results": [], "totalCount": 0}, 200, {"results": [], "totalCount": 0}),
        (200, {"status": 404, "content": {"errorCode": "X"}}, 404, {"errorCode": "X"}),
        (200, {"status": 404, "errorCode": "X", "error": 404}, 404, {"errorCode": "X", "error": 404}),
        (500, {"status": 200, "content": {"id": "1"}}, 200, {"id": "1"}),
        (401, {"status": 204, "content": None}, 204, None),
        (200, {"status": 204}, 204, {}),
        (404, {"errorCode": "X", "error": 404}, 404, {"errorCode": "X", "error": 404}),
        (200, {"status": "PENDING", "content": 1}, 200, {"status": "PENDING", "content": 1}),
        (200, {"status": True, "content": 1}, 200, {"status": True, "content": 1}),
        (200, {"status": 1000}, 200, {"status": 1000}),
        (200, [{"status": 404}], 200, [{"status": 404}]),
    ],
)
async def test_the_status_in_an_envelope_counts(http: int, body: object, status: int, json: object) -> None:
    """If an envelope was requested and came, its status counts, whether better or worse; otherwise HTTP's."""
    async with wire(always(answer(http, body))) as server, client_of(server.url) as client:
        response = await send(client, envelope=True)
        assert (response.status_code, response.extensions["json"]) == (status, json)
        plain = await send(client, envelope=False)
        assert (plain.status_code, plain.extensions["json"]) == (http, body)


async def test_a_call_can_be_canceled_and_the_next_one_works() -> None:
    """A canceled call leaves no response behind for the next one to read."""
    arrived = asyncio.Event()

    async def first_hangs(_: Heard, __: asyncio.StreamWriter) -> bytes:
        if len(server.heard) == 1:
            arrived.set()
            await asyncio.Event().wait()
        return answer(200, {"n": len(server.heard)})

    async with wire(first_hangs) as server, client_of(server.url) as client:
        task = asyncio.create_task(send(client))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await send(client)).extensions["json"] == {"n": 2}
    assert server.connections == 2


async def test_connections_are_kept() -> None:
    """Sequential calls share one connection; concurrent calls all go out at once.

    A call that was cut while it waited for a connection would count as one that may have been carried out.
    """
    waiting = asyncio.Semaphore(0)
    together = asyncio.Event()

    async def meet(_: Heard, __: asyncio.StreamWriter) -> bytes:
        waiting.release()
        if waiting._value == 250:  # noqa: SLF001 - how many have come
            together.set()
        if len(server.heard) > 3:
            await together.wait()
        return answer(200, {})

    async with wire(meet) as server, client_of(server.url) as client:
        for _ in range(3):
            await send(client)
        assert server.connections == 1
        await asyncio.gather(*(send(client) for _ in range(247)))


async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honored: a bare transport would ignore them."""
    async with wire(always(answer(200, {"by": "proxy"}))) as proxy, wire(always(answer(200, {"by": "atlas"}))) as atlas:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with client_of("http://atlas.invalid") as client:
            assert (await send(client)).extensions["json"] == {"by": "proxy"}
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with client_of(atlas.url) as client:
            assert (await send(client)).extensions["json"] == {"by": "atlas"}
    assert proxy.heard[0].target == "http://atlas.invalid/x"


@pytest.mark.parametrize("status", [407, 502])
async def test_a_proxy_that_rejects_the_tunnel(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """HTTPS goes through a tunnel, in which the proxy sees no header of the client.

    Its refusal is not a response of Atlas.
    """
    async with wire(always(answer(status))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", f"://user:{CANARY}@"))
        failure = await failure_of("https://atlas.invalid", "POST")
    assert failure.what == f"no connection: the proxy responded with HTTP {status}"
    assert not failure.unanswered
    assert [heard.line for heard in proxy.heard] == ["CONNECT atlas.invalid:443 HTTP/1.1"]
    heard = proxy.heard[0].headers
    assert "authorization" not in heard
    assert heard["proxy-authorization"] == f"Basic {base64.b64encode(f'user:{CANARY}'.encode()).decode()}"


async def test_a_dead_proxy_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing listens at the proxy's address, the write is not in doubt."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert not (await failure_of("https://atlas.invalid", "POST")).unanswered


async def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """host:port is enough, and exceptions that Python's own URLs do not support do not prevent its use."""
    monkeypatch.setenv("NO_PROXY", "fd00:10:96::/112,[::1],[fd00::]/8,10.96.0.0/12,.svc")
    async with wire(always(answer(502))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))
        await failure_of("https://atlas.invalid", "POST")
    assert [heard.line for heard in proxy.heard] == ["CONNECT atlas.invalid:443 HTTP/1.1"]


async def test_a_proxy_that_speaks_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY may be an https:// URL; its certificate is verified like Atlas's, and an error gives the reason."""
    async with wire(always(answer(502)), serving(PEM)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert (await failure_of("https://atlas.invalid", "POST")).what == "no connection: self-signed certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
        await failure_of("https://atlas.invalid", "POST")
    assert [heard.line for heard in proxy.heard] == ["CONNECT atlas.invalid:443 HTTP/1.1"]


def serving(pem: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    return tls


async def test_a_certificate_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log gives OpenSSL's reason, once, however often the call is tried again."""
    async with wire(always(answer(200)), serving(PEM)) as server, client_of(server.url) as client:
        for _ in range(3):
            with pytest.raises(AtlasUnavailable):
                await send(client)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["no TLS connection to Atlas, or to the proxy: self-signed certificate"]


async def test_tls_trusts_what_ssl_cert_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A private CA is trusted if SSL_CERT_FILE names it; otherwise nothing is sent."""
    async with wire(always(answer(200, {"secure": True})), serving(PEM)) as server:
        failure = await failure_of(server.url, "POST")
        assert not failure.unanswered
        assert failure.what == "no connection: self-signed certificate"
        assert not server.heard
        monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
        async with client_of(server.url) as client:
            assert (await send(client)).extensions["json"] == {"secure": True}


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify X.509 strictly, as Python 3.13 does by default."""
    make = ssl.create_default_context

    def strictly(**options: Any) -> ssl.SSLContext:  # noqa: ANN401 - the library's
        context = make(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strictly)


@pytest.mark.usefixtures("strict")
async def test_the_ca_of_a_company_is_accepted_as_kubectl_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA and a certificate without key identifiers are accepted on all versions of Python; names are verified."""
    monkeypatch.setenv("SSL_CERT_FILE", str(LEGACY_CA))
    async with wire(always(answer(200, {"secure": True})), serving(LEGACY)) as server:
        async with client_of(server.url) as client:
            assert (await send(client)).extensions["json"] == {"secure": True}
        failure = await failure_of(server.url.replace("127.0.0.1", "localhost"), "POST")
    assert failure.what.startswith("no connection: Hostname mismatch, certificate is not valid for 'localhost'")
    assert len(server.heard) == 1


@pytest.mark.parametrize("talk", BREAKS)
async def test_no_log_shows_credentials(
    caplog: pytest.LogCaptureFixture, talk: Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    """At level debug, with every logger on, for every kind of broken connection."""
    caplog.set_level(logging.DEBUG)
    async with wire(talk) as server:
        await failure_of(server.url, "POST")
    assert CANARY not in caplog.text
    assert CANARY not in json.dumps([{k: repr(v) for k, v in vars(record).items()} for record in caplog.records])
