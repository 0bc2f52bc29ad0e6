"""Values polled in the cluster: one read for all callers; failures are remembered, outages are not."""

from __future__ import annotations

import asyncio
import gc

import pytest

from atlas_invites.controller.polled import REREAD_INTERVAL, WAIT_AT_MOST, Polled
from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.outcome import Reason
from tests.unit.virtual_time import now, settle, virtual_time

TTL = 60.0


class Source:
    """A polled source that responds after a second (``takes``) and records its reads and who was told of a change."""

    def __init__(self, answer: str | Exception = "first") -> None:
        self.answer = answer
        self.takes = 1.0
        self.reads: list[str] = []
        self.changes: list[str] = []
        self.polled: Polled[str, str] = Polled(self.read, TTL, now, self.changes.append)

    async def read(self, key: str) -> str:
        self.reads.append(key)
        answer = self.answer
        await asyncio.sleep(self.takes)
        if isinstance(answer, Exception):
            raise answer
        return answer


def not_found(message: str = "no such Secret") -> Failure:
    return Failure(Reason.SECRET_NOT_FOUND, message)


@virtual_time
async def test_one_read_for_many_askers() -> None:
    """Callers that ask during a read, or within the ttl, share it."""
    source = Source()
    assert await asyncio.gather(*(source.polled.get("a") for _ in range(100))) == ["first"] * 100
    assert await source.polled.get("a") == "first"
    assert source.reads == ["a"]


@virtual_time
async def test_each_key_has_its_own_read() -> None:
    """Two keys are read at the same time, each once."""
    source = Source()
    await asyncio.gather(source.polled.get("a"), source.polled.get("b"))
    assert source.reads == ["a", "b"]
    assert now() == 1


@virtual_time
async def test_a_value_serves_for_the_ttl() -> None:
    """It serves from the moment its read began, and no longer."""
    source = Source()
    await source.polled.get("a")
    await asyncio.sleep(TTL - 1)
    await source.polled.get("a")
    assert source.reads == ["a"]
    source.answer = "second"
    await asyncio.sleep(0.1)
    assert await source.polled.get("a") == "second"
    assert source.reads == ["a", "a"]


@virtual_time
async def test_doubt_reads_again_now_and_then() -> None:
    """A caller that doubts a value has it read again, and callers that doubt it in the next seconds share that."""
    source = Source()
    await source.polled.get("a")
    source.answer = "second"
    await asyncio.sleep(1)
    doubters = (source.polled.reread("a", since=now()) for _ in range(100))
    assert await asyncio.gather(*doubters) == ["second"] * 100
    await asyncio.sleep(REREAD_INTERVAL - 1.5)
    source.answer = "third"
    assert await source.polled.reread("a", since=now()) == "second"
    assert source.reads == ["a", "a"]
    await asyncio.sleep(0.5)
    assert await source.polled.reread("a", since=0.0) == "second"
    assert await source.polled.reread("a", since=now()) == "third"


@virtual_time
async def test_since_asks_for_a_newer_value() -> None:
    """A value whose read began before ``since`` is read again; a later one is not."""
    source = Source()
    await asyncio.sleep(5)
    await source.polled.get("a")
    assert await source.polled.get("a", since=5.0) == "first"
    assert source.reads == ["a"]
    source.answer = "second"
    assert await source.polled.get("a", since=5.1) == "second"
    assert source.reads == ["a", "a"]


@virtual_time
async def test_callers_that_ask_for_a_newer_value_share_it() -> None:
    """However many credentials were rejected at the same time, the Secret is read once more."""
    source = Source()
    await source.polled.get("a")
    source.answer = "second"
    asked = now()
    await asyncio.sleep(1)
    assert await asyncio.gather(*(source.polled.get("a", since=asked) for _ in range(50))) == ["second"] * 50
    assert source.reads == ["a", "a"]


@virtual_time
async def test_a_read_that_began_too_early_is_not_shared() -> None:
    """A caller that asks for a newer value than a read under way will return starts another read."""
    source = Source()
    early = asyncio.create_task(source.polled.get("a"))
    await asyncio.sleep(0.5)
    source.answer = "second"
    assert await source.polled.get("a", since=0.5) == "second"
    assert await early == "first"


# Failures.


@virtual_time
async def test_a_failure_is_remembered() -> None:
    """What the cluster returned, even a 404, serves all callers for the ttl."""
    source = Source(not_found())
    for _ in range(3):
        with pytest.raises(Failure, match="no such Secret") as caught:
            await source.polled.get("a")
        assert caught.value.reason is Reason.SECRET_NOT_FOUND
    assert source.reads == ["a"]
    source.answer = "there"
    await asyncio.sleep(TTL)
    assert await source.polled.get("a") == "there"


@virtual_time
async def test_a_shared_failure_does_not_grow() -> None:
    """However often a failure is raised, its traceback does not grow."""
    source = Source(not_found())
    lengths = []
    for _ in range(5):
        with pytest.raises(Failure) as caught:
            await source.polled.get("a")
        lengths.append(len(caught.traceback))
    assert max(lengths) == lengths[0]


