"""Requests that Atlas refuses, on the real API server: writes are withheld, reads go on."""

from __future__ import annotations

import pytest

from tests.cluster.life import CLUSTER_MANAGER, OWNER, READ_ONLY, Life
from tests.cluster.test_sending import OPERATION
from tests.cluster.test_table_a import BOTH, JANE, invited, sent


def message_of(status: dict[str, object]) -> str:
    conditions = status["conditions"]
    assert isinstance(conditions, list)
    return str(next(c["message"] for c in conditions if c["type"] == "Ready"))


@pytest.mark.parametrize(("status", "code"), [(403, "USER_UNAUTHORIZED"), (404, "GROUP_NOT_FOUND")])
async def test_a_project_that_is_refused_for_a_while_goes_on_with_the_next_resync(
    life: Life, status: int, code: str
) -> None:
    """Two refused lists, then success: nothing is read in between, and the first list that succeeds ends it."""
    reason = "Forbidden" if status == 403 else "ProjectNotFound"
    await life.fault(kind="status", status=status, errorCode=code, operations=["ListInvites"], count=2)
    await life.create("jane", username=JANE)
    await life.reaches("jane", reason)
    async with life.counting() as counted:
        await life.resync()
        await life.move(minutes=8)
        await life.quiet()
    assert set(counted) <= {"ListInvites"}
    await life.reaches("jane", reason)
    await life.resync()
    await life.reaches("jane", "Invited", origin="Created")


@BOTH
@pytest.mark.parametrize(("status", "code", "reason"), [(400, "BAD", "InvalidRequest"), (403, "NO", "Forbidden")])
async def test_a_rejected_send_is_not_repeated_and_what_is_made_by_hand_is_adopted(
    life: Life, api: str, status: int, code: str, reason: str
) -> None:
    """Six resyncs read and none sends again, also after a restart; an invitation sent by hand is adopted."""
    fault = {"kind": "status", "status": status, "errorCode": code, "detail": "jane may not be invited."}
    await life.fault(**fault, operations=[OPERATION[api]], count=None)
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        shown = await life.reaches("jane", reason)
        for _ in range(6):
            await life.move(minutes=9)
            await life.resync()
        await life.restart()
        await life.resync()
    assert sent(counted) == 1
    if status == 403:
        assert "Atlas says: jane may not be invited." in message_of(shown)
        assert "Project Owner" not in message_of(shown)
    await life.invited_by_hand(JANE, api=api.capitalize())
    await life.resync()
    await life.reaches("jane", "Invited", origin="Adopted")


@BOTH
async def test_a_person_who_leaves_the_team_is_invited_by_the_next_resync(life: Life, api: str) -> None:
    """The message says to remove the person from the team; nothing else is needed."""
    await life.people("members", JANE, via="team", roles=[READ_ONLY])
    await life.create("jane", username=JANE)
    await life.move(seconds=10)
    await life.reaches("jane", "InvalidRequest")
    await life.resync()
    await life.reaches("jane", "InvalidRequest")
    await life.lever("DELETE", f"/organization/members/{JANE}")
    await life.resync()
    await life.reaches("jane", "Invited", origin="Created")
    assert (await life.truth())["invitations" if api == "invites" else "users"]


async def test_a_conflict_while_the_lists_lag_ends_with_the_lag(life: Life) -> None:
    """The person was just invited by hand, and no list shows it yet: once one does, the invitation is adopted."""
    await life.lever("PATCH", "/settings", {"listLag": {"seconds": 8, "filtered": True}, "duplicateInvite": "conflict"})
    await life.invited_by_hand(JANE)
    await life.create("jane", username=JANE)
    await life.move(seconds=4)
    await life.reaches("jane", "InvalidRequest")
    await life.move(seconds=10)
    await life.resync()
    await life.reaches("jane", "Invited", origin="Adopted")


async def test_other_roles_than_requested_are_reported_once(life: Life) -> None:
    """Atlas drops a role and adds another: one PATCH, one status, and no more over resyncs and a restart."""
    await invited(life)
    await life.lever("PATCH", "/settings", {"droppedRoles": [OWNER], "addedRoles": ["GROUP_SEARCH_INDEX_EDITOR"]})
    async with life.counting() as counted:
        await life.edit("jane", roles=[OWNER, READ_ONLY])
        status = await life.reaches("jane", "RolesDiffer", state="Pending")
        before = await life.get("jane")
        for _ in range(3):
            await life.move(minutes=11)
            await life.resync()
        await life.restart()
        await life.resync()
    assert counted["UpdateInvite"] == 1
    assert before == await life.get("jane")
    asked, shown = f"Requested: {OWNER}, {READ_ONLY}.", f"Atlas shows: {READ_ONLY}, GROUP_SEARCH_INDEX_EDITOR."
    assert asked in message_of(status)
    assert shown in message_of(status)
    await life.lever("PATCH", "/settings", {"droppedRoles": [], "addedRoles": []})
    await life.annotate("jane", reconcile_requested_at="now")
    await life.reaches("jane", "Invited", state="Pending")
    assert await life.roles_of(JANE) == [OWNER, READ_ONLY]


