"""Identity on the real API server: renamed members, other people under an old e-mail, odd entries."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.life import OWNER, READ_ONLY, Life
from tests.cluster.test_table_a import JANE, invited

RENAMED = "jane.doe@example.com"


async def accepted(life: Life, **spec: Any) -> str:  # noqa: ANN401 - the spec as JSON
    """Let jane accept, and return her user id."""
    await invited(life, **spec)
    await life.people("accept", JANE)
    await life.resync()
    status = await life.reaches("jane", "Accepted")
    return str(status["member"]["id"])


async def rename(life: Life, old: str, new: str) -> None:
    await life.lever("PATCH", f"/organization/members/{old}", {"username": new})


async def members(life: Life) -> dict[str, list[str]]:
    """Return the roles of every member, by e-mail."""
    held = await life.truth()
    return {u["username"]: sorted(u["roles"]) for u in held["users"] if u["orgMembershipStatus"] == "ACTIVE"}


async def test_a_renamed_member_is_the_same_member(life: Life) -> None:
    """The login e-mail changes and another person joins under the old one.

    The operator manages and revokes the member who accepted.
    """
    member_id = await accepted(life, memberPolicy="Manage", deletionPolicy="Revoke")
    await rename(life, JANE, RENAMED)
    await life.people("members", JANE, roles=[OWNER])
    await life.resync()
    await life.edit("jane", roles=[READ_ONLY, "GROUP_CLUSTER_MANAGER"])
    status = await life.reaches("jane", "Accepted")
    assert (status["member"]["id"], status["member"]["username"]) == (member_id, RENAMED)
    assert await members(life) == {RENAMED: ["GROUP_CLUSTER_MANAGER", READ_ONLY], JANE: [OWNER]}
    await life.delete("jane")
    await life.gone("jane")
    assert await members(life) == {JANE: [OWNER]}


async def test_another_person_under_the_email_is_never_changed(life: Life) -> None:
    """The member leaves, another person joins under the e-mail: reported, not managed, not revoked."""
    member_id = await accepted(life, memberPolicy="Manage", deletionPolicy="Revoke")
    await rename(life, JANE, RENAMED)
    await life.people("remove", RENAMED)
    await life.people("members", JANE, roles=[OWNER])
    await life.resync()
    status = await life.reaches("jane", "IdentityMismatch", state="Removed")
    assert status["member"]["id"] == member_id
    await life.edit("jane", roles=[READ_ONLY, "GROUP_CLUSTER_MANAGER"])
    await life.reaches("jane", "IdentityMismatch")
    await life.delete("jane")
    await life.gone("jane")
    assert await members(life) == {JANE: [OWNER]}


async def test_a_person_removed_and_invited_again_by_hand_is_managed_again(life: Life) -> None:
    """A later invitation under the e-mail is adopted, and its acceptance observed."""
    await life.lever("PATCH", "/settings", {"memberInvite": "pending"})
    await accepted(life)
    await life.people("remove", JANE)
    await life.resync()
    await life.reaches("jane", "MemberRemoved")
    await life.invited_by_hand(JANE)
    await life.resync()
    await life.reaches("jane", "Invited", state="Pending")
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted", state="Accepted")


@pytest.mark.parametrize(
    "override",
    [
        {"attributes": {"username": "jane@xn--bcher-kva.example"}},
        {"attributes": {"username": "somebody.else@example.com"}},
        {"without": ["username"], "operations": ["CreateInvite"]},
    ],
    ids=["punycode", "another-form", "left-out"],
)
@pytest.mark.parametrize("policy", [None, "Cancel"])
async def test_an_invitation_that_the_object_sent_is_its_own(
    life: Life, override: dict[str, Any], policy: str | None
) -> None:
    """With any e-mail that Atlas shows for it: settled, not sent again, and canceled by the deletion."""
    email = "jane@bücher.example"
    await life.lever("POST", "/overrides", {"username": email, **override})
    await life.create("jane", username=email, **({"deletionPolicy": policy} if policy else {}))
    await life.reaches("jane", "Invited", origin="Created")
    await life.restart()
    await life.resync()
    await life.reaches("jane", "Invited", origin="Created")
    assert (await life.calls())["CreateInvite"] == 1
    await life.delete("jane")
    await life.gone("jane")
    assert (await life.truth())["invitations"] == []


async def test_an_invitation_by_id_that_the_list_does_not_show_still_exists(life: Life) -> None:
    """The list lags, and the same e-mail is pending in the Users API: the id is read before anything is reported."""
    await life.invited_by_hand(JANE, api="Users")
    await life.lever("PATCH", "/settings", {"listLag": {"seconds": 600}})
    by_hand = await life.invited_by_hand(JANE)
    async with life.counting() as counted:
        await life.create("jane", invitationId=by_hand["id"])
        await life.reaches("jane", "Invited", origin="Adopted")
    assert counted["ReadInvite"] == 1


@pytest.mark.parametrize(
    "unreadable",
    [
        {"createdAt": 1754795093},
        {"links": [None]},
        {"roles": [{"roleName": OWNER}]},
        {"id": 7},
        {"username": 7},
    ],
    ids=lambda unreadable: next(iter(unreadable)),
)
@pytest.mark.parametrize("by", ["Invites", "Users"])
async def test_another_persons_unreadable_entry_stops_nothing(life: Life, unreadable: dict[str, Any], by: str) -> None:
    """A new object invites, a settled one stays settled, and one whose invitation is withdrawn reports that."""
    await invited(life)
    await life.invited_by_hand("joe@example.com", api=by)
    await life.lever("POST", "/overrides", {"username": "joe@example.com", "attributes": unreadable})
    await life.create("ann", username="ann@example.com")
    await life.reaches("ann", "Invited", origin="Created")
    await life.resync()
    await life.reaches("jane", "Invited")
    await life.people("decline", JANE)
    await life.resync()
    await life.reaches("jane", "InvitationWithdrawn")


async def test_an_unreadable_entry_of_the_object_is_never_reported_gone(life: Life) -> None:
    """The object's own entry cannot be read in any list: nothing is concluded, and nothing is sent."""
    await life.invited_by_hand(JANE)
    await life.lever("POST", "/overrides", {"username": JANE, "attributes": {"id": {"$oid": "1"}}})
    await life.create("jane", username=JANE)
    await life.reaches("jane", "AtlasUnavailable")
    await life.lever("DELETE", "/overrides")
    await life.move(minutes=6)
    await life.reaches("jane", "Invited", origin="Adopted")
    assert "CreateInvite" not in await life.calls()
