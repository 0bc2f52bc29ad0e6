"""The whole client on a real socket: headers, clock, memory, logs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

import pytest

from atlas_invites.atlas.calls import Entries
from atlas_invites.atlas.client import Atlas
from atlas_invites.atlas.errors import AtlasUnavailable, InvalidRequest, RateLimited
from atlas_invites.invitation.credentials import ApiKey
from atlas_invites.invitation.model import Operation
from tests.unit.atlas.wire import Heard, Wire, answer, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_invites.atlas.project import Project

GROUP = "32b6e34b3d91647abb20e7b8"
ID = "5f0000000000000000000001"
KEY = ApiKey("public", "private")
CHALLENGE = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
DATE = "Tue, 24 Nov 2026 10:00:00 GMT"


class Bench:
    """A client, and an Atlas that responds with ``says`` after the challenge."""

    def __init__(self) -> None:
        self.says: bytes = answer(200, [])
        self.time = 0.0
        self.server = Wire()
        self.atlas: Atlas
        self.project: Project

    async def talk(self, heard: Heard, _: asyncio.StreamWriter) -> bytes:
        return (
            self.says
            if "authorization" in heard.headers
            else answer(401, None, CHALLENGE | {"Date": "Thu, 1 Jan 1970 00:00:00 GMT"})
        )

    @asynccontextmanager
    async def running(self, *, envelope: bool = False) -> AsyncIterator[Bench]:
        async with (
            wire(self.talk) as self.server,
            Atlas(self.server.url, envelope=envelope, clock=lambda: self.time) as self.atlas,
        ):
            self.project = self.atlas.project(KEY, GROUP)
            yield self


async def test_headers_of_every_request() -> None:
    """Versioned media types, the operator's name and version, no compression, no cookie."""
    async with Bench().running() as bench:
        bench.says = answer(200, {"id": ID, "roles": ["A", "B"]})
        await bench.project.update_invite(ID, ["B", "A"])
    bare, signed = bench.server.heard
    assert signed.line == f"PATCH /api/atlas/v2/groups/{GROUP}/invites/{ID} HTTP/1.1"
    assert signed.body == bare.body == b'{"roles":["A","B"]}'
    said = {name: signed.headers[name] for name in ("accept", "accept-encoding", "content-type", "user-agent")}
    assert said == {
        "accept": "application/vnd.atlas.2023-01-01+json",
        "accept-encoding": "identity",
        "content-type": "application/vnd.atlas.2023-01-01+json",
        "user-agent": f"atlas-invites/{version_of('atlas-invites')}",
    }
    assert "cookie" not in signed.headers


async def test_a_read_has_no_content_type() -> None:
    """Only a request with a body has a content type."""
    async with Bench().running(envelope=True) as bench:
        bench.says = answer(200, {"status": 200, "content": []})
        assert await bench.project.list_invites("a+b@x.de") == Entries(())
    signed = bench.server.heard[-1]
    assert signed.target == f"/api/atlas/v2/groups/{GROUP}/invites?username=a%2Bb@x.de&envelope=true"
    assert "content-type" not in signed.headers


async def test_the_clock_is_atlass() -> None:
    """The local clock counts until the first response; then the last Date header and the seconds since."""
    async with Bench().running() as bench:
        before = datetime.now(UTC)
        assert before <= bench.atlas.now() <= datetime.now(UTC)
        bench.says = answer(200, [], {"Date": DATE})
        await bench.project.list_invites()
        bench.time += 90.5
        assert bench.atlas.now() == datetime(2026, 11, 24, 10, 1, 30, 500_000, tzinfo=UTC)
        bench.says = answer(
            404, {"error": 404, "errorCode": "INVALID_INVITATION_ID"}, {"Date": "Tue, 24 Nov 2026 09:00:00 GMT"}
        )
        await bench.project.read_invite(ID)
        assert bench.atlas.now() == datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.mark.parametrize("behind", [1, 8, 59])
async def test_the_clock_does_not_go_back_a_little(behind: int) -> None:
    """A response arrives long after its Date was written: the clock stands still until that time is made up for."""
    async with Bench().running() as bench:
        bench.says = answer(200, [], {"Date": "Tue, 24 Nov 2026 10:01:00 GMT"})
        await bench.project.list_invites()
        started = bench.atlas.now()
        bench.says = answer(200, [], {"Date": f"Tue, 24 Nov 2026 10:00:{60 - behind:02} GMT"})
        await bench.project.list_invites()
        times = []
        for _ in range(120):
            times.append(bench.atlas.now())
            bench.time += 1
        assert times[0] == started
        assert times == sorted(times)
        assert bench.atlas.now() == started + timedelta(seconds=120 - behind)


