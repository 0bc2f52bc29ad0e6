"""Two objects that name the same invitation, in one namespace and across them, on the real API server."""

from __future__ import annotations

import pytest

from tests.cluster.life import OWNER, READ_ONLY, Life
from tests.cluster.test_table_a import JANE, invited, sent


async def message(life: Life, name: str) -> str:
    conditions = (await life.status(name))["conditions"]
    return str(next(c["message"] for c in conditions if c["type"] == "Ready"))


async def test_the_older_object_keeps_it_and_the_younger_reports_it(life: Life) -> None:
    """Of two in one namespace the younger is DuplicateInvite, names the older, and changes nothing in Atlas."""
    await invited(life)
    async with life.counting() as counted:
        await life.create_younger("younger", username=JANE.upper(), roles=[OWNER], memberPolicy="Manage")
        status = await life.reaches("younger", "DuplicateInvite")
    assert sent(counted) == 0
    assert "invitation" not in status
    assert "jane" in await message(life, "younger")
    assert await life.roles_of(JANE) == [READ_ONLY]


async def test_an_id_and_an_email_name_the_same_invitation(life: Life) -> None:
    """One object by e-mail and one by the id of the same invitation: the younger is the duplicate."""
    await invited(life)
    id_ = (await life.status("jane"))["invitation"]["id"]
    await life.create_younger("by-id", invitationId=id_, roles=[OWNER])
    await life.reaches("by-id", "DuplicateInvite")
    assert await life.roles_of(JANE) == [READ_ONLY]


async def test_two_objects_created_at_once_send_one_invitation(life: Life) -> None:
    """Applied together: one sends, the other reports that it does not."""
    async with life.counting() as counted:
        for name in ("one", "two", "three"):
            await life.create(name, username=JANE)

        async def one_holds() -> bool:
            conditions = [(await life.status(name)).get("conditions", []) for name in ("one", "two", "three")]
            reasons = sorted(c["reason"] for found in conditions for c in found if c["type"] == "Ready")
            return reasons == ["DuplicateInvite", "DuplicateInvite", "Invited"]

        await life.until("one holds it", one_holds)
    assert sent(counted) == 1


async def test_the_younger_object_takes_over_the_invitation(life: Life) -> None:
    """The older object is deleted: the younger inherits the invitation, and its roles count from then on."""
    await invited(life, deletionPolicy="Cancel")
    await life.create_younger("younger", username=JANE, roles=[OWNER])
    await life.reaches("younger", "DuplicateInvite")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
        await life.reaches("younger", "Invited", origin="Created")
    assert sent(counted) == 0
    assert await life.roles_of(JANE) == [OWNER]


@pytest.mark.parametrize("trouble", [False, True])
async def test_the_younger_object_sends_nothing_new_when_it_takes_over(life: Life, *, trouble: bool) -> None:
    """The older object is deleted, and its invitation is gone too.

    The younger does not invite, whatever happens meanwhile.
    """
    await invited(life)
    await life.create_younger("younger", username=JANE)
    await life.reaches("younger", "DuplicateInvite")
    await life.people("decline", JANE)
    await life.resync()
    await life.reaches("jane", "InvitationWithdrawn")
    async with life.counting() as counted:
        if trouble:
            await life.fault(kind="status", status=503, count=None)
        await life.delete("jane")
        if trouble:
            await life.reaches("younger", "AtlasUnavailable")
            await life.lever("DELETE", "/faults")
            await life.restart()
            await life.move(minutes=10)
        await life.gone("jane")
        await life.reaches("younger", "InvitationWithdrawn", state="Withdrawn")
        await life.edit("younger", roles=[OWNER])
        await life.reaches("younger", "InvitationWithdrawn", state="Withdrawn")
        await life.move(minutes=10)
        await life.resync()
    assert sent(counted) == 0