async def test_a_role_change_with_an_empty_response_is_confirmed(life: Life) -> None:
    """200 and no body: the lists show whether it was done, and no second PATCH is sent."""
    await invited(life)
    await life.fault(kind="empty", operations=["UpdateInvite"], when="after")
    async with life.counting() as counted:
        await life.edit("jane", roles=[OWNER])
        await life.move(seconds=5)
        await life.reaches("jane", "Invited")
    assert counted["UpdateInvite"] == 1
    assert await life.roles_of(JANE) == [OWNER]


async def test_the_text_of_a_failure_is_renewed_on_request(life: Life) -> None:
    """Atlas names another address now: a request to reconcile shows it."""
    await invited(life)
    refused = {
        "kind": "status",
        "status": 403,
        "errorCode": "IP_ADDRESS_NOT_ON_ACCESS_LIST",
        "operations": ["ListInvites"],
    }
    await life.fault(**refused, detail="IP address 192.0.2.1 is not on the access list.", count=2)
    await life.fault(**refused, detail="IP address 192.0.2.2 is not on the access list.", count=None)
    await life.resync()
    status = await life.reaches("jane", "Forbidden")
    assert "192.0.2.1" in status["error"]["detail"]
    await life.annotate("jane", reconcile_requested_at="now")
    status = await life.reaches("jane", "Forbidden", lastHandledReconcileAt="now")
    assert "192.0.2.2" in status["error"]["detail"]


REJECTED = "GROUP_MODEL_OWNER"
WORDS = f"Atlas says: An invalid enumeration value {REJECTED} was specified. Correct the spec"


@BOTH
async def test_a_role_that_atlas_rejects_is_reported_with_atlass_message(life: Life, api: str) -> None:
    """Nothing is sent again until the spec changes; without the role the invitation is sent."""
    await life.lever("PATCH", "/settings", {"unknownRoles": [REJECTED]})
    async with life.counting() as counted:
        await life.create("jane", username=JANE, roles=[READ_ONLY, REJECTED])
        status = await life.reaches("jane", "InvalidRequest")
        await life.resync()
    assert sent(counted) == 1
    assert WORDS in message_of(status)
    assert (status["error"]["operation"], status["error"]["errorCode"]) == (OPERATION[api], "INVALID_ENUM_VALUE")
    await life.edit("jane", roles=[READ_ONLY])
    await life.move(seconds=61)
    await life.reaches("jane", "Invited", origin="Created")


@BOTH
async def test_a_pending_invitation_keeps_its_roles_if_atlas_rejects_one(life: Life) -> None:
    """A change of roles that Atlas rejects removes nothing."""
    await invited(life)
    await life.lever("PATCH", "/settings", {"unknownRoles": [REJECTED]})
    await life.edit("jane", roles=[OWNER, REJECTED])
    status = await life.reaches("jane", "InvalidRequest", state="Pending")
    assert WORDS in message_of(status)
    assert READ_ONLY in (await life.roles_of(JANE) or [])


@BOTH
async def test_a_managed_member_keeps_the_roles_if_atlas_rejects_one(life: Life) -> None:
    """Roles are added before others are removed: if Atlas rejects a role, the member loses nothing."""
    await invited(life, memberPolicy="Manage")
    await life.people("accept", JANE)
    await life.resync()
    await life.lever("PATCH", "/settings", {"unknownRoles": [REJECTED]})
    await life.edit("jane", roles=[REJECTED])
    status = await life.reaches("jane", "InvalidRequest", state="Accepted")
    assert WORDS in message_of(status)
    assert await life.roles_of(JANE) == [READ_ONLY]


FUTURE = "GROUP_FUTURE_2030_ROLE"


@BOTH
@pytest.mark.parametrize("policy", ["Observe", "Manage"])
async def test_a_member_with_a_role_that_the_crd_does_not_list(life: Life, policy: str) -> None:
    """A role is a name: Observe reports an unlisted one and leaves it, Manage removes it like any other."""
    await life.people("members", JANE, roles=[READ_ONLY, FUTURE, CLUSTER_MANAGER])
    await life.create("jane", username=JANE, roles=[READ_ONLY, OWNER], memberPolicy=policy)
    if policy == "Observe":
        status = await life.reaches("jane", "RolesDiffer", state="Accepted")
        assert FUTURE in message_of(status)
        assert status["member"]["roles"] == [CLUSTER_MANAGER, FUTURE, READ_ONLY]
        assert await life.roles_of(JANE) == [CLUSTER_MANAGER, FUTURE, READ_ONLY]
    else:
        status = await life.reaches("jane", "Accepted", state="Accepted")
        assert status["member"]["roles"] == [OWNER, READ_ONLY]
        assert await life.roles_of(JANE) == [OWNER, READ_ONLY]
