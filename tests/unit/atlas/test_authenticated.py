"""What all callers with the same credentials share: one probe, one verdict, one token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atlas_invites.atlas.authenticated import AuthenticatedClient
from atlas_invites.atlas.calls import Call, Endpoint
from atlas_invites.atlas.errors import (
    AtlasFailure,
    AtlasUnavailable,
    CredentialsRejected,
    RateLimited,
    RejectedForProject,
)
from atlas_invites.atlas.responses import failure_of
from atlas_invites.atlas.transport import DISCONNECTED
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_invites.invitation.model import Operation
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = ApiKey("public", "private")
ACCOUNT = ServiceAccount("id", "secret")
CHALLENGE = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
TOKEN_PATH = "/api/oauth/token"
BOTH = pytest.mark.parametrize("credentials", [KEY, ACCOUNT], ids=["key", "account"])


class Atlas(httpx.AsyncBaseTransport):
    """An Atlas that does as it is told, one turn of the event loop late.

    ``rejects``: it does not know the credentials. ``rejected``: it knows them, but rejects them for these projects.
    ``blinks``: the number of calls that get a 401 before calls succeed again. ``void``: the tokens that it has
    forgotten.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.projects: list[str] = []
        self.rejects = False
        self.rejected: set[str] = set()
        self.blinks = 0
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
        self.projects.append("" if token_call else request.extensions["of"])
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.breaks:
            self.breaks = self.breaks != "once"
            raise AtlasUnavailable.of(request.extensions["operation"], self.how)
        if token_call:
            await asyncio.sleep(self.token_takes)
            if self.token_breaks:
                raise self.token_breaks
            if self.rejects:
                return self._answer(request, 401, {"error": "invalid_client"})
            self.token += 1
            return self._answer(request, 200, {"access_token": f"t{self.token}", "expires_in": 3600})
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if kind == "bare" or self.rejects or bearer in self.void:
            return self._answer(request, 401, {"error": 401, "errorCode": "UNAUTHORIZED"}, CHALLENGE)
        if self.blinks or request.extensions["of"] in self.rejected:
            self.blinks = max(self.blinks - 1, 0)
            return self._answer(request, 401, {"error": 401, "errorCode": "USER_UNAUTHORIZED"})
        return self._answer(request, 200, {})

    @staticmethod
    def _answer(
        request: httpx.Request, status: int, json: object, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        failure = failure_of(request.extensions["operation"], status, json, headers or {})
        return httpx.Response(status, headers=headers, extensions={"json": json, "failure": failure})


class Requests:
    """Replace the codec: the result of a call is its response."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def request(self, call: Call[Any]) -> httpx.Request:
        extensions = {"operation": call.endpoint.operation, "of": call.group_id, "envelope": False}
        return self._http.build_request(call.endpoint.method, call.path, extensions=extensions)

    def result(self, _: Call[Any], response: httpx.Response) -> httpx.Response:
        return response


def client_of(credentials: Credentials, http: httpx.AsyncClient, clock: Callable[[], float]) -> AuthenticatedClient:
    return AuthenticatedClient(credentials, http, Requests(http), clock)  # type: ignore[arg-type]


class Bench:
    def __init__(self, client: httpx.AsyncClient, atlas: Atlas) -> None:
        self.client = client
        self.atlas = atlas
        self.time = 1000.0

    def session(self, credentials: Credentials = KEY) -> AuthenticatedClient:
        return client_of(credentials, self.client, self.tick)

    def tick(self) -> float:
        """Return the time, and advance it a little."""
        self.time += 1e-6
        return self.time

    async def call(
        self, session: AuthenticatedClient, operation: Operation = Operation.READ_INVITE, project: str = "g"
    ) -> int:
        call: Call[Any] = Call(Endpoint(operation, "GET", "/x", "", lambda json, _: json), project)
        response: httpx.Response = await session.call(call)
        return response.status_code

    async def many(
        self, session: AuthenticatedClient, count: int = 50, project: str = "g"
    ) -> list[int | BaseException]:
        calls = (self.call(session, project=project) for _ in range(count))
        return await asyncio.gather(*calls, return_exceptions=True)

    async def fails(self, session: AuthenticatedClient, project: str) -> CredentialsRejected:
        """Make a call that is rejected, and return the reason."""
        with pytest.raises(CredentialsRejected) as failed:
            await self.call(session, project=project)
        return failed.value


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


@BOTH
async def test_dead_credentials_are_probed_once_a_minute(bench: Bench, credentials: Credentials) -> None:
    """A thousand calls make one probe and share its result; for a minute there is no other probe."""
    bench.atlas.rejects = True
    session = bench.session(credentials)
    results = await bench.many(session, 1000)
    assert {type(result) for result in results} == {CredentialsRejected}
    assert len({str(result) for result in results}) == 1
    assert len({id(result) for result in results}) == 1000
    assert bench.atlas.heard == (["bare", "signed"] if credentials is KEY else ["token"])
    bench.time += 59
    assert {type(result) for result in await bench.many(session)} == {CredentialsRejected}
    assert len(bench.atlas.heard) <= 2
    bench.time += 2
    bench.atlas.rejects = False
    assert await bench.many(session) == [200] * 50


async def test_a_key_that_dies_stops_everyone(bench: Bench) -> None:
    """Calls that are out when the key is revoked get their own 401; later calls are not sent."""
    session = bench.session()
    await bench.call(session)
    bench.atlas.rejects = True
    await bench.many(session, 10)
    heard = len(bench.atlas.heard)
    assert {type(result) for result in await bench.many(session)} == {CredentialsRejected}
    assert len(bench.atlas.heard) == heard


async def test_a_401_replaces_the_token_once(bench: Bench) -> None:
    """Atlas has forgotten a token: fifty calls get a 401, one of them fetches the next token, and all succeed."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.atlas.void.add("t1")
    assert await bench.many(session) == [200] * 50
    assert bench.atlas.token == 2
    assert len(bench.atlas.heard) == 2 + 50 + 1 + 50


async def test_a_new_token_that_is_rejected_too_ends_the_tries(bench: Bench) -> None:
    """The account may get tokens but have no access: that is a rejection, not a loop."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.atlas.rejected.add("g")
    assert type(await bench.fails(session, "g")) is RejectedForProject
    assert bench.atlas.heard == ["token", "signed", "signed", "token", "signed"]


@BOTH
async def test_a_rejected_project_stops_no_other_project(bench: Bench, credentials: Credentials) -> None:
    """While one project always gets a 401, calls for another project succeed before, during and after."""
    bench.atlas.rejected.add("bad")
    session = bench.session(credentials)
    results = await asyncio.gather(bench.many(session, project="bad"), bench.many(session, project="good"))
    assert {type(result) for result in results[0]} == {RejectedForProject}
    assert results[1] == [200] * 50
    for _ in range(100):
        bench.time += 20
        await bench.fails(session, "bad")
        assert await bench.many(session, 3, "good") == [200] * 3


@BOTH
async def test_a_rejected_project_is_tried_once_a_minute(bench: Bench, credentials: Credentials) -> None:
    """A thousand calls make one probe and share its failure for a minute; then one call is the next probe."""
    session = bench.session(credentials)
    await bench.call(session, project="good")
    bench.atlas.rejected.add("bad")
    results = await bench.many(session, 1000, "bad")
    assert {type(result) for result in results} == {RejectedForProject}
    bench.time += 61
    bench.atlas.projects.clear()
    for _ in range(60):
        assert {type(result) for result in await bench.many(session, 100, "bad")} == {RejectedForProject}
        bench.time += 0.99
    assert bench.atlas.projects == ["bad"]
    bench.time += 1
    bench.atlas.rejected.clear()
    bench.atlas.projects.clear()
    assert await bench.many(session, project="bad") == [200] * 50
    assert bench.atlas.projects == ["bad"] * 50


@BOTH
@pytest.mark.parametrize("is_cold", [True, False])
async def test_a_single_401_rejects_nothing(bench: Bench, credentials: Credentials, *, is_cold: bool) -> None:
    """A 401 that is followed by a success counts as a success, also for the first call."""
    session = bench.session(credentials)
    if not is_cold:
        await bench.call(session)
    bench.atlas.blinks = 1
    assert await bench.call(session, Operation.CREATE_INVITE) == 200
    bench.atlas.heard.clear()
    assert await bench.many(session) == [200] * 50
    assert bench.atlas.heard == ["signed"] * 50


@BOTH
async def test_two_rejected_projects_reject_the_credentials(bench: Bench, credentials: Credentials) -> None:
    """Two projects are rejected and none is accepted: other projects are not tried, except one a minute."""
    bench.atlas.rejected |= {f"g{number}" for number in range(100)}
    session = bench.session(credentials)
    kinds = [type(await bench.fails(session, f"g{number}")) for number in range(100)]
    assert kinds == [RejectedForProject] + [CredentialsRejected] * 99
    assert set(bench.atlas.projects) - {""} == {"g0", "g1"}
    for minute in range(20):
        bench.time += 61
        for number in range(100):
            await bench.fails(session, f"g{number}")
        assert len(set(bench.atlas.projects) - {""}) == minute + 3


@BOTH
async def test_two_rejected_projects_do_not_stop_an_accepted_one(bench: Bench, credentials: Credentials) -> None:
    """Calls of an accepted project go out and count, however many others are rejected and however old its last call."""
    bench.atlas.rejected |= {"bad", "worse"}
    session = bench.session(credentials)
    await bench.call(session, project="good")
    for _ in range(10):
        await bench.fails(session, "bad")
        await bench.fails(session, "worse")
        bench.time += 599
        await bench.fails(session, "bad")
        await bench.fails(session, "worse")
        assert await bench.many(session, project="good") == [200] * 50
        assert await bench.call(session, project=f"new{bench.time}") == 200


async def test_a_key_that_atlas_does_not_know_stops_projects_that_were_not_accepted(bench: Bench) -> None:
    """Another challenge after a fresh signature rejects the credentials.

    An accepted project still makes its own calls.
    """
    session = bench.session()
    await bench.call(session, project="good")
    await bench.call(session, project="bad")
    bench.atlas.rejects = True
    assert type(await bench.fails(session, "bad")) is CredentialsRejected
    bench.atlas.heard.clear()
    assert type(await bench.fails(session, "new")) is CredentialsRejected
    assert bench.atlas.heard == []
    bench.atlas.rejects = False
    assert await bench.call(session, project="good") == 200
    assert await bench.call(session, project="new") == 200


async def test_a_token_endpoint_that_rejects_stops_every_call_that_needs_a_token(bench: Bench) -> None:
    """Without a token even an accepted project makes no calls: the endpoint is asked once a minute."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.time += 3601
    bench.atlas.rejects = True
    bench.atlas.heard.clear()
    for number in range(100):
        await bench.fails(session, "g" if number % 2 else f"g{number}")
        bench.time += 0.5
    assert bench.atlas.heard == ["token"]


@virtual_time
async def test_rejected_projects_cost_at_most_two_tokens_a_minute() -> None:
    """Forty projects are rejected one after the other and stay rejected; the one that is accepted is not affected."""
    atlas = Atlas()
    asked: list[float] = []
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = client_of(ACCOUNT, client, now)
        await bench.call(session, project="good")
        for second in range(1200):
            if second % 10 == 0:
                atlas.rejected.add(f"bad{second // 10 % 40}")
            for project in sorted(atlas.rejected):
                await bench.fails(session, project)
            assert await bench.call(session, project="good") == 200
            asked += [now()] * (atlas.token - len(asked))
            await asyncio.sleep(1)
    assert all(later - earlier >= 60 for earlier, later in zip(asked, asked[2:], strict=False))
    assert asked


async def test_a_project_that_stays_rejected_costs_few_tokens(bench: Bench) -> None:
    """The first 401 causes a new token; after that the project is probed with any token that is a few minutes old."""
    session = bench.session(ACCOUNT)
    await bench.call(session, project="good")
    bench.atlas.rejected.add("bad")
    for _ in range(60):
        await bench.fails(session, "bad")
        bench.time += 61
    assert bench.atlas.token <= 17


async def test_a_project_rejected_because_of_its_token_recovers(bench: Bench) -> None:
    """Atlas forgot the token while the project was rejected: within five minutes it is probed with another token."""
    session = bench.session(ACCOUNT)
    bench.atlas.rejected.add("bad")
    await bench.fails(session, "bad")
    bench.atlas.rejected.clear()
    bench.atlas.void.add("t1")
    for _ in range(5):
        bench.time += 60
        [result] = await bench.many(session, 1, "bad")
    assert result == 200


@pytest.mark.parametrize("failure", [AtlasUnavailable(Operation.TOKEN, "x"), RateLimited(Operation.TOKEN, "429")])
async def test_a_rejected_project_takes_the_token_from_no_call(bench: Bench, failure: AtlasFailure) -> None:
    """While a rejected project waits for a new token, calls for other projects use the old one."""
    session = bench.session(ACCOUNT)
    await bench.call(session, project="good")
    bench.atlas.rejected.add("bad")
    bench.atlas.token_breaks = failure
    for _ in range(30):
        assert isinstance((await bench.many(session, 1, "bad"))[0], AtlasFailure)
        bench.atlas.heard.clear()
        assert await bench.many(session, project="good") == [200] * 50
        assert bench.atlas.heard == ["signed"] * 50
        bench.time += 20


@virtual_time
async def test_a_token_that_hangs_delays_only_the_call_that_needs_it() -> None:
    """A rejected project waits for its new token; calls for the other project do not wait."""
    atlas = Atlas()
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = client_of(ACCOUNT, client, now)
        await bench.call(session, project="good")
        atlas.rejected.add("bad")
        atlas.token_takes = 20
        rejected = asyncio.create_task(bench.many(session, 3, "bad"))
        await asyncio.sleep(1)
        assert await bench.many(session, project="good") == [200] * 50
        assert now() == 1
        assert {type(result) for result in await rejected} == {RejectedForProject}
        assert atlas.heard.count("token") == 2


async def test_a_forgotten_token_that_cannot_be_replaced_rejects_nothing(bench: Bench) -> None:
    """An outage of the token endpoint stays an outage, however often calls meet it; then all calls work again."""
    session = bench.session(ACCOUNT)
    await bench.call(session)
    bench.time += 100
    bench.atlas.void.add("t1")
    bench.atlas.heard.clear()
    bench.atlas.token_breaks = AtlasUnavailable(Operation.TOKEN, "no answer in time")
    for _ in range(20):
        assert {type(result) for result in await bench.many(session)} == {AtlasUnavailable}
        assert bench.atlas.heard.count("token") == 1
        bench.atlas.heard.clear()
        bench.time += 1
    bench.atlas.token_breaks = None
    assert await bench.many(session) == [200] * 50


@BOTH
async def test_waiting_calls_share_the_failure(bench: Bench, credentials: Credentials) -> None:
    """A cold start during an outage costs one call for all that wait, and a call that was not sent is not in doubt."""
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
    """A call that waited behind a failing call for one project makes its own call for another project."""
    bench.atlas.breaks = "once"
    session = bench.session()
    results = await asyncio.gather(
        bench.call(session, project="broken"), bench.call(session, project="good"), return_exceptions=True
    )
    assert [type(result) for result in results] == [AtlasUnavailable, int]


@virtual_time
async def test_a_call_that_hangs_delays_others_only_briefly() -> None:
    """While the first call for a project hangs, calls for other projects go out."""
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
    """However long the token takes, later callers wait for this request, and go when the token is there."""
    atlas = Atlas()
    atlas.token_takes = 15
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = client_of(ACCOUNT, client, now)

        async def later(seconds: float) -> int:
            await asyncio.sleep(seconds)
            return await bench.call(session)

        results = await asyncio.gather(*(later(number / 4) for number in range(50)))
        assert results == [200] * 50
        assert atlas.heard.count("token") == 1
        assert now() < 20


@virtual_time
async def test_a_token_that_never_comes_is_shared_as_a_failure() -> None:
    """All waiting callers get the failure, and do not try one after the other; the next caller makes a new request."""
    atlas = Atlas()
    atlas.token_takes, atlas.token_breaks = 25, AtlasUnavailable(Operation.TOKEN, "no answer in time")
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = client_of(ACCOUNT, client, now)
        results = await asyncio.gather(*(bench.call(session) for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {AtlasUnavailable}
        assert atlas.heard == ["token"]
        assert now() < 30
        atlas.token_takes, atlas.token_breaks = 0, None
        await asyncio.sleep(0.001)
        assert await bench.call(session) == 200


@virtual_time
async def test_a_project_that_hangs_behind_a_token_delays_others_only_briefly() -> None:
    """Once the token is there, others do not wait longer for the call that fetched it than for any other call."""
    atlas = Atlas()
    async with httpx.AsyncClient(transport=atlas, base_url="http://atlas.test") as client:
        bench = Bench(client, atlas)
        session = client_of(ACCOUNT, client, now)
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
async def test_a_renewal_that_fails_fails_no_call(bench: Bench, failure: AtlasFailure) -> None:
    """While the old token is good, calls use it; the renewal is tried again later."""
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


@BOTH
async def test_a_canceled_probe_lets_another_call_probe(bench: Bench, credentials: Credentials) -> None:
    """Canceling the first call does not fail the calls behind it."""
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


async def test_an_outage_does_not_reject_credentials(bench: Bench) -> None:
    """After a failure that says nothing about the credentials, the next call goes out."""
    session = bench.session()
    await bench.call(session)
    bench.atlas.breaks = True
    with pytest.raises(AtlasUnavailable):
        await bench.call(session)
    bench.atlas.breaks = False
    assert await bench.many(session) == [200] * 50


@BOTH
@pytest.mark.parametrize("operation", Operation)
async def test_a_read_on_a_dead_connection_is_sent_once_more(
    bench: Bench, credentials: Credentials, operation: Operation
) -> None:
    """A write is never repeated; nor is any other call without a response."""
    session = bench.session(credentials)
    await bench.call(session)
    bench.atlas.breaks, bench.atlas.how = "once", DISCONNECTED
    heard = len(bench.atlas.heard)
    if operation.is_read:
        assert await bench.call(session, operation) == 200
    else:
        with pytest.raises(AtlasUnavailable) as failed:
            await bench.call(session, operation)
        assert failed.value.unanswered
    assert len(bench.atlas.heard) == heard + (2 if operation.is_read else 1)
    bench.atlas.breaks, bench.atlas.how = "once", "no answer in time"
    with pytest.raises(AtlasUnavailable):
        await bench.call(session, operation)


async def test_a_write_whose_token_call_met_a_dead_connection_is_sent_once(bench: Bench) -> None:
    """The token is requested once more; the write itself had not gone out."""
    bench.atlas.breaks, bench.atlas.how = "once", DISCONNECTED
    assert await bench.call(bench.session(ACCOUNT), Operation.CREATE_INVITE) == 200
    assert bench.atlas.heard == ["token", "token", "signed"]
