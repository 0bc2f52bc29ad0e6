"""Leader election: which replica may act, since when and until when."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.kube.lease import RETRY_PERIOD, Lease, awake_clock, new_identity, no_election
from atlas_invites.kube.leases import CALL_AT_MOST
from tests.unit.kube.lease_fakes import FakeLeases
from tests.unit.virtual_time import now, settle, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

UNAVAILABLE = ClusterUnavailable("writing the Lease: HTTP 503")


def candidate(leases: FakeLeases, identity: str = "one") -> Lease:
    return Lease(leases, identity, clock=now, jitter=lambda: 1.2)


async def leading(leases: FakeLeases, identity: str = "one") -> tuple[Lease, asyncio.Task[None]]:
    """Return a candidate that is leading, and the task that holds its Lease."""
    lease = candidate(leases, identity)
    await lease.acquire()
    return lease, asyncio.create_task(lease.hold())


def may_write(lease: Lease) -> bool:
    try:
        return lease.time_to_write() > 0
    except ClusterUnavailable:
        return False


async def seconds_of(work: Coroutine[Any, Any, None]) -> float:
    began = now()
    await work
    return now() - began


@virtual_time
async def test_the_first_candidate_leads_at_once() -> None:
    """Without a Lease, a candidate creates it and leads without a wait."""
    leases = FakeLeases()
    lease = candidate(leases)
    assert await seconds_of(lease.acquire()) == 0
    assert lease.leads
    assert leases.stored is not None
    assert leases.stored.holder == "one"


@virtual_time
async def test_the_second_candidate_is_standby_for_as_long_as_the_first_renews() -> None:
    """A candidate never takes a Lease whose record keeps changing."""
    leases = FakeLeases()
    _, holding = await leading(leases)
    standby = candidate(leases, "two")
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(3600)
    assert not waiting.done()
    assert not holding.done()
    assert not may_write(standby)
    waiting.cancel()
    holding.cancel()


@virtual_time
async def test_a_dead_holder_is_replaced_in_under_18_seconds() -> None:
    """A candidate takes over when the record has not changed for 15 seconds."""
    leases = FakeLeases()
    _, holding = await leading(leases)
    standby = candidate(leases, "two")
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(60)
    holding.cancel()
    assert 15 <= await seconds_of(asyncio.wait_for(waiting, 60)) < 18
    assert leases.stored is not None
    assert (leases.stored.holder, leases.stored.transitions) == ("two", 1)


@virtual_time
async def test_a_released_lease_is_taken_at_the_next_try() -> None:
    """A holder that stops in order makes no other replica wait for the end of its Lease."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    standby = candidate(leases, "two")
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(60)
    holding.cancel()
    await lease.release()
    assert not may_write(lease)
    assert await seconds_of(asyncio.wait_for(waiting, 60)) <= 2.4


@virtual_time
async def test_a_standby_has_nothing_to_release() -> None:
    """A standby that stops writes nothing."""
    leases = FakeLeases()
    await leading(leases)
    standby = candidate(leases, "two")
    assert not await standby.attempt()
    leases.calls.clear()
    await standby.release()
    assert leases.calls == []


@virtual_time
async def test_a_lease_that_was_taken_without_a_response_is_released_too() -> None:
    """If the response to taking the Lease was lost, the Lease is still released."""
    leases = FakeLeases()
    lease = candidate(leases)
    leases.after = lose_the_response_of_the_write(leases)
    assert not await lease.attempt()
    leases.after = None
    await lease.release()
    assert leases.stored is not None
    assert leases.stored.holder == ""


@virtual_time
async def test_a_lease_of_another_is_not_released() -> None:
    """Releasing a Lease that another replica holds changes nothing."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    holding.cancel()
    usurped(leases)
    stored = leases.stored
    await lease.release()
    assert leases.stored == stored


@virtual_time
async def test_a_lease_is_released_with_one_call() -> None:
    """The record of the last renewal is replaced, if it is still stored."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    await asyncio.sleep(60)
    holding.cancel()
    leases.calls.clear()
    await lease.release()
    assert leases.stored is not None
    assert leases.stored.holder == ""
    assert leases.calls == ["renew"]


