"""Every row of Table D on the real API server, in both of Atlas's APIs where it applies."""

from __future__ import annotations

import pytest

from tests.cluster.life import OWNER, READ_ONLY, Life, reason_of
from tests.cluster.test_table_a import API_OF, BOTH, JANE, invited

REMOVES = {"CancelInvite", "RemoveUser"}


def removed(counted: dict[str, int]) -> int:
    return sum(counted.get(operation, 0) for operation in REMOVES)


async def kept(life: Life, username: str = JANE) -> bool:
    """Return whether a person is still invited or a member."""
    return await life.roles_of(username) is not None


@BOTH
async def test_a_suspended_object_is_finalized_without_a_call(life: Life) -> None:
    """Suspended: the finalizer is removed at once, Atlas is not called, and a warning names what the object created."""
    await invited(life, deletionPolicy="Cancel")
    await life.edit("jane", suspend=True)
    await life.until("suspended", lambda: _condition(life, "Suspended"))
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
    assert counted == {}
    assert await kept(life)
    await life.told("jane", "OrphanedInvitation", "Warning")


@BOTH
@pytest.mark.parametrize("accepted", [False, True])
async def test_retain_leaves_atlas_alone(life: Life, *, accepted: bool) -> None:
    """Retain: Atlas is not called, pending or member."""
    await invited(life, deletionPolicy="Retain")
    if accepted:
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
    assert counted == {}
    assert await kept(life)


@BOTH
async def test_unset_cancels_what_was_created_and_retains_what_was_adopted(life: Life, api: str) -> None:
    """No policy: what this object sent is canceled, what it adopted stays."""
    await life.invited_by_hand("bob@example.com", api=API_OF[api])
    await life.create("bob", username="bob@example.com")
    await life.reaches("bob", "Invited", origin="Adopted")
    await invited(life)
    async with life.counting() as counted:
        for name in ("bob", "jane"):
            await life.delete(name)
            await life.gone(name)
    assert removed(counted) == 1
    assert await kept(life, "bob@example.com")
    assert not await kept(life)


async def test_identity_mismatch_leaves_atlas_alone(life: Life) -> None:
    """An id and an e-mail of different people: deleting the object changes neither."""
    by_hand = await life.invited_by_hand("bob@example.com")
    await life.create("jane", username=JANE, invitationId=by_hand["id"], deletionPolicy="Revoke")
    await life.reaches("jane", "IdentityMismatch")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
    assert counted == {}
    assert await kept(life, "bob@example.com")


@BOTH
async def test_a_younger_duplicate_leaves_atlas_alone(life: Life) -> None:
    """The younger of two is finalized without a call, with any policy."""
    await invited(life)
    await life.create_younger("younger", username=JANE, deletionPolicy="Revoke")
    await life.reaches("younger", "DuplicateInvite")
    async with life.counting() as counted:
        await life.delete("younger")
        await life.gone("younger")
    assert removed(counted) == 0
    assert await kept(life)


async def test_an_object_whose_project_was_never_resolved_is_finalized(life: Life) -> None:
    """A projectRef that leads nowhere: there can be nothing in Atlas."""
    await life.create("jane", username=JANE, projectRef={"name": "nowhere"}, deletionPolicy="Revoke")
    await life.reaches("jane", "ProjectNotReady")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
    assert counted == {}


@BOTH
@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
async def test_what_another_live_object_claims_is_left(life: Life, policy: str) -> None:
    """Renamed or moved: the old object is deleted, the new one takes over.

    No e-mail, no cancellation, with any policy.
    """
    await invited(life, deletionPolicy=policy)
    before = await life.status("jane")
    await life.create_younger("renamed", username=JANE, deletionPolicy=policy)
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
        status = await life.reaches("renamed", "Invited", state="Pending", origin="Created")
    assert removed(counted) == 0
    assert "CreateInvite" not in counted
    assert "AddUser" not in counted
    assert status["invitation"]["id"] == before["invitation"]["id"]


@BOTH
async def test_an_object_of_a_project_that_is_gone_is_finalized(life: Life) -> None:
    """Reading the project says that it is gone.

    The object is finalized with a warning, and nothing is reported as orphaned.
    """
    await invited(life, deletionPolicy="Revoke")
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    await life.lever("DELETE", "/projects/32b6e34b3d91647abb20e7b8")
    await life.delete("jane")
    await life.gone("jane")
    await life.told("jane", "ProjectNotFound", "Warning")
    assert "OrphanedInvitation" not in [reason for _, reason in await life.events("jane")]


