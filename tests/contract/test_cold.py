"""The number of requests that calls need."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from atlas_invites.atlas.errors import CredentialsRejected
from atlas_invites.invitation.case import Target
from atlas_invites.invitation.credentials import ApiKey, ServiceAccount
from atlas_invites.invitation.model import Observation, View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.contract.conftest import Bench


async def many(count: int, at_once: int, call: Callable[[], Awaitable[object]]) -> list[object]:
    """Make many calls, this many at a time; return the results."""
    places = asyncio.Semaphore(at_once)

    async def one() -> object:
        async with places:
            return await call()

    return await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)


async def test_1000_calls_cold_50_at_once_are_1001_requests(way: Bench) -> None:
    """One challenge, or one token, and each call is one round trip."""
    async with way.project() as project:
        results = await many(1000, 50, project.list_invites)
    assert not [result for result in results if isinstance(result, BaseException)]
    assert way.sandbox.calls.total == 1001


async def test_1000_calls_meet_the_end_of_what_they_share(way: Bench) -> None:
    """Challenges and tokens that end in between cost at most one more round for the calls that are out at the time."""
    async with way.project() as project:
        await many(500, 50, project.list_invites)
        way.sandbox.auth.digest.end_all()
        way.sandbox.auth.tokens.end_all()
        results = await many(500, 50, project.list_invites)
    assert not [result for result in results if isinstance(result, BaseException)]
    assert way.sandbox.calls.total <= 1001 + 51


@pytest.mark.parametrize("credentials", [ApiKey("sandbox", "dead"), ServiceAccount("mdb_sa_id_sandbox", "dead")])
async def test_1000_calls_with_a_dead_key_are_one_probe(bench: Bench, credentials: ApiKey | ServiceAccount) -> None:
    """A challenge and a rejection, or one rejected token; all 1,000 calls get the result."""
    bench.credentials = credentials
    async with bench.project() as project:
        results = await many(1000, 50, project.list_invites)
    assert {type(result) for result in results} == {CredentialsRejected}
    assert bench.sandbox.calls.total == (2 if isinstance(credentials, ApiKey) else 1)


async def test_1000_concurrent_reads_are_two_lists(way: Bench) -> None:
    """Objects that wake at the same time share one pair of lists, also those that wait for a worker."""
    async with way.project() as project:
        woke = time.monotonic()
        results = await many(1000, 50, lambda: project.look(Target("a@example.com"), woke, lambda _: True))
        assert results == [Observation(view=View.LISTED)] * 1000
    assert way.calls("Token") == ["ListInvites", "ListUsers"]


async def test_reads_that_keep_coming_share_too(way: Bench) -> None:
    """Callers that come one by one get lists that began after they woke, one pair at a time."""
    way.sandbox.latency = 0.01
    async with way.project() as project:

        async def one(number: int) -> None:
            await asyncio.sleep(number / 5000)
            await project.look(Target("a@example.com"), time.monotonic(), lambda _: True)

        await asyncio.gather(*(one(number) for number in range(500)))
    assert len(way.calls("Token")) < 100


async def test_a_role_change_is_one_request(way: Bench) -> None:
    """One round trip: no challenge, no token, no other read."""
    async with way.project() as project:
        made = await project.create_invite("a@example.com", ["GROUP_OWNER"])
        before = way.sandbox.calls.total
        for number in range(20):
            await project.update_invite(made.id, ["GROUP_OWNER", *(["GROUP_READ_ONLY"] * (number % 2))])
        assert way.sandbox.calls.total == before + 20