@virtual_time
async def test_a_renewal_under_way_does_not_keep_the_lease() -> None:
    """A renewal succeeded, but its response was not awaited: the Lease is still released."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    leases.after = lambda: asyncio.sleep(60)
    await asyncio.sleep(RETRY_PERIOD + 0.5)
    holding.cancel()
    leases.after = None
    await lease.release()
    assert leases.stored is not None
    assert leases.stored.holder == ""
    assert leases.calls[-3:] == ["renew", "read", "renew"]


@virtual_time
async def test_an_api_server_without_a_response_delays_the_end_only_briefly() -> None:
    """Releasing gives up when its time is over, and raises nothing."""
    for seconds in (0.25, CALL_AT_MOST):
        leases = FakeLeases()
        lease, holding = await leading(leases)
        holding.cancel()
        leases.before = lambda: asyncio.sleep(60)
        assert await seconds_of(lease.release(seconds)) == pytest.approx(seconds)


@virtual_time
async def test_the_holder_survives_an_outage_of_seconds() -> None:
    """Failing renewals cost nothing if one succeeds in time."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    leases.fail.extend([UNAVAILABLE] * 3)
    await asyncio.sleep(60)
    assert lease.leads
    holding.cancel()


@virtual_time
async def test_the_holder_gives_up_ten_seconds_after_its_last_renewal() -> None:
    """Whether renewals are rejected or hang, the holder ends before another replica can take over."""
    for hang in (False, True):
        leases = FakeLeases()
        lease, holding = await leading(leases)
        if hang:
            leases.before = lambda: asyncio.sleep(600)
        else:
            leases.fail.extend([UNAVAILABLE] * 100)
        assert 8 <= await seconds_of(asyncio.wait_for(holding, 60)) <= 10.001
        assert not lease.leads
        assert not may_write(lease)


@virtual_time
async def test_an_unexpected_response_does_not_end_the_election() -> None:
    """Any exception of a call counts as a failed try."""
    leases = FakeLeases()
    leases.fail.extend([ValueError("HTML"), UNAVAILABLE, Stale("changed"), TimeoutError()])
    lease = candidate(leases)
    await lease.acquire()
    assert lease.leads


@virtual_time
async def test_a_holder_that_wakes_after_the_end_of_its_lease_gives_up_without_a_call() -> None:
    """A process that was stopped for long neither writes nor renews when it continues."""
    leases, asleep = FakeLeases(), 0.0
    lease = Lease(leases, "one", clock=lambda: now() + asleep)
    await lease.acquire()
    holding = asyncio.create_task(lease.hold())
    await settle()
    asleep = 3600.0
    assert not may_write(lease)
    leases.calls.clear()
    await asyncio.wait_for(holding, 60)
    assert leases.calls == []


@virtual_time
async def test_a_holder_that_reads_another_holder_gives_up_at_once() -> None:
    """A Lease that another replica has taken is lost at the next renewal."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    usurped(leases)
    assert await seconds_of(asyncio.wait_for(holding, 60)) == 2
    assert not may_write(lease)


@virtual_time
async def test_a_deleted_lease_is_lost() -> None:
    """The holder does not create it again: a replica that saw it missing may lead already."""
    leases = FakeLeases()
    _, holding = await leading(leases)
    leases.stored = None
    assert await seconds_of(asyncio.wait_for(holding, 60)) == 2


@virtual_time
async def test_a_standby_waits_out_a_lease_that_was_deleted() -> None:
    """A deleted record says nothing about its holder, which may act until the Lease would have ended."""
    leases = FakeLeases()
    await leading(leases)
    standby = candidate(leases, "two")
    assert not await standby.attempt()
    leases.stored = None
    assert not await standby.attempt()
    await asyncio.sleep(15)
    assert await standby.attempt()


@virtual_time
async def test_a_renewal_whose_response_was_lost_counts() -> None:
    """The record shows our own identity, so the Lease continues from a new renewal."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    leases.lose_response = 1
    await asyncio.sleep(60)
    assert lease.leads
    holding.cancel()


