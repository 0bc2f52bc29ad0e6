"""What all who hold the same credentials share: one probe, one verdict, one token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from atlas_invites.atlas.errors import READS, AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited
from atlas_invites.atlas.session import Session
from atlas_invites.atlas.transport import DISCONNECTED
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_invites.invitation.model import Operation
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = ApiKey("public", "private")
ACCOUNT = ServiceAccount("id", "secret")
CHALLENGE = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
TOKEN_PATH = "/api/oauth/token"


class Atlas(httpx.AsyncBaseTransport):
    """An Atlas that does as it is told, one event loop turn late."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.rejects = False
        self.breaks: bool | str = False
        self.how = "no answer in time"
        self.token = 0
        self.token_takes = 0.0
        self.token_breaks: AtlasFailure | None = None
        self.void: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token_call = request.url.path == TOKEN_PATH
        kind = "token" if token_call else "signed" if "Authorization" in request.headers else "bare"
        self.heard.append(kind)
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.breaks:
            self.breaks = self.breaks != "once"
            raise AtlasUnavailable.of(request.extensions["operation"], self.how)
        if token_call:
            await asyncio.sleep(self.token_takes)
            if self.token_breaks:
                raise self.token_breaks
            self.token += 1
            return self._answer(200, {"access_token": f"t{self.token}", "expires_in": 3600})
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if kind == "bare" or self.rejects or bearer in self.void:
            return self._answer(401, {"error": 401, "errorCode": "UNAUTHORIZED"}, CHALLENGE)
        return self._answer(200, {})

    @staticmethod
    def _answer(status: int, json: object, headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.Response(status, headers=headers, extensions={"json": json})


class Bench:
    def __init__(self, client: httpx.AsyncClient, atlas: Atlas) -> None:
        self.client = client
        self.atlas = atlas
        self.time = 1000.0

    def session(self, credentials: Credentials = KEY) -> Session:
        return Session(credentials, self.client, lambda: self.time)

    async def call(self, session: Session, operation: Operation = Operation.READ_INVITE, project: str = "g") -> int:
        extensions = {"operation": operation, "of": project, "envelope": False}
        request = self.client.build_request("GET", "/x", extensions=extensions)
        return (await session.send(request)).status_code

    async def many(self, session: Session, count: int = 50) -> list[int | BaseException]:
        return await asyncio.gather(*(self.call(session) for _ in range(count)), return_exceptions=True)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    atlas = Atlas()
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        yield Bench(client, atlas)


async def test_a_cold_key_costs_one_challenge(bench: Bench) -> None:
    """Fifty calls at once ask for one challenge."""
    assert await bench.many(bench.session()) == [200] * 50
    assert bench.atlas.heard.count("bare") == 1
    assert len(bench.atlas.heard) == 51


async def test_a_cold_account_costs_one_token(bench: Bench) -> None:
    """Fifty calls at once ask for one token."""
    assert await bench.many(bench.session(ACCOUNT)) == [200] * 50
    assert bench.atlas.heard.count("token") == 1


@pytest.mark.parametrize("credentials", [KEY, ACCOUNT])
async def test_dead_credentials_are_probed_once_a_minute(bench: Bench, credentials: Credentials) -> None:
    """A thousand calls make one probe, its verdict is theirs, and for a minute nobody asks again."""
    bench.atlas.rejects = True
    session = bench.session(credentials)
    results = await bench.many(session, 1000)
    assert {type(result) for result in results} == {CredentialsRejected}
    assert len({str(result) for result in results}) == 1
    assert len({id(result) for result in results}) == 1000
    assert len(bench.atlas.heard) == 2
    bench.time += 59
    assert {type(result) for result in await bench.many(session)} == {CredentialsRejected}
    assert len(bench.atlas.heard) == 2
    bench.time += 2
    bench.atlas.rejects = False
    assert await bench.many(session) == [200] * 50


async def test_a_key_that_dies_stops_everyone(bench: Bench) -> None:
    """Calls that are out when the key is revoked meet it themselves; nobody after them does."""
    session = bench.session()
    await bench.call(session)
    bench.atlas.rejects = True
    await bench.many(session, 10)
    heard = len(bench.atlas.heard)
    assert {type(result) for result in await bench.many(session)} == {CredentialsRejected}
    assert len(bench.atlas.heard) == heard


async def test_a_success_that_is_older_than_the_rejection_changes_nothing(bench: Bench) -> None:
    """An answer to a call from before the key was revoked does not make it good."""
    session = bench.session()
    await bench.call(session)
    bench.atlas.gate.clear()
    older = asyncio.create_task(bench.call(session))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.atlas.heard[-1] == "signed"
    session._note(CredentialsRejected(Operation.READ_INVITE, "401"), bench.time + 1, "g")  # noqa: SLF001 - a call overtook it
    bench.atlas.gate.set()
    assert await older == 200
    with pytest.raises(CredentialsRejected):
        await bench.call(session)


async def test_a_401_voids_the_token_once(bench: Bench) -> None:
    """A token that Atlas forgot: fifty calls meet it, one fetches the next, all succeed."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.atlas.void.add("t1")
    assert await bench.many(session) == [200] * 50
    assert bench.atlas.token == 2
    assert len(bench.atlas.heard) == 2 + 50 + 1 + 50


async def test_a_new_token_that_is_refused_too_ends_it(bench: Bench) -> None:
    """The account may have tokens but no access: that is a rejection, not a loop."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.atlas.rejects = True
    with pytest.raises(CredentialsRejected):
        await bench.call(session)
    assert bench.atlas.heard == ["token", "signed", "signed", "token", "signed"]


@pytest.mark.parametrize("credentials", [KEY, ACCOUNT])
async def test_who_waited_shares_the_failure(bench: Bench, credentials: Credentials) -> None:
    """A cold start into an outage costs one call for all who waited, and nothing that was never sent is in doubt."""
    bench.atlas.breaks = True
    session = bench.session(credentials)
    results = await asyncio.gather(
        *(bench.call(session, Operation.CREATE_INVITE) for _ in range(50)), return_exceptions=True
    )
    assert {type(result) for result in results} == {AtlasUnavailable}
    assert len(bench.atlas.heard) == 1
    doubtful = [result for result in results if isinstance(result, AtlasFailure) and result.unanswered]
    assert len(doubtful) == (1 if credentials is KEY else 0)
    bench.atlas.breaks = False
    bench.time += 0.001
    assert await bench.call(session) == 200


async def test_another_projects_failure_is_not_shared(bench: Bench) -> None:
    """Who waited behind a call for a project that fails makes its own for another project."""
    bench.atlas.breaks = "once"
    session = bench.session()
    results = await asyncio.gather(
        bench.call(session, project="broken"), bench.call(session, project="good"), return_exceptions=True
    )
    assert [type(result) for result in results] == [AtlasUnavailable, int]


@virtual_time
async def test_a_call_that_hangs_holds_up_nobody_for_long() -> None:
    """While the first call for a project that does not answer hangs, those for other projects go out."""
    atlas = Atlas()
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = bench.session()
        atlas.gate.clear()
        hanging = asyncio.create_task(bench.call(session, project="broken"))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(bench.call(session, project="good")) for _ in range(3)]
        await asyncio.sleep(10)
        atlas.gate.set()
        assert await asyncio.gather(*others) == [200] * 3
        assert atlas.heard[:4] == ["bare"] * 4
        assert await hanging == 200