@BOTH
async def test_one_response_that_a_project_is_gone_is_not_enough(life: Life) -> None:
    """A removal gets GROUP_NOT_FOUND once, and the project exists: the object stays, then the removal succeeds."""
    await invited(life, deletionPolicy="Cancel")
    await life.fault(kind="status", operations=sorted(REMOVES), status=404, errorCode="GROUP_NOT_FOUND")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.reaches("jane", "ProjectNotFound")
        await life.move(seconds=21)
        await life.gone("jane")
    assert counted["ReadProject"] == 1
    assert removed(counted) == 2
    assert not await kept(life)
    await life.told("jane", "Canceled")


@BOTH
async def test_nothing_observed_removes_the_finalizer(life: Life) -> None:
    """Declined and then deleted: there is nothing to cancel, and nothing is reported as orphaned."""
    await invited(life, deletionPolicy="Revoke")
    await life.people("decline", JANE)
    await life.resync()
    await life.reaches("jane", "InvitationWithdrawn")
    await life.delete("jane")
    await life.gone("jane")
    assert "OrphanedInvitation" not in [reason for _, reason in await life.events("jane")]


@BOTH
async def test_pending_is_canceled(life: Life, api: str) -> None:
    """Cancel: one call (the Users API reads first), and the event reports it."""
    await invited(life, deletionPolicy="Cancel")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
    assert not await kept(life)
    if api == "invites":
        assert counted == {"CancelInvite": 1}
    else:
        assert (counted["ReadUser"], counted["RemoveUser"]) == (1, 1)
    await life.told("jane", "Canceled")


async def test_canceling_a_canceled_invitation_is_a_success(life: Life) -> None:
    """Cancel: a 404 is the wanted result."""
    await invited(life, deletionPolicy="Cancel")
    await life.people("decline", JANE)
    await life.delete("jane")
    await life.gone("jane")


async def test_revoke_removes_a_person_who_has_just_accepted(life: Life) -> None:
    """Revoke, and the invitation was accepted a moment ago.

    After the 404 the operator reads again and removes the member.
    """
    await invited(life, deletionPolicy="Revoke")
    await life.people("accept", JANE)
    await life.delete("jane")
    await life.gone("jane")
    assert not await kept(life)
    await life.told("jane", "MemberRevoked")


@BOTH
async def test_cancel_leaves_a_person_who_has_just_accepted(life: Life) -> None:
    """Cancel, and the invitation was accepted a moment ago: the member stays."""
    await invited(life, deletionPolicy="Cancel")
    await life.people("accept", JANE)
    await life.delete("jane")
    await life.gone("jane")
    assert await kept(life)


@BOTH
@pytest.mark.parametrize(("policy", "stays"), [("Cancel", True), ("Revoke", False)])
async def test_a_member_is_removed_only_by_revoke(life: Life, policy: str, *, stays: bool) -> None:
    """A member loses access only if the policy is Revoke."""
    await invited(life, deletionPolicy=policy)
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    await life.delete("jane")
    await life.gone("jane")
    assert await kept(life) is stays


@BOTH
async def test_a_deleted_secret_is_no_obstacle_while_its_credentials_are_in_memory(life: Life) -> None:
    """The Secret was deleted first: the credentials last used still cancel."""
    await invited(life, deletionPolicy="Cancel")
    await life.drop_secret()
    await life.move(seconds=61)
    await life.delete("jane")
    await life.gone("jane")
    assert not await kept(life)


@BOTH
async def test_a_deleted_secret_delays_an_object_for_a_minute(life: Life) -> None:
    """The Secret is gone and its credentials are not in memory.

    After a minute the object is finalized, with a warning.
    """
    await invited(life, deletionPolicy="Cancel")
    await life.stop()
    await life.drop_secret()
    await life.start()
    await life.delete("jane")
    await life.reaches("jane", "SecretNotFound")
    await life.move(seconds=61)
    await life.gone("jane")
    assert await kept(life)
    await life.told("jane", "OrphanedInvitation", "Warning")


@BOTH
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 401, "errorCode": "UNAUTHORIZED", "challenges": True}, "CredentialsRejected"),
        ({"status": 403, "errorCode": "USER_UNAUTHORIZED"}, "Forbidden"),
        ({"status": 400, "errorCode": "VALIDATION_ERROR"}, "InvalidRequest"),
    ],
)
async def test_a_refusal_is_tried_for_ten_minutes(life: Life, answer: dict[str, object], reason: str) -> None:
    """401, 403, other 4xx: tried for ten minutes, then the object is finalized, with a warning."""
    await invited(life, deletionPolicy="Cancel")
    await life.fault(kind="status", count=None, **answer)
    await life.delete("jane")
    await life.reaches("jane", reason)
    await life.move(minutes=9)
    await life.quiet()
    assert await life.get("jane") is not None
    await life.move(minutes=2)
    await life.gone("jane")
    assert await kept(life)
    await life.told("jane", "OrphanedInvitation", "Warning")


