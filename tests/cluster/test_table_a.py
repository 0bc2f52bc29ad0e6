"""Every row of Table A on the real API server, in both of Atlas's APIs where it applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.life import CLUSTER_MANAGER, OWNER, READ_ONLY, has_finalizer, reason_of

if TYPE_CHECKING:
    from tests.cluster.life import Life

JANE = "jane@example.com"
BOTH = pytest.mark.parametrize("api", ["invites", "users"])
SENDS = {"CreateInvite", "AddUser"}
API_OF = {"invites": "Invites", "users": "Users"}


def sent(counted: dict[str, int]) -> int:
    return sum(counted.get(operation, 0) for operation in SENDS)


async def invited(life: Life, name: str = "jane", **spec: object) -> None:
    """Create an object by e-mail, and wait until its invitation is sent."""
    await life.create(name, **({"username": JANE} | spec))
    await life.reaches(name, "Invited", state="Pending", origin="Created")


@BOTH
async def test_nothing_and_never_had_one_by_email_is_sent(life: Life, api: str) -> None:
    """No invitation exists: one is sent, with the spec's roles, for an object that has our finalizer."""
    async with life.counting() as counted:
        await life.create("jane", username=JANE, roles=[READ_ONLY, OWNER])
        status = await life.reaches("jane", "Invited", state="Pending", origin="Created")
    assert sent(counted) == 1
    assert sum(counted.values()) == (3 if api == "invites" else 2)
    assert await life.roles_of(JANE) == sorted([READ_ONLY, OWNER])
    assert status["invitation"]["api"] == API_OF[api]
    assert status["atlas"]["api"] == API_OF[api]
    found = await life.get("jane")
    assert found is not None
    assert has_finalizer(found)


@BOTH
async def test_a_person_in_the_organization_is_accepted_at_once(life: Life, api: str) -> None:
    """A person in the organization needs no e-mail: the response, or the next read, shows Accepted."""
    await life.lever("POST", "/organization/members", {"username": JANE})
    await life.create("jane", username=JANE)
    if api == "invites":
        await life.reaches("jane", "Invited", origin="Created")
        await life.resync()
    status = await life.reaches("jane", "Accepted", state="Accepted", origin="Created")
    assert status["member"]["orgMembershipStatus"] == "ACTIVE"


@BOTH
async def test_pending_with_equal_roles_is_adopted(life: Life, api: str) -> None:
    """An existing invitation is adopted, and nothing is sent or changed."""
    by_hand = await life.invited_by_hand(JANE, api=API_OF[api])
    async with life.counting() as counted:
        await life.create("jane", username="Jane@Example.com")
        status = await life.reaches("jane", "Invited", state="Pending", origin="Adopted")
    assert status["invitation"]["id"] == by_hand["id"]
    assert set(counted) <= {"ListInvites", "ListUsers"}
    await life.told("jane", "InvitationAdopted")


@BOTH
async def test_pending_with_other_roles_is_changed(life: Life, api: str) -> None:
    """The roles of a pending invitation become the spec's: one PATCH, or role by role, adding before removing."""
    await invited(life)
    async with life.counting() as counted:
        await life.edit("jane", roles=[OWNER, CLUSTER_MANAGER])
        await life.reaches("jane", "Invited", state="Pending")
    assert await life.roles_of(JANE) == sorted([OWNER, CLUSTER_MANAGER])
    if api == "invites":
        assert counted == {"UpdateInvite": 1}
    else:
        assert (counted["AddRole"], counted["RemoveRole"], counted["ReadUser"]) == (2, 1, 1)


async def test_pending_of_the_users_api_is_pending_in_the_invites_api_too(life: Life) -> None:
    """What another tool sent through the Users API is pending like an invitation, and its roles are kept in sync."""
    await life.invited_by_hand(JANE, api="Users")
    await life.create("jane", username=JANE, roles=[OWNER])
    status = await life.reaches("jane", "Invited", state="Pending", origin="Adopted")
    assert status["invitation"]["api"] == "Users"
    assert await life.roles_of(JANE) == [OWNER]


async def test_pending_for_another_person_is_left(life: Life) -> None:
    """An id and an e-mail of different people: nothing is changed, and nothing about the other person is shown."""
    by_hand = await life.invited_by_hand("bob@example.com")
    await life.create("jane", username=JANE, invitationId=by_hand["id"], roles=[OWNER])
    status = await life.reaches("jane", "IdentityMismatch")
    assert "invitation" not in status
    assert "bob@example.com" not in str(status)
    assert await life.roles_of("bob@example.com") == [READ_ONLY]


