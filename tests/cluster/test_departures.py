"""spec.departurePolicy on the real API server, judged by the rules of kstatus, in both of Atlas's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.test_table_a import API_OF, BOTH, JANE, invited, sent
from tests.deploy.flux import flux_complaints
from tests.e2e.kstatus import condition, kstatus

if TYPE_CHECKING:
    from tests.cluster.life import Life

DEPARTURES = {
    "InvitationExpired": ("Expired", "Expired"),
    "InvitationWithdrawn": ("Withdrawn", "Withdrawn"),
    "MemberRemoved": ("Removed", "Removed"),
}
"""State and event of each reason."""
EACH = pytest.mark.parametrize("reason", DEPARTURES)


async def depart(life: Life, reason: str) -> dict[str, Any]:
    """Let the invitee of the object jane not accept, or leave; return the object."""
    if reason == "InvitationExpired":
        await life.move(days=30, seconds=1)
    elif reason == "InvitationWithdrawn":
        await life.people("decline", JANE)
    else:
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted")
        await life.people("remove", JANE)
        await life.lever("DELETE", f"/organization/members/{JANE}")  # otherwise a new invitation makes a member at once
    await life.resync()
    state, event = DEPARTURES[reason]
    await life.reaches("jane", reason, state=state)
    await life.told("jane", event)
    return await shown(life)


async def shown(life: Life) -> dict[str, Any]:
    found = await life.get("jane")
    assert found is not None
    assert flux_complaints(found) == []
    return found


@BOTH
@EACH
async def test_a_settled_departure_is_current(life: Life, reason: str) -> None:
    """Ready with the reason; nothing is sent, and a new invitation made by hand is adopted."""
    await invited(life, departurePolicy="Settle")
    found = await depart(life, reason)
    assert kstatus(found) == "Current"
    ready = condition(found, "Ready")
    assert ready is not None
    assert "No action is needed" in ready["message"]
    async with life.counting() as counted:
        await life.move(days=60)
        await life.resync()
        await life.restart()
        await life.resync()
        assert await shown(life) == found
    assert sent(counted) == 0
    await life.invited_by_hand(JANE, api=API_OF[life.api])
    await life.resync()
    await life.reaches("jane", "Invited", state="Pending")


@BOTH
@EACH
async def test_the_policy_settles_a_stalled_object(life: Life, reason: str) -> None:
    """Without a policy it is Stall. A change of the policy is one reconcile, and no write to Atlas."""
    await invited(life)
    assert kstatus(await depart(life, reason)) == "Failed"
    async with life.counting() as counted:
        for policy, verdict in (("Settle", "Current"), ("Stall", "Failed"), ("Settle", "Current")):
            await life.edit("jane", departurePolicy=policy)
            await life.reaches("jane", reason, state=DEPARTURES[reason][0])
            assert kstatus(await shown(life)) == verdict
    assert counted.keys() <= {"ListInvites", "ListUsers", "ReadInvite", "ReadUser"}


@BOTH
@EACH
async def test_a_settled_departure_is_sent_again_on_request(life: Life, reason: str) -> None:
    """A requested resend sends, as with Stall."""
    await invited(life, departurePolicy="Settle")
    await depart(life, reason)
    async with life.counting() as counted:
        await life.annotate("jane", resend_requested_at="now")
        await life.until("the request is handled", lambda: _is_handled(life))
        await life.move(seconds=61)
        await life.reaches("jane", "Invited", state="Pending", origin="Created")
    assert sent(counted) == 1


async def _is_handled(life: Life) -> bool:
    return (await life.status("jane")).get("lastHandledResendAt") == "now"
