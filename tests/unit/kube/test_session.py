"""The one session with the API server: its credentials and CA are up to date, for our client and for kopf."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from atlas_invites.environment import StartupError
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.resource import Key
from atlas_invites.kube.access import Access
from atlas_invites.kube.connection import client_of
from atlas_invites.kube.references import References
from atlas_invites.kube.session import RELOAD_PAUSE, Session, open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CERTIFICATES = Path(__file__).parents[2] / "certificates"
LASTS = 100.0


def trusting(name: str) -> ssl.SSLContext:
    """Return a context that trusts one of the CAs, whose certificates lack key identifiers."""
    context = ssl.create_default_context(cafile=str(CERTIFICATES / f"{name}-authority.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


TRUST = {name: trusting(name) for name in ("first", "second")}


def as_(token: str, lasts: float = LASTS) -> Access:
    """Return an access with a token."""
    return Access("", TRUST["first"], None, None, (("Authorization", f"Bearer {token}"),), (), lasts)


@dataclass
class Server:
    """An API server that accepts one token, and the files from which a client reads it.

    Attributes:
        accepts: the token that it accepts.
        access: what is loaded next; an error is raised.
        loads, loaded: how often a load has begun, and ended.
        slow: what a load waits for.
        asked: the requests that came, with their bodies.
    """

    accepts: str = "one"
    access: Access | Exception = field(default_factory=lambda: as_("one"))
    loads: int = 0
    loaded: int = 0
    slow: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)
    now: float = 0.0
    url: str = ""
    stream: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def load(self, _: Access | None) -> Access:
        self.loads += 1
        if self.slow is not None:
            await self.slow.wait()
        self.loaded += 1
        if isinstance(self.access, Exception):
            raise self.access
        return replace(self.access, server=self.url)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.asked.append(f"{token} {request.method} {await request.text()}".strip())
        if self.stream is not None and "watch" in request.query:
            return await self.stream(request)
        return web.json_response({}, status=200 if token == self.accepts else 401)


@asynccontextmanager
async def serve(server: Server, certificate: str | None = None) -> AsyncIterator[Session]:
    """Serve, and return a session."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERTIFICATES / f"{certificate}.pem")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as http:
        session = Session(http, server.load, await server.load(None), lambda: server.now)
        yield session
        session.end()
    await runner.cleanup()


async def until(holds: Callable[[], bool]) -> None:
    """Let all tasks run until the condition holds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - whatever it is, it has no event
            await asyncio.sleep(0)


async def status(session: Session, method: str = "GET", **options: Any) -> int:  # noqa: ANN401 - as aiohttp
    return (await session.request(method, f"{session.server}/path", **options)).status


# Credentials.


async def test_rejected_credentials_are_loaded_again_and_the_request_is_repeated() -> None:
    """A 401 is not returned if there are newer credentials; the request is repeated in full."""
    server = Server()
    async with serve(server) as session:
        assert await status(session) == 200
        server.accepts, server.access, server.now = "two", as_("two"), RELOAD_PAUSE
        assert await status(session, "PATCH", data="{}", headers={"Content-Type": "application/json"}) == 200
    assert server.asked == ["one GET", "one PATCH {}", "two PATCH {}"]


async def test_concurrent_rejected_requests_share_one_load() -> None:
    """However many requests get a 401 at the same time, the credentials are loaded once."""
    server = Server()
    async with serve(server) as session:
        server.accepts, server.access, server.now, server.slow = "two", as_("two"), RELOAD_PAUSE, asyncio.Event()
        requests = [asyncio.create_task(status(session)) for _ in range(20)]
        await until(lambda: len(server.asked) == 20)
        server.slow.set()
        assert await asyncio.gather(*requests) == [200] * 20
    assert server.loads == 2


async def test_credentials_that_stay_rejected_are_loaded_rarely() -> None:
    """If there are no others, the 401 is the response, and they are loaded every few seconds at most."""
    server = Server(accepts="none")
    async with serve(server) as session:
        for _ in range(10):
            assert await status(session) == 401
        assert server.loads == 1
        server.now = RELOAD_PAUSE
        for _ in range(10):
            assert await status(session) == 401
    assert server.loads == 2
    assert server.asked == ["one GET"] * 20


async def test_credentials_are_renewed_before_they_expire_without_a_wait() -> None:
    """The current credentials are used while the new ones are loaded."""
    server = Server()
    async with serve(server) as session:
        server.now, server.access, server.slow = LASTS, as_("two"), asyncio.Event()
        assert await status(session) == 200
        assert await status(session) == 200
        server.slow.set()
        server.accepts = "two"
        await until(lambda: server.loaded == 2)
        assert await status(session) == 200
    assert server.loads == 2
    assert server.asked == ["one GET", "one GET", "two GET"]


async def test_a_renewal_that_fails_keeps_the_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again a few seconds later, and logged once."""
    server = Server()
    async with serve(server) as session:
        server.access = StartupError("the plugin failed")
        for number in range(5):
            server.now = LASTS + number * RELOAD_PAUSE
            assert await status(session) == 200
            await until(lambda: server.loaded == server.loads)
        assert server.loads == 6
        server.access, server.now = as_("two"), LASTS + 5 * RELOAD_PAUSE
        assert await status(session) == 200
        await until(lambda: server.loaded == 7)
        server.accepts = "two"
        assert await status(session) == 200
    (record,) = caplog.records
    assert record.getMessage() == "keeping the current credentials for the API server; will retry: the plugin failed"