@BOTH
async def test_member_with_equal_roles_is_accepted(life: Life, api: str) -> None:
    """Acceptance is a success, found by the resync, and reported once."""
    await invited(life)
    await life.people("accept", JANE)
    await life.resync()
    status = await life.reaches("jane", "Accepted", state="Accepted")
    assert status["member"]["roles"] == [READ_ONLY]
    assert status["invitation"]["api"] == API_OF[api]
    await life.told("jane", "Accepted")


@BOTH
async def test_member_with_other_roles_is_observed(life: Life) -> None:
    """With Observe a member's roles are not changed, and the difference is listed."""
    await invited(life)
    await life.people("accept", JANE)
    await life.resync()
    await life.edit("jane", roles=[OWNER])
    status = await life.reaches("jane", "RolesDiffer", state="Accepted")
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"
    assert OWNER in ready["message"]
    assert READ_ONLY in ready["message"]
    assert await life.roles_of(JANE) == [READ_ONLY]


@BOTH
async def test_member_with_other_roles_is_managed(life: Life) -> None:
    """With Manage a member's roles become the spec's."""
    await invited(life, memberPolicy="Manage")
    await life.people("accept", JANE)
    await life.resync()
    await life.edit("jane", roles=[OWNER, CLUSTER_MANAGER])
    await life.reaches("jane", "Accepted", state="Accepted")
    assert await life.roles_of(JANE) == sorted([OWNER, CLUSTER_MANAGER])


@BOTH
@pytest.mark.parametrize("policy", ["Never", "OnExpiry"])
async def test_a_removed_member_is_never_invited_again(life: Life, policy: str) -> None:
    """A member who was removed is never invited again, with any policy."""
    await invited(life, reinvitePolicy=policy)
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    await life.people("remove", JANE)
    async with life.counting() as counted:
        await life.resync()
        await life.reaches("jane", "MemberRemoved", state="Removed")
        await life.move(days=60)
        await life.resync()
        await life.restart()
        await life.edit("jane", roles=[OWNER])
        await life.reaches("jane", "MemberRemoved", state="Removed")
    assert sent(counted) == 0


@BOTH
@pytest.mark.parametrize("policy", ["Never", "OnExpiry"])
async def test_a_declined_invitation_stays_withdrawn(life: Life, policy: str) -> None:
    """Declined, or canceled elsewhere: always Withdrawn, also after the time of its expiry."""
    await invited(life, reinvitePolicy=policy)
    await life.people("decline", JANE)
    async with life.counting() as counted:
        await life.resync()
        await life.reaches("jane", "InvitationWithdrawn", state="Withdrawn")
        await life.move(days=40)
        await life.resync()
        await life.restart()
        await life.edit("jane", roles=[OWNER])
        await life.reaches("jane", "InvitationWithdrawn", state="Withdrawn")
    assert sent(counted) == 0


@BOTH
async def test_an_expired_invitation_is_reported(life: Life) -> None:
    """30 days without a response: Expired; with Never nothing is sent."""
    await invited(life)
    async with life.counting() as counted:
        await life.move(days=30, seconds=1)
        await life.reaches("jane", "InvitationExpired", state="Expired")
        await life.told("jane", "Expired")
        await life.restart()
    assert sent(counted) == 0


@BOTH
async def test_an_expired_invitation_is_sent_again_on_expiry(life: Life) -> None:
    """With OnExpiry it is sent again, with a new expiry, and only one is alive at any time."""
    await invited(life, reinvitePolicy="OnExpiry")
    first = await life.status("jane")
    async with life.counting() as counted:
        await life.move(days=30, seconds=1)
        await life.reaches("jane", "ConfirmingInvitation")
        await life.move(seconds=61)
        status = await life.reaches("jane", "Invited", state="Pending", origin="Created")
    assert sent(counted) == 1
    assert status["invitation"]["expiresAt"] > first["invitation"]["expiresAt"]


@BOTH
async def test_on_expiry_waits_for_a_day_since_the_last_send(life: Life) -> None:
    """An invitation that expired within a day of its send is sent again only after that day, also over restarts."""
    await invited(life, reinvitePolicy="OnExpiry")
    await life.people("expire", JANE)
    ended = "InvitationExpired" if life.api == "users" else "InvitationWithdrawn"
    async with life.counting() as counted:
        await life.resync()
        await life.reaches("jane", ended)
        await life.restart()
        await life.move(hours=23)
        await life.resync()
    assert sent(counted) == 0
    if life.api == "users":
        async with life.counting() as counted:
            await life.move(hours=2)
            await life.resync()
            await life.reaches("jane", "ConfirmingInvitation")
            await life.move(seconds=61)
            await life.reaches("jane", "Invited", state="Pending")
        assert sent(counted) == 1


