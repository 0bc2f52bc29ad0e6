"""Nobody is invited twice: lost responses, restarts, conflicts, limits, on the real API server."""

from __future__ import annotations

import pytest

from tests.cluster.life import READ_ONLY, Life, has_finalizer, reason_of
from tests.cluster.test_table_a import BOTH, JANE, invited, sent

OPERATION = {"invites": "CreateInvite", "users": "AddUser"}


async def reason(life: Life, name: str = "jane") -> str | None:
    return reason_of(await life.status(name))


async def live_invitations(life: Life) -> int:
    held = await life.truth()
    return len(held["invitations"]) + sum(u["orgMembershipStatus"] in {"PENDING", "ACTIVE"} for u in held["users"])


@BOTH
async def test_an_unconfirmed_send_is_looked_up_at_once(life: Life, api: str) -> None:
    """Sent, but the response is lost: the next read finds it, and it is ours."""
    await life.fault(kind="close", operations=[OPERATION[api]], when="after")
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        await life.reaches("jane", "Invited", state="Pending", origin="Created")
    assert sent(counted) == 1
    assert await live_invitations(life) == 1


@BOTH
async def test_an_unconfirmed_send_is_confirmed_before_another(life: Life, api: str) -> None:
    """Sent, the response lost, and the lists lag: it is found a minute later, and nothing was sent a second time."""
    await life.lever("PATCH", "/settings", {"listLag": {"seconds": 50, "filtered": True}})
    await life.fault(kind="close", operations=[OPERATION[api]], when="after")
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        await life.until("the response is lost", lambda: reason(life))
        await life.move(seconds=30)
        await life.reaches("jane", "ConfirmingInvitation")
        await life.move(seconds=31)
        await life.reaches("jane", "Invited", state="Pending", origin="Created")
    assert sent(counted) == 1
    assert await live_invitations(life) == 1


@BOTH
@pytest.mark.parametrize("kind", ["reset", "garbage", "html", "empty", "truncated"])
async def test_a_failed_send_is_repeated_only_a_minute_later(life: Life, api: str, kind: str) -> None:
    """Not sent, but this is not known: it is sent again after a minute, and not before."""
    await life.fault(kind=kind, operations=[OPERATION[api]], when="before")
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        await life.until("it fails", lambda: reason(life))
        await life.move(seconds=59)
        await life.reaches("jane", "ConfirmingInvitation")
    assert await live_invitations(life) == 0
    async with life.counting() as counted:
        await life.move(seconds=3)
        await life.reaches("jane", "Invited", origin="Created")
    assert sent(counted) == 1
    assert await live_invitations(life) == 1


@BOTH
async def test_a_restart_between_finalizer_and_send_waits_for_a_minute(life: Life, api: str) -> None:
    """The finalizer is from another process, which may have sent, so this one waits a minute and reads again."""
    await life.fault(kind="status", status=503, operations=[OPERATION[api]], count=None)
    await life.create("jane", username=JANE)
    await life.until("the finalizer", lambda: _finalizer(life))
    await life.stop()
    await life.lever("DELETE", "/faults")
    async with life.counting() as counted:
        await life.start()
        await life.reaches("jane", "ConfirmingInvitation")
        await life.move(seconds=55)
        await life.quiet()
    assert sent(counted) == 0
    async with life.counting() as counted:
        await life.move(seconds=10)
        await life.reaches("jane", "Invited", origin="Created")
    assert sent(counted) == 1


@BOTH
async def test_a_restart_after_a_lost_response_adopts(life: Life, api: str) -> None:
    """Killed between the send and the status write: the invitation is found, and counts as adopted."""
    await life.fault(kind="close", operations=[OPERATION[api]], when="after")
    await life.create("jane", username=JANE)
    await life.until("the response is lost", lambda: reason(life))
    async with life.counting() as counted:
        await life.restart()
        await life.reaches("jane", "Invited", origin="Adopted")
        await life.delete("jane")
        await life.gone("jane")
    assert sent(counted) == 0
    assert await live_invitations(life) == 1


@BOTH
async def test_a_second_conflict_with_nothing_observed_is_final(life: Life, api: str) -> None:
    """Atlas reports a conflict, and shows nobody: read again, tried once more, then Stalled."""
    await life.people("members", JANE, via="team", roles=[READ_ONLY])
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        await life.until("a conflict", lambda: reason(life))
        await life.move(seconds=10)
        status = await life.reaches("jane", "InvalidRequest")
        await life.move(minutes=30)
        await life.resync()
    assert sent(counted) == 2
    assert status["error"]["error"] == 409
    assert status["error"]["operation"] == OPERATION[api]
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert "team" in ready["message"]


@BOTH
async def test_the_limit_on_invitations_is_waited_for(life: Life, api: str) -> None:
    """The invitation rate limit arrives as a 400, and is not an error of the spec."""
    await life.fault(
        kind="status", status=400, errorCode="INVITATIONS_RATE_LIMITED_IP", operations=[OPERATION[api]], count=1
    )
    await life.create("jane", username=JANE)
    await life.reaches("jane", "RateLimited")
    await life.move(minutes=2)
    await life.reaches("jane", "Invited", origin="Created")
    assert await live_invitations(life) == 1


@BOTH
async def test_a_hundred_resyncs_after_acceptance_change_nothing(life: Life) -> None:
    """Accepted: a hundred resyncs send nothing, change nothing in Atlas, write nothing to Kubernetes."""
    await invited(life, reinvitePolicy="OnExpiry", memberPolicy="Manage")
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    before = await life.get("jane")
    async with life.counting() as counted:
        for _ in range(100):
            await life.move(days=1)
            await life.resync()
    after = await life.get("jane")
    assert before is not None
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert set(counted) <= {"ListInvites", "ListUsers"}


@BOTH
async def test_the_finalizer_is_on_before_anything_is_sent(life: Life, api: str) -> None:
    """A send that is held shows that the object has its finalizer already."""
    await life.fault(kind="timeout", operations=[OPERATION[api]], when="before", seconds=3)
    await life.create("jane", username=JANE)
    await life.until("a send is under way", lambda: _struck(life))
    found = await life.get("jane")
    assert found is not None
    assert has_finalizer(found)


async def _finalizer(life: Life) -> bool:
    found = await life.get("jane")
    return found is not None and has_finalizer(found)


async def _struck(life: Life) -> bool:
    faults: list[dict[str, int]] = await life.lever("GET", "/faults")
    return not faults or faults[0]["struck"] > 0