@virtual_time
async def test_removing_the_holder_lets_no_two_replicas_act() -> None:
    """The holder is running, and finds out at its next renewal: only a released Lease is free at once."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    assert leases.stored is not None
    leases.stored = replace(leases.stored, holder="", version="edited")
    assert await seconds_of(asyncio.wait_for(candidate(leases, "two").acquire(), 60)) >= 15
    assert holding.done()
    assert not may_write(lease)


@virtual_time
async def test_an_edited_record_is_corrected() -> None:
    """The holder's next renewal writes its own duration: a long one would lock all replicas out once it is dead."""
    leases = FakeLeases()
    lease, holding = await leading(leases)
    assert leases.stored is not None
    leases.stored = replace(leases.stored, duration=3600.0, version="edited")
    await asyncio.sleep(3)
    assert lease.leads
    assert leases.stored.duration == 15
    holding.cancel()


@virtual_time
async def test_a_label_on_the_record_is_no_renewal() -> None:
    """A change without a change of the spec does not prolong the Lease of a dead holder."""
    leases = FakeLeases()
    _, holding = await leading(leases)
    holding.cancel()
    standby = candidate(leases, "two")
    waiting = asyncio.create_task(standby.acquire())
    for number in range(5):
        await asyncio.sleep(3)
        assert leases.stored is not None
        leases.stored = replace(leases.stored, version=f"touched-{number}")
    assert await seconds_of(asyncio.wait_for(waiting, 60)) <= 1


@pytest.mark.parametrize("duration", [0.0, 1.0])
@virtual_time
async def test_an_edited_duration_lets_no_two_replicas_act(duration: float) -> None:
    """A holder continues for 15 seconds after its last renewal, whatever the record says: the next waits as long."""
    leases = FakeLeases()
    _, holding = await leading(leases)
    holding.cancel()
    assert leases.stored is not None
    leases.stored = replace(leases.stored, duration=duration)
    assert 15 <= await seconds_of(asyncio.wait_for(candidate(leases, "two").acquire(), 60)) < 18


@virtual_time
async def test_no_write_starts_in_the_last_five_seconds_and_none_ends_in_the_last_two() -> None:
    """The gate gives a write the rest of the Lease less two seconds, and closes at five."""
    lease = candidate(FakeLeases())
    assert await lease.attempt()
    assert lease.time_to_write() == 13
    await asyncio.sleep(10)
    assert lease.time_to_write() == pytest.approx(3)
    await asyncio.sleep(0.001)
    with pytest.raises(ClusterUnavailable, match="write refused: less than 5 s of the lease remain"):
        lease.time_to_write()


@virtual_time
async def test_a_lease_runs_from_the_moment_of_its_request() -> None:
    """The time that the API server takes to respond does not prolong it."""
    leases = FakeLeases()
    lease = candidate(leases)
    leases.after = lambda: asyncio.sleep(1)
    assert await lease.attempt()  # one second to read, one to write
    assert lease.time_to_write() == 12


@virtual_time
async def test_the_gate_is_closed_before_the_lease_is_ours() -> None:
    """A standby can write nothing."""
    with pytest.raises(ClusterUnavailable):
        candidate(FakeLeases()).time_to_write()


def test_without_an_election_a_write_may_take_any_time() -> None:
    """The gate is open if there is no election."""
    assert no_election() == float("inf")


def test_no_two_processes_have_the_same_identity() -> None:
    """An identity is the host's name and a random part."""
    first, second = new_identity(), new_identity()
    assert first != second
    assert re.fullmatch(r".+_[0-9a-f]{32}", first)


def test_the_clock_counts_a_suspension(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Lease's clock continues while the machine is suspended, if the system has such a clock (Linux)."""
    monkeypatch.setattr("time.CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr("time.clock_gettime", {7: 5.5}.__getitem__)
    assert awake_clock() == 5.5
    leads = Lease(FakeLeases(), "one")
    assert vars(leads)["_clock"] is awake_clock


def test_the_clock_is_monotonic(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems it is the monotonic clock, never the wall clock."""
    monkeypatch.delattr("time.CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr("time.monotonic", lambda: 6.5)
    assert awake_clock() == 6.5


def usurped(leases: FakeLeases) -> None:
    """Let another replica hold the Lease."""
    assert leases.stored is not None
    leases.stored = replace(leases.stored, holder="two", version="usurped", times=("x", "x"))


def lose_the_response_of_the_write(leases: FakeLeases) -> Callable[[], Awaitable[None]]:
    async def after() -> None:
        if leases.calls[-1] != "read":
            raise ClusterUnavailable("the Lease: ServerDisconnectedError")
        await asyncio.sleep(0)

    return after