async def test_a_legacy_invitation_is_not_visible_in_users_mode(life: Life) -> None:
    """Sent by the Invites API, before its end, now in users mode: counts as pending; nobody is invited twice."""
    await invited(life)
    async with life.counting() as counted:
        await life.restart(api="users")
        await life.annotate("jane", reconcile_requested_at="1")
        status = await life.until("handled", lambda: _handled(life, "1"))
        assert reason_of(status) == "Invited"
        assert status["state"] == "Pending"
        await life.edit("jane", roles=[OWNER])
        await life.reaches("jane", "LegacyInvitation", state="Pending")
        await life.edit("jane", roles=[READ_ONLY])
        await life.reaches("jane", "Invited", state="Pending")
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted", state="Accepted")
    assert sent(counted) == 0


async def _handled(life: Life, request: str) -> dict[str, object] | None:
    status = await life.status("jane")
    return status if status.get("lastHandledReconcileAt") == request else None


@BOTH
async def test_an_unknown_id_is_never_created(life: Life) -> None:
    """By id, and Atlas has none: InvitationNotFound; nothing is sent, with or without an e-mail."""
    async with life.counting() as counted:
        await life.create("id", invitationId="a" * 24)
        await life.create("both", invitationId="b" * 24, username=JANE)
        await life.reaches("id", "InvitationNotFound", state="Unknown")
        await life.reaches("both", "InvitationNotFound", state="Unknown")
    assert sent(counted) == 0


async def test_by_id_and_email_what_is_pending_for_the_email_is_adopted(life: Life) -> None:
    """Both given, and the id is gone: an invitation that is pending for the e-mail is adopted."""
    by_hand = await life.invited_by_hand(JANE)
    await life.create("jane", invitationId="b" * 24, username=JANE, roles=[OWNER])
    status = await life.reaches("jane", "Invited", origin="Adopted")
    assert status["invitation"]["id"] == by_hand["id"]
    assert await life.roles_of(JANE) == [OWNER]


async def test_an_object_by_id_never_switches_to_another_id(life: Life) -> None:
    """With only an id, canceled and invited again by hand: the object keeps its id."""
    first = await life.invited_by_hand(JANE)
    await life.create("jane", invitationId=first["id"])
    await life.reaches("jane", "Invited")
    await life.people("decline", JANE)
    await life.invited_by_hand(JANE)
    await life.resync()
    status = await life.reaches("jane", "InvitationWithdrawn", state="Withdrawn")
    assert status["invitation"]["id"] == first["id"]


@BOTH
async def test_a_new_id_under_the_same_email_is_adopted(life: Life, api: str) -> None:
    """By e-mail: an invitation that was canceled and sent again by hand is adopted, with its own id."""
    await invited(life)
    await life.people("decline", JANE)
    again = await life.invited_by_hand(JANE, api=API_OF[api])
    await life.resync()
    status = await life.reaches("jane", "Invited", state="Pending", origin="Adopted")
    assert status["invitation"]["id"] == again["id"]


@BOTH
async def test_an_invalid_request_is_not_repeated(life: Life, api: str) -> None:
    """A rejected request is not repeated over resyncs and restarts.

    It is repeated if the spec or the Secret changes, or on request.
    """
    operation = "CreateInvite" if api == "invites" else "AddUser"
    await life.fault(kind="status", operations=[operation], status=400, errorCode="INVALID_ATTRIBUTE", count=2)
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        status = await life.reaches("jane", "InvalidRequest")
        await life.resync()
        await life.move(seconds=61)
        await life.quiet()
        await life.restart()
        await life.quiet()
    assert counted.get(operation) == 1
    assert status["error"]["errorCode"] == "INVALID_ATTRIBUTE"
    assert status["error"]["operation"] == operation
    await life.annotate("jane", reconcile_requested_at="now")
    await life.until("asked again", lambda: _handled(life, "now"))
    await life.move(seconds=61)
    await life.quiet()
    await life.edit("jane", roles=[OWNER])
    await life.move(seconds=61)
    status = await life.reaches("jane", "Invited")
    assert "error" not in status
