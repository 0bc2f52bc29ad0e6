"""A requested resend on the real API server, in both of Atlas's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.life import reason_of
from tests.cluster.test_table_a import BOTH, JANE, invited, sent

if TYPE_CHECKING:
    from tests.cluster.life import Life

ENDS = {"invites": "CancelInvite", "users": "RemoveUser"}


async def handled(life: Life, reason: str) -> dict[str, Any]:
    """Request a resend of ``jane``, and return the status that shows it as handled, with that reason."""
    await life.annotate("jane", resend_requested_at="1")
    return await life.reaches("jane", reason, lastHandledResendAt="1")


@BOTH
async def test_a_pending_invitation_is_canceled_and_sent_again(life: Life, api: str) -> None:
    """One cancellation, one send; the object shows the new invitation as its own."""
    await invited(life)
    before = await life.status("jane")
    await life.move(hours=1)
    async with life.counting() as counted:
        status = await handled(life, "Invited")
        await life.quiet()
    assert (sent(counted), counted[ENDS[api]]) == (1, 1)
    assert (reason_of(status), status["state"], status["origin"]) == ("Invited", "Pending", "Created")
    assert status["invitation"]["createdAt"] > before["invitation"]["createdAt"]
    await life.told("jane", "Canceled")


@BOTH
@pytest.mark.parametrize("act", ["decline", "expire", "remove"])
async def test_an_ended_invitation_is_sent_again(life: Life, api: str, act: str) -> None:
    """Declined, expired, or a member who was removed: one send.

    Through the Users API, a former member is a member again at once: the person is in the organization.
    """
    await invited(life)
    if act == "remove":
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted")
    await life.people(act, JANE)
    await life.resync()
    await life.until("it has ended", lambda: _has_ended(life))
    is_member = (act, api) == ("remove", "users")
    async with life.counting() as counted:
        if (act, api) == ("expire", "users"):  # it may have been sent again with OnExpiry
            await handled(life, "ConfirmingInvitation")
            await life.move(minutes=2)
        status = await handled(life, "Accepted" if is_member else "Invited")
    assert sent(counted) == 1
    assert ("member" in status) == is_member


async def _has_ended(life: Life) -> bool:
    ended = {"InvitationWithdrawn", "InvitationExpired", "MemberRemoved"}
    return reason_of(await life.status("jane")) in ended


@BOTH
async def test_a_member_is_left_alone(life: Life, api: str) -> None:
    """Nothing is sent, nothing is removed, and an event says why."""
    del api
    await invited(life)
    await life.people("accept", JANE)
    async with life.counting() as counted:
        await handled(life, "Accepted")
    assert sent(counted) == 0
    assert not {"CancelInvite", "RemoveUser"} & counted.keys()
    await life.told("jane", "ResendRefused", "Warning")


async def test_an_invitation_by_id_is_left_alone(life: Life) -> None:
    """The operator never sends for such an object."""
    found = await life.invited_by_hand(JANE)
    await life.create("jane", invitationId=found["id"])
    await life.reaches("jane", "Invited")
    async with life.counting() as counted:
        await handled(life, "Invited")
    assert (sent(counted), "CancelInvite" in counted) == (0, False)
    await life.told("jane", "ResendRefused", "Warning")