@virtual_time
async def test_a_slow_token_endpoint_gets_one_request() -> None:
    """However long it takes, whoever comes meanwhile waits for that one, and goes when it is there."""
    atlas = Atlas()
    atlas.token_takes = 15
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = Session(ACCOUNT, client, now)

        async def later(seconds: float) -> int:
            await asyncio.sleep(seconds)
            return await bench.call(session)

        results = await asyncio.gather(*(later(number / 4) for number in range(50)))
        assert results == [200] * 50
        assert atlas.heard.count("token") == 1
        assert now() < 20


@virtual_time
async def test_a_token_that_never_comes_is_shared_as_a_failure() -> None:
    """Whoever waited for it is told so, and does not try one after the other; the next one who asks tries anew."""
    atlas = Atlas()
    atlas.token_takes, atlas.token_breaks = 25, AtlasUnavailable(Operation.TOKEN, "no answer in time")
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = Session(ACCOUNT, client, now)
        results = await asyncio.gather(*(bench.call(session) for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {AtlasUnavailable}
        assert atlas.heard == ["token"]
        assert now() < 30
        atlas.token_takes, atlas.token_breaks = 0, None
        await asyncio.sleep(0.001)
        assert await bench.call(session) == 200


@virtual_time
async def test_a_project_that_hangs_behind_a_token_holds_up_nobody_for_long() -> None:
    """Once the token is there, the call that fetched it is waited for no longer than any other."""
    atlas = Atlas()
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = Session(ACCOUNT, client, now)
        atlas.token_takes = 5
        hanging = asyncio.create_task(bench.call(session, project="broken"))
        await asyncio.sleep(4.9)
        atlas.gate.clear()
        others = [asyncio.create_task(bench.call(session, project="good")) for _ in range(3)]
        await asyncio.sleep(10)
        assert atlas.heard == ["token", *["signed"] * 4]
        atlas.gate.set()
        assert await asyncio.gather(hanging, *others) == [200] * 4


@pytest.mark.parametrize(
    "failure",
    [
        AtlasUnavailable(Operation.TOKEN, "no answer in time"),
        AtlasUnavailable(Operation.TOKEN, DISCONNECTED),
        RateLimited(Operation.TOKEN, "429", retry_after=60),
    ],
)
async def test_a_renewal_that_fails_takes_no_call_along(bench: Bench, failure: AtlasFailure) -> None:
    """While the old token is good, calls go on with it; the renewal is tried again later."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.time += 3000
    bench.atlas.token_breaks = failure
    bench.atlas.heard.clear()
    assert [await bench.call(session, Operation.CREATE_INVITE) for _ in range(3)] == [200] * 3
    assert bench.atlas.heard.count("signed") == 3
    assert bench.atlas.heard.count("token") <= 2
    bench.time += 31
    bench.atlas.token_breaks = None
    assert await bench.call(session) == 200
    assert bench.atlas.token == 2
    bench.atlas.token_breaks = failure
    bench.time += 3601
    with pytest.raises(type(failure)) as failed:
        await bench.call(session, Operation.CREATE_INVITE)
    assert not failed.value.unanswered


@pytest.mark.parametrize("credentials", [KEY, ACCOUNT])
async def test_a_cancelled_probe_passes_its_turn_on(bench: Bench, credentials: Credentials) -> None:
    """Who goes first and is cancelled takes nobody along."""
    bench.atlas.gate.clear()
    session = bench.session(credentials)
    first, second = (asyncio.create_task(bench.call(session)) for _ in range(2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(bench.atlas.heard) == 1
    first.cancel()
    bench.atlas.gate.set()
    assert await second == 200
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_outage_is_no_verdict(bench: Bench) -> None:
    """After a failure that says nothing of the credentials the next call goes out."""
    session = bench.session()
    await bench.call(session)
    bench.atlas.breaks = True
    with pytest.raises(AtlasUnavailable):
        await bench.call(session)
    bench.atlas.breaks = False
    assert await bench.many(session) == [200] * 50


@pytest.mark.parametrize("credentials", [KEY, ACCOUNT])
@pytest.mark.parametrize("operation", Operation)
async def test_a_read_on_a_dead_connection_is_sent_once_more(
    bench: Bench, credentials: Credentials, operation: Operation
) -> None:
    """A write never is; nor is anything else that got no answer."""
    session = bench.session(credentials)
    await bench.call(session)
    bench.atlas.breaks, bench.atlas.how = "once", DISCONNECTED
    heard = len(bench.atlas.heard)
    if operation in READS:
        assert await bench.call(session, operation) == 200
    else:
        with pytest.raises(AtlasUnavailable) as failed:
            await bench.call(session, operation)
        assert failed.value.unanswered
    assert len(bench.atlas.heard) == heard + (2 if operation in READS else 1)
    bench.atlas.breaks, bench.atlas.how = "once", "no answer in time"
    with pytest.raises(AtlasUnavailable):
        await bench.call(session, operation)


async def test_a_write_whose_token_call_met_a_dead_connection_is_sent_once(bench: Bench) -> None:
    """The token is asked for once more; the write had not gone out."""
    bench.atlas.breaks, bench.atlas.how = "once", DISCONNECTED
    assert await bench.call(bench.session(ACCOUNT), Operation.CREATE_INVITE) == 200
    assert bench.atlas.heard == ["token", "token", "signed"]