@virtual_time
async def test_an_outage_is_not_remembered() -> None:
    """If the API server does not respond, the next caller tries again."""
    source = Source(ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        await source.polled.get("a")
    source.answer = "there"
    assert await source.polled.get("a") == "there"
    assert source.changes == []


@pytest.mark.parametrize("trouble", [ClusterUnavailable("no response"), RuntimeError("a defect")])
@virtual_time
async def test_concurrent_callers_share_the_failure(trouble: Exception) -> None:
    """A read that fails fails for all that asked meanwhile; a later caller starts a new read."""
    source = Source(trouble)
    failures = await asyncio.gather(*(source.polled.get("a") for _ in range(50)), return_exceptions=True)
    assert [str(failure) for failure in failures] == [str(trouble)] * 50
    assert source.reads == ["a"]
    assert now() == 1
    source.answer = "there"
    assert await source.polled.get("a") == "there"
    assert source.reads == ["a", "a"]


@virtual_time
async def test_a_read_that_hangs_is_not_waited_for() -> None:
    """No caller waits longer than ``WAIT_AT_MOST`` for one read, however late it comes; the value is still used."""
    source = Source()
    source.takes = 10
    for _ in range(2):
        failures = await asyncio.gather(*(source.polled.get("a") for _ in range(50)), return_exceptions=True)
        assert {type(failure) for failure in failures} == {ClusterUnavailable}
        assert now() == WAIT_AT_MOST
    await asyncio.sleep(10)
    assert await source.polled.get("a") == "first"
    assert source.reads == ["a"]


@virtual_time
async def test_a_failed_doubt_leaves_the_value_to_others() -> None:
    """A value within the ttl serves callers that do not doubt it, also during another read and after its failure."""
    source = Source()
    await source.polled.get("a")
    source.answer = ClusterUnavailable("no response")
    doubt = asyncio.create_task(source.polled.reread("a", since=now()))
    await settle()
    assert await source.polled.get("a") == "first"
    with pytest.raises(ClusterUnavailable):
        await doubt
    assert await source.polled.get("a") == "first"
    assert source.reads == ["a", "a"]


@virtual_time
async def test_an_old_read_does_not_replace_a_newer_one() -> None:
    """A read that began earlier and ends later serves only the callers that wait for it."""
    source = Source()
    source.takes = 2
    early = asyncio.create_task(source.polled.get("a"))
    await settle()
    source.answer, source.takes = "second", 0.5
    await asyncio.sleep(1)
    assert await source.polled.get("a", since=now()) == "second"
    assert await early == "first"
    assert await source.polled.get("a") == source.polled.last("a") == "second"
    assert source.changes == []


@virtual_time
async def test_an_outage_keeps_the_last_good_value() -> None:
    """The last good value stays through an outage and through a failure."""
    source = Source()
    assert source.polled.last("a") is None
    await source.polled.get("a")
    for trouble in (ClusterUnavailable("no answer"), not_found()):
        source.answer = trouble
        await asyncio.sleep(TTL)
        with pytest.raises(type(trouble)):
            await source.polled.get("a")
        assert source.polled.last("a") == "first"


@virtual_time
async def test_a_canceled_caller_does_not_cancel_the_read() -> None:
    """If a caller leaves, even the first one, the others still get the value."""
    source = Source()
    asking = [asyncio.create_task(source.polled.get("a")) for _ in range(3)]
    await settle()
    asking[0].cancel()
    asking[1].cancel()
    assert await asking[2] == "first"
    assert source.reads == ["a"]


@pytest.mark.parametrize("answer", ["first", not_found(), ClusterUnavailable("no response")])
@virtual_time
async def test_a_read_without_callers_ends(answer: str | Exception) -> None:
    """The only caller is canceled: the result of the read raises no error."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    source = Source(answer)
    asking = asyncio.create_task(source.polled.get("a"))
    await settle()
    asking.cancel()
    await asyncio.sleep(2)
    del source, asking
    gc.collect()
    assert errors == []


# Changes.


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("first", "second", True),
        ("first", "first", False),
        ("first", not_found(), True),
        (not_found(), "first", True),
        (not_found(), not_found(), False),
        (not_found(), not_found("it is invalid"), True),
        (not_found(), Failure(Reason.SECRET_INVALID, "no such Secret"), True),
    ],
)
@virtual_time
async def test_a_change_is_reported(before: str | Failure, after: str | Failure, told: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """Dependents are woken once when the value differs from the one before."""
    source = Source(before)
    for answer in (before, after, after):
        source.answer = answer
        await asyncio.gather(source.polled.get("a"), return_exceptions=True)
        await asyncio.sleep(TTL)
    assert source.changes == (["a"] if told else [])


@virtual_time
async def test_a_change_across_an_outage_is_reported() -> None:
    """The value after an outage is compared with the one before it."""
    source = Source()
    for answer in ("first", ClusterUnavailable("no answer"), "second"):
        source.answer = answer
        await asyncio.gather(source.polled.get("a"), return_exceptions=True)
        await asyncio.sleep(TTL)
    assert source.changes == ["a"]


@virtual_time
async def test_a_value_that_is_not_in_use_is_dropped() -> None:
    """Credentials of a Secret that no object names any more are not kept."""
    source = Source()
    await source.polled.get("idle")
    await source.polled.get("asked")
    for _ in range(61):
        await asyncio.sleep(TTL)
        await source.polled.get("asked")
    await source.polled.get("new")
    assert source.polled.last("idle") is None
    assert source.polled.last("asked") == "first"