async def test_a_renewal_with_an_unexpected_error(caplog: pytest.LogCaptureFixture) -> None:
    """The renewal counts as failed; the message may contain a secret, so the log has only the type."""
    server = Server()
    async with serve(server) as session:
        server.access, server.now = ValueError("canary-71c4"), LASTS
        for _ in range(5):
            assert await status(session) == 200
            await until(lambda: server.loaded == server.loads)
        assert server.loads == 2
        server.accepts, server.access, server.now = "two", as_("two"), LASTS + RELOAD_PAUSE
        assert await status(session) == 200
    (record,) = caplog.records
    assert record.getMessage() == "keeping the current credentials for the API server; will retry: ValueError"


async def test_a_rejected_request_waits_some_seconds_for_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the 401 is the response: a plugin may take longer than the caller can wait."""
    monkeypatch.setattr("atlas_invites.kube.session.RELOAD_WAIT", 0.0, raising=False)
    server = Server()
    async with serve(server) as session:
        server.accepts, server.access, server.now, server.slow = "two", as_("two"), RELOAD_PAUSE, asyncio.Event()
        waits = asyncio.create_task(status(session))
        await until(waits.done)
        assert await waits == 401
        server.slow.set()
        await until(lambda: server.loaded == 2)
        assert await status(session) == 200


async def test_a_caller_that_leaves_keeps_no_connection() -> None:
    """The rejected response is released if its caller is canceled while credentials are loaded."""
    server, requests = Server(), list[web.Request]()

    async def stream(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        response = web.StreamResponse(status=401)
        await response.prepare(request)
        await response.write(b"{")
        await until(lambda: request.transport is None)
        return response

    server.stream = stream
    async with serve(server) as session:
        server.now, server.slow = RELOAD_PAUSE, asyncio.Event()
        waits = asyncio.create_task(session.request("GET", f"{session.server}/path?watch=true"))
        await until(lambda: server.loads == 2)
        waits.cancel()
        await asyncio.wait([waits])
        await until(lambda: requests[0].transport is None)


async def test_a_redirect_is_not_followed() -> None:
    """Credentials and body are sent only to the API server."""
    server = Server()

    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/other")

    server.stream = redirect
    async with serve(server) as session:
        response = await session.request("PATCH", f"{session.server}/path?watch=true", data="{}")
        assert response.status == 307
    assert server.asked == ["one PATCH {}"]


async def test_a_renewal_goes_on_when_its_caller_leaves() -> None:
    """A call whose time is over, such as a Lease's, does not end what all others wait for."""
    server = Server()
    async with serve(server) as session:
        server.accepts, server.access, server.now, server.slow = "two", as_("two"), RELOAD_PAUSE, asyncio.Event()
        waits = asyncio.create_task(status(session))
        await until(lambda: server.loads == 2)
        waits.cancel()
        await asyncio.wait([waits])
        server.slow.set()
        await until(lambda: server.loaded == 2)
        assert await status(session) == 200
    assert server.asked == ["one GET", "two GET"]


# Certificates.


async def test_a_rotated_ca_is_trusted() -> None:
    """A rejected certificate makes the client read the CA again; the old CA is not trusted any more."""
    server = Server()
    async with serve(server, "second") as session:
        secrets = References(client_of(session))
        with pytest.raises(ClusterUnavailable, match=r"CertificateError \(unable to get local issuer certificate\)"):
            await secrets.credentials(Key("team-a", "atlas-credentials"))
        assert server.loads == 1
        server.now, server.access = RELOAD_PAUSE, replace(as_("one"), tls=TRUST["second"])
        assert await status(session) == 200
    assert server.asked == ["one GET"]


async def test_the_name_in_the_certificate() -> None:
    """It is the one of `tls-server-name`, not the one in the URL."""
    server = Server(access=replace(as_("one"), server_name="kubernetes.example.com"))
    async with serve(server, "named") as session:
        assert await status(session) == 200
    server = Server()
    async with serve(server, "named") as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await status(session)


# Watches.


async def test_an_open_watch() -> None:
    """A watch is open from its response until the response ends; each path has its own watch."""
    server, ends = Server(), asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await ends.wait()
        return response

    server.stream = stream
    async with serve(server) as session:
        url = f"{session.server}/path"
        (await session.request("GET", url)).release()
        assert not session.watches("/path")
        response = await session.request("GET", f"{url}?watch=true&resourceVersion=1")
        assert session.watches("/path")
        assert not session.watches("/other")
        ends.set()
        await response.read()
        assert not session.watches("/path")


# Users of the session.


async def test_users_do_not_close_it() -> None:
    """Both kopf and the client library close what they are given; the session stays open for the other."""
    server = Server()
    async with serve(server) as session:
        await session.close()
        await client_of(session).close()  # type: ignore[no-untyped-call]
        assert not session.closed
        assert await status(session) == 200
    assert session.closed


async def test_its_connections() -> None:
    """They have no limit, so that calls that hang leave one for the Lease, and they ignore the environment."""
    server = Server(access=replace(as_("one"), server="http://127.0.0.1"))
    async with open_session(server.load) as session:
        http = session._http  # noqa: SLF001 - what aiohttp was asked for
        assert http.connector is not None
        assert http.connector.limit == 0
        assert not http.trust_env
        assert session.headers["User-Agent"].startswith("atlas-invites/")
        assert client_of(session).user_agent == session.headers["User-Agent"]