@pytest.mark.parametrize("said", [answer(502, raw=b"<html>", headers={"Date": DATE}), answer(200, [], {"Date": "now"})])
async def test_a_proxys_clock_does_not_count(said: bytes) -> None:
    """Nor does a Date header that cannot be read."""
    async with Bench().running() as bench:
        bench.says = said
        try:
            await bench.project.list_invites()
        except AtlasUnavailable:
            bench.time += 1
        assert abs(bench.atlas.now() - datetime.now(UTC)) < timedelta(hours=1)


async def test_the_notice_comes_with_any_response_of_the_invites_api() -> None:
    """Also with an error response."""
    async with Bench().running() as bench:
        headers = {"Deprecation": "Wed, 4 Oct 2023 00:00:00 GMT", "Sunset": "Thu, 1 Jul 2027 00:00:00 GMT"}
        bench.says = answer(400, {"error": 400, "errorCode": "X"}, headers)
        with pytest.raises(InvalidRequest):
            await bench.project.update_invite(ID, ["A"])
        assert bench.project.info.sunset == "2027-07-01T00:00:00Z"
        assert bench.atlas.project(KEY, "other").info == bench.project.info


@pytest.mark.parametrize("said", [b"", b"<html>", b"[" * 100_000, b'{"id": 4}', b"[]", b'{"id": "5", "roles": "A"'])
async def test_a_success_that_cannot_be_read_may_have_worked(said: bytes) -> None:
    """Nothing of the unreadable body is in the exception or its cause."""
    async with Bench().running() as bench:
        bench.says = answer(200, raw=said)
        with pytest.raises(AtlasUnavailable) as failed:
            await bench.project.create_invite("jane@x.de", ["A"])
    assert failed.value.unanswered
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
    assert failed.value.what == "a response that cannot be read"


@pytest.mark.parametrize(
    ("said", "removed"),
    [
        (answer(204), True),
        (answer(200, {}), True),
        (answer(200, raw=b""), False),
        (answer(200, raw=b"<html>Please log in to the network</html>"), False),
    ],
)
async def test_a_removal_succeeds_only_if_atlas_confirms_it(said: bytes, *, removed: bool) -> None:
    """By 204 or JSON; an empty page or the page of a captive portal does not count."""
    async with Bench().running() as bench:
        bench.says = said
        try:
            assert await bench.project.cancel_invite(ID) is True
            believed = True
        except AtlasUnavailable as failure:
            believed = not failure.unanswered
    assert believed == removed


async def test_a_rate_limit_holds_the_next_call() -> None:
    """Retry-After: the next call of the same kind is not sent; a call of another kind is."""
    async with Bench().running() as bench:
        bench.says = answer(429, {"error": 429, "errorCode": "RATE_LIMITED"}, {"Retry-After": "30"})
        for _ in range(3):
            with pytest.raises(RateLimited) as limited:
                await bench.project.update_invite(ID, ["A"])
            assert limited.value.retry_after == 30
            assert limited.value.error is not None
            assert limited.value.error.operation is Operation.UPDATE_INVITE
        assert len(bench.server.heard) == 2
        bench.time += 0.001
        bench.says = answer(200, [])
        assert await bench.project.list_invites() == Entries(())


async def test_equal_credentials_share_a_project() -> None:
    """Two Secrets with the same key share its session too."""
    async with Bench().running() as bench:
        assert bench.atlas.project(ApiKey("public", "private"), GROUP) is bench.project
        assert bench.atlas.project(ApiKey("public", "new"), GROUP) is not bench.project
        await bench.project.list_invites()
        await bench.atlas.project(KEY, "another").list_invites()
        assert len(bench.server.heard) == 3


async def test_no_log_holds_an_e_mail(caplog: pytest.LogCaptureFixture) -> None:
    """With all loggers on, httpx would log each URL, including ?username=."""
    caplog.set_level(logging.DEBUG)
    async with Bench().running() as bench:
        bench.says = answer(200, [])
        await bench.project.list_invites("jane@x.de")
    assert "jane" not in caplog.text
    [record] = [record for record in caplog.records if record.name == "atlas_invites.atlas.codec"]
    assert (record.levelno, record.getMessage()) == (logging.DEBUG, "ListInvites: HTTP 200")


async def test_closing_ends_the_fetches_in_flight() -> None:
    """No task is left running, and no caller is left waiting."""
    hangs = asyncio.Event()

    async def hang(_: Heard, __: asyncio.StreamWriter) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async with wire(hang) as server:
        atlas = Atlas(server.url)
        looking = asyncio.create_task(atlas.project(KEY, GROUP).snapshot(0.0))
        await hangs.wait()
        await atlas.aclose()
        with pytest.raises(asyncio.CancelledError):
            await looking