@BOTH
async def test_the_ten_minutes_begin_with_the_operator(life: Life) -> None:
    """Deleted while no operator ran, a quarter of an hour before one starts: one refusal does not end it."""
    await invited(life, deletionPolicy="Cancel")
    await life.stop()
    await life.delete("jane")
    await life.move_clock(minutes=15)
    await life.fault(kind="status", count=None, status=403, errorCode="USER_UNAUTHORIZED")
    await life.start()
    await life.reaches("jane", "Forbidden")
    await life.move(minutes=9)
    await life.quiet()
    assert await life.get("jane") is not None
    await life.lever("DELETE", "/faults")
    await life.move(minutes=1)
    await life.gone("jane")
    assert not await kept(life)


@BOTH
async def test_a_secret_that_is_restored_after_the_start_is_used(life: Life) -> None:
    """Deleted while no operator ran, and the Secret is back within a minute of the start.

    The invitation is canceled.
    """
    await invited(life, deletionPolicy="Cancel")
    await life.stop()
    await life.drop_secret()
    await life.delete("jane")
    await life.move_clock(minutes=15)
    await life.start()
    await life.reaches("jane", "SecretNotFound")
    await life.put_secret()
    await life.move(seconds=61)
    await life.gone("jane")
    assert not await kept(life)
    await life.told("jane", "Canceled")


async def test_a_legacy_invitation_is_tried_for_ten_minutes(life: Life) -> None:
    """Sent by the Invites API, now in users mode: it cannot be canceled; after ten minutes the object is finalized."""
    await invited(life, deletionPolicy="Cancel")
    await life.restart(api="users")
    await life.delete("jane")
    await life.reaches("jane", "LegacyInvitation")
    await life.move(minutes=11)
    await life.gone("jane")
    assert await kept(life)


@BOTH
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "errorCode": "RATE_LIMITED"},
        {"kind": "status", "status": 409, "errorCode": "USER_ALREADY_IN_GROUP"},
        {"kind": "reset"},
    ],
    ids=["503", "429", "409", "reset"],
)
async def test_an_outage_delays_an_object_until_it_ends(life: Life, fault: dict[str, object]) -> None:
    """Atlas unavailable, rate limited, in conflict.

    The finalizer stays however long it takes, and then the cancellation succeeds.
    """
    await invited(life, deletionPolicy="Cancel")
    await life.fault(count=None, **fault)
    await life.delete("jane")
    await life.until("status reports an outage", lambda: _retrying(life))
    await life.move(hours=2)
    await life.quiet()
    assert await life.get("jane") is not None
    await life.lever("DELETE", "/faults")
    await life.move(minutes=16)
    await life.gone("jane")
    assert not await kept(life)


@BOTH
async def test_force_delete_finalizes_after_one_try(life: Life) -> None:
    """Annotated with force-delete: one try, then the object is finalized, with a warning."""
    await invited(life, deletionPolicy="Cancel")
    await life.fault(kind="status", status=503, count=None)
    await life.annotate("jane", force_delete="true")
    await life.delete("jane")
    await life.gone("jane")
    assert await kept(life)
    await life.told("jane", "OrphanedInvitation", "Warning")


@BOTH
async def test_what_a_killed_operator_may_have_sent_is_left_and_warned_of(life: Life, api: str) -> None:
    """Killed before status could show what was sent, and no policy: nothing is removed, and a warning is published."""
    operation = "CreateInvite" if api == "invites" else "AddUser"
    await life.fault(kind="timeout", operations=[operation], when="after")
    await life.create("jane", username=JANE)
    await life.until("Atlas has sent it", lambda: kept(life))
    await life.stop()
    await life.delete("jane")
    await life.start()
    await life.gone("jane")
    assert await kept(life)
    await life.told("jane", "OrphanedInvitation", "Warning")


@BOTH
async def test_deleted_while_a_send_may_be_under_way(life: Life, api: str) -> None:
    """A POST got no response, and the object is deleted: what was sent is found a minute later, and canceled."""
    operation = "CreateInvite" if api == "invites" else "AddUser"
    await life.fault(kind="close", operations=[operation], when="after")
    await life.create("jane", username=JANE, deletionPolicy="Cancel", roles=[READ_ONLY, OWNER])
    await life.until("the response is lost", lambda: _retrying(life))
    assert await kept(life)
    await life.delete("jane")
    await life.move(seconds=61)
    await life.gone("jane")
    assert not await kept(life)


async def _condition(life: Life, type_: str) -> dict[str, object] | None:
    return next((c for c in (await life.status("jane"))["conditions"] if c["type"] == type_), None)


async def _retrying(life: Life) -> bool:
    status = await life.status("jane")
    return reason_of(status) in {"AtlasUnavailable", "RateLimited", "Conflict", "ConfirmingInvitation"}