async def test_an_object_that_cannot_read_the_project_claims_nothing(life: Life) -> None:
    """An older object whose credentials do not see the project prevents no other from inviting."""
    await life.lever("POST", "/credentials", {"kind": "apiKey", "id": "other", "secret": "other-key", "projects": []})
    await life.put_secret("stranger", publicApiKey="other", privateApiKey="other-key")
    await life.create("stranger", username=JANE, connectionSecretRef={"name": "stranger"})
    await life.reaches("stranger", "Forbidden")
    await life.create("jane", username=JANE)
    await life.reaches("jane", "Invited", origin="Created")


async def test_an_older_object_whose_secret_comes_late_gets_the_invitation(life: Life) -> None:
    """The older had no Secret, so the younger invited; with its Secret the older adopts, and the younger waits."""
    await life.create("older", username=JANE, connectionSecretRef={"name": "late"})
    await life.reaches("older", "SecretNotFound")
    await life.create_younger("younger", username=JANE)
    await life.reaches("younger", "Invited", origin="Created")
    async with life.counting() as counted:
        await life.put_secret("late")
        await life.move(seconds=61)
        await life.reaches("older", "Invited", origin="Adopted")
        await life.reaches("younger", "DuplicateInvite")
    assert sent(counted) == 0


async def test_claims_hold_across_namespaces_without_names(life: Life, namespace_b: str) -> None:
    """The older keeps it over two namespaces too; the younger does not show which object of another namespace it is."""
    life.also = (namespace_b,)
    await life.restart()
    other = life.of(namespace_b)
    await other.put_secret()
    await invited(life, name="secret-name")
    await other.create_younger("jane", username=JANE)
    await other.reaches("jane", "DuplicateInvite")
    said = await message(other, "jane")
    assert "secret-name" not in said
    assert life.namespace not in said
    async with life.counting() as counted:
        await life.delete("secret-name")
        await life.gone("secret-name")
        await other.reaches("jane", "Invited", origin="Created")
    assert sent(counted) == 0
    assert "CancelInvite" not in counted


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
async def test_a_duplicate_still_counts_after_a_restart(life: Life, policy: str) -> None:
    """Renamed, then a restart, then the old object is deleted: the new one is known, and nothing is removed."""
    await invited(life, deletionPolicy=policy)
    if policy == "Revoke":
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted")
    await life.create_younger("renamed", username=JANE)
    await life.reaches("renamed", "DuplicateInvite")
    await life.restart()
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
        await life.reaches("renamed", "Accepted" if policy == "Revoke" else "Invited")
    assert not set(counted) & {"CancelInvite", "RemoveUser", "CreateInvite", "AddUser"}


async def test_a_rename_while_the_operator_is_down_removes_nothing(life: Life) -> None:
    """Renamed while the operator is down for longer than a minute: the new object is read before the old one ends."""
    await invited(life, deletionPolicy="Revoke")
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    await life.stop()
    await life.create_younger("renamed", username=JANE)
    await life.delete("jane")
    await life.move_clock(minutes=5)
    async with life.counting() as counted:
        await life.start()
        await life.gone("jane")
        await life.reaches("renamed", "Accepted")
    assert "RemoveUser" not in counted


async def test_two_deleted_together_leave_what_the_older_retains(life: Life) -> None:
    """The older retains, its duplicate would cancel, and both are deleted: what the older has stays."""
    await invited(life, deletionPolicy="Retain")
    await life.create_younger("younger", username=JANE, deletionPolicy="Cancel")
    await life.reaches("younger", "DuplicateInvite")
    await life.drop_secret()
    await life.move(seconds=61)
    await life.annotate("younger", reconcile_requested_at="now")
    async with life.counting() as counted:
        for name in ("younger", "jane"):
            await life.delete(name)
        for name in ("younger", "jane"):
            await life.gone(name)
    assert "CancelInvite" not in counted
    assert await life.roles_of(JANE) == [READ_ONLY]
