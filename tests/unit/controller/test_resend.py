"""A resend that is requested by the annotation: once for each value, also over crashes, and never for a member."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.model import Api, Membership, Origin, State, Status, View
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.resource import RESEND_REQUESTED_AT
from tests.unit.builders import GROUP_ID, INVITATION_ID, KEY, OWNER, USER_ID, error, invitation, user, wire_spec
from tests.unit.controller.fakes import World
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_invites.invitation.resource import Resource

SENDS = {"CreateInvite", "AddUser"}


async def invited(api: Api = Api.INVITES, **fields: object) -> World:
    """Return a world with a settled object that has sent its own invitation."""
    world = World()
    world.atlas.api = api
    world.cluster.apply(spec=wire_spec(**fields))
    await world.turn()
    assert world.cluster.status().state is State.PENDING
    world.forget_calls()
    return world


async def asked(world: World, value: str = "once") -> Outcome:
    """Request a resend, and reconcile once."""
    world.cluster.annotate(RESEND_REQUESTED_AT, value)
    outcome = await world.turn()
    assert outcome is not None
    return outcome


def sends(world: World) -> int:
    return sum(name in SENDS for name in world.atlas.names)


def accept(world: World) -> None:
    (pending,) = world.atlas.groups[GROUP_ID].invitations
    world.atlas.accept(pending, USER_ID)


async def minute_later(world: World) -> None:
    await asyncio.sleep(61)
    await world.turn()


def live(world: World) -> int:
    group = world.atlas.groups[GROUP_ID]
    return len(group.invitations) + sum(u.org_membership_status == Membership.PENDING for u in group.users.values())


@pytest.mark.parametrize(("api", "cancels"), [(Api.INVITES, "CancelInvite"), (Api.USERS, "RemoveUser")])
@virtual_time
async def test_a_pending_invitation_is_canceled_and_sent_again(api: Api, cancels: str) -> None:
    """The old invitation ends first. Status says so before the new one goes out, and then shows the new one."""
    world = await invited(api)
    before = world.cluster.status()
    outcome = await asked(world)
    status = world.cluster.status()
    assert (outcome.reason, status.state, status.origin) == (Reason.INVITED, State.PENDING, Origin.CREATED)
    assert status.last_handled_resend_at == "once"
    assert status.invitation is not None
    assert before.invitation is not None
    assert status.invitation.id != before.invitation.id
    names = [name for name in world.atlas.names if name in SENDS or name == cancels]
    assert names == [cancels, "CreateInvite" if api is Api.INVITES else "AddUser"]
    first, last = (status for kind, _, status in world.cluster.writes if kind == "status")
    assert (first["lastHandledResendAt"], "invitation" in first, "invitation" in last) == ("once", False, True)
    assert world.events.reasons == ["Canceled", "InvitationSent"]
    assert live(world) == 1


@virtual_time
async def test_one_value_is_one_send() -> None:
    """The same value causes no other send: not with another event, a request to reconcile, or after a restart."""
    world = await invited()
    await asked(world)
    world.cluster.annotate("atlasinvites.io/reconcile-requested-at", "now")
    await world.turn()
    world.restart()
    await world.turn()
    assert sends(world) == 1
    await asked(world, "twice")
    assert sends(world) == 2


ENDED = [
    ("Withdrawn", 1, ()),
    ("Removed", 1, (user(),)),
]


@pytest.mark.parametrize(("state", "days", "members"), ENDED)
@pytest.mark.parametrize("restarts", [False, True])
@virtual_time
async def test_an_ended_invitation_is_sent_again_at_once(
    state: str, days: int, members: Sequence[object], *, restarts: bool
) -> None:
    """Nothing can have been sent since: the operator does not wait a minute, also in another process."""
    world = await invited()
    group = world.atlas.groups[GROUP_ID]
    if members:
        accept(world)
        await world.turn()
    group.invitations.clear()
    group.users.clear()
    world.atlas.time += timedelta(days=days)
    await world.turn()
    assert world.cluster.status().state == state
    if restarts:
        world.restart()
    outcome = await asked(world)
    assert (outcome.reason, outcome.state, sends(world)) == (Reason.INVITED, State.PENDING, 1)
    assert world.cluster.status().member is None


@virtual_time
async def test_an_invitation_that_was_taken_over_is_sent_after_a_minute() -> None:
    """Another object had the invitation, so it may have sent another one that Atlas does not show yet."""
    world = World()
    world.cluster.apply()
    world.cluster.put_status(Status(origin=Origin.ADOPTED, state=State.UNKNOWN))
    assert (await world.turn()).reason is Reason.INVITATION_NOT_FOUND  # type: ignore[union-attr]
    outcome = await asked(world)
    assert (outcome.reason, sends(world)) == (Reason.CONFIRMING_INVITATION, 0)
    await minute_later(world)
    assert sends(world) == 1


@virtual_time
async def test_a_member_is_left_and_an_event_says_so() -> None:
    """Nothing is sent and nothing is removed; an event says why."""
    world = await invited()
    accept(world)
    outcome = await asked(world)
    assert (outcome.reason, world.atlas.writes) == (Reason.ACCEPTED, [])
    assert world.cluster.status().last_handled_resend_at == "once"
    assert "ResendRefused" in world.events.reasons
    world.events.published.clear()
    await world.turn()
    assert world.events.reasons == []


@pytest.mark.parametrize("by", ["id", "both"])
@virtual_time
async def test_an_invitation_by_id_is_never_sent(by: str) -> None:
    """The object names one invitation: it is left unchanged, and an event says why."""
    world = World()
    pending = world.atlas.invite()
    fields = {"invitationId": INVITATION_ID} | ({"username": None} if by == "id" else {})
    world.cluster.apply(spec=wire_spec(**fields))
    await world.turn()
    world.forget_calls()
    outcome = await asked(world)
    assert (outcome.reason, world.atlas.writes, live(world)) == (Reason.INVITED, [], 1)
    assert world.atlas.groups[GROUP_ID].invitations == {pending.id: pending}
    assert world.cluster.status().last_handled_resend_at == "once"
    assert world.events.reasons == ["ResendRefused"]


@virtual_time
async def test_a_new_object_that_has_the_annotation_sends_once() -> None:
    """Restored from Git into another cluster: what is pending is adopted, not canceled."""
    world = World()
    pending = world.atlas.invite()
    world.cluster.apply(annotations={RESEND_REQUESTED_AT: "long ago"})
    outcome = await world.turn()
    assert outcome is not None
    assert (outcome.reason, world.atlas.writes) == (Reason.INVITED, [])
    assert world.cluster.status().last_handled_resend_at == "long ago"
    assert world.atlas.groups[GROUP_ID].invitations == {pending.id: pending}


@virtual_time
async def test_a_new_object_that_has_the_annotation_does_not_wait() -> None:
    """No invitation exists: the first one is sent at once, as for an object without the annotation."""
    world = World()
    world.cluster.apply(annotations={RESEND_REQUESTED_AT: "long ago"})
    assert (await world.turn()).reason is Reason.INVITED  # type: ignore[union-attr]
    assert (sends(world), live(world)) == (1, 1)


@virtual_time
async def test_a_reason_that_the_operator_does_not_know_is_no_error() -> None:
    """Another version, or a user with kubectl, wrote another reason to status: the resend goes on."""
    world = await invited()
    status = world.cluster.status()
    conditions = tuple(c.model_copy(update={"reason": "FromTheFuture"}) for c in status.conditions)
    world.cluster.put_status(status.model_copy(update={"conditions": conditions}))
    assert (await asked(world)).reason is Reason.INVITED
    assert (sends(world), live(world)) == (1, 1)


@virtual_time
async def test_an_invitation_that_ends_while_it_is_canceled_is_read_again() -> None:
    """It was accepted in this moment: another read finds the member, and nothing is sent."""
    world = await invited()
    (pending,) = world.atlas.groups[GROUP_ID].invitations
    world.atlas.faults.before("CancelInvite", lambda: world.atlas.accept(pending, USER_ID))
    outcome = await asked(world)
    assert (outcome.reason, sends(world)) == (Reason.ACCEPTED, 0)
    assert world.events.reasons == ["ResendRefused", "Accepted"]


@pytest.mark.parametrize("api", list(Api))
@virtual_time
async def test_a_list_that_lags_does_not_bring_the_canceled_one_back(api: Api) -> None:
    """The status could not be written, and the list still shows the canceled invitation: the next try still sends."""
    world = await invited(api)
    group = world.atlas.groups[GROUP_ID]
    shown: dict[str, Any] = dict(group.invitations or group.users)
    world.cluster.faults.fail("status", ClusterUnavailable("no answer"))
    world.cluster.annotate(RESEND_REQUESTED_AT, "once")
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    (group.invitations if api is Api.INVITES else group.users).update(shown)
    outcome = await world.turn()
    assert outcome is not None
    assert (outcome.reason, sends(world)) == (Reason.INVITED, 1)


@virtual_time
async def test_a_list_with_an_entry_that_cannot_be_read_is_not_trusted() -> None:
    """That entry may be another invitation of the person: after the cancellation the e-mail is fetched."""
    world = await invited()
    world.atlas.lists = View.PARTIAL
    outcome = await asked(world)
    assert (outcome.reason, sends(world)) == (Reason.INVITED, 1)
    cancel, confirm, send = (world.atlas.names.index(name) for name in ("CancelInvite", "Confirm", "CreateInvite"))
    assert cancel < confirm < send


@virtual_time
async def test_killed_before_status_says_that_it_starts_again() -> None:
    """The old one was canceled and nothing was sent: the next process sends at once."""
    world = await invited()
    world.cluster.faults.fail("status", ClusterUnavailable("no answer"))
    world.cluster.annotate(RESEND_REQUESTED_AT, "once")
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    assert (live(world), sends(world)) == (0, 0)
    world.restart()
    outcome = await world.turn()
    assert outcome is not None
    assert (outcome.reason, sends(world), live(world)) == (Reason.INVITED, 1, 1)


@pytest.mark.parametrize("worked", [False, True])
@virtual_time
async def test_killed_after_status_says_that_it_starts_again(*, worked: bool) -> None:
    """The value is handled: the next process waits until a send must be visible, and sends only if none is."""
    world = await invited()
    cut = RuntimeError("killed")
    world.atlas.faults.fail("CreateInvite", cut)
    world.cluster.annotate(RESEND_REQUESTED_AT, "once")
    with pytest.raises(RuntimeError):
        await world.turn()
    status = world.cluster.status()
    ready = status.condition(READY)
    assert (status.last_handled_resend_at, status.invitation, ready and ready.reason) == (
        "once",
        None,
        "ConfirmingInvitation",
    )
    if worked:
        world.atlas.invite()
    world.restart()
    world.forget_calls()
    outcome = await world.turn()
    assert outcome is not None
    assert (outcome.reason, sends(world)) == (Reason.INVITED if worked else Reason.CONFIRMING_INVITATION, 0)
    await minute_later(world)
    assert (live(world), sends(world)) == (1, 0 if worked else 1)


@virtual_time
async def test_a_send_without_a_response_is_confirmed_before_another() -> None:
    """A resend after an unconfirmed send waits for it, also if its value is new."""
    world = await invited()
    lost = Failure(Reason.ATLAS_UNAVAILABLE, "lost")
    lost.unanswered = True
    world.atlas.faults.fail("CreateInvite", lost)
    assert (await asked(world)).reason is Reason.ATLAS_UNAVAILABLE
    assert (await asked(world, "twice")).reason is Reason.CONFIRMING_INVITATION
    assert sends(world) == 1
    await minute_later(world)
    assert (live(world), sends(world)) == (1, 2)


@virtual_time
async def test_a_resend_is_tried_again_until_it_can_be_handled() -> None:
    """Atlas refuses the cancellation: the request stays, and the resync requeues the object."""
    world = await invited()
    world.atlas.faults.fail("CancelInvite", Failure(Reason.FORBIDDEN, "no", error=error(403)))
    assert (await asked(world)).reason is Reason.FORBIDDEN
    assert world.cluster.status().last_handled_resend_at is None
    await world.resync.resync_keys([KEY])
    assert await world.woken() == [KEY]
    assert (await world.turn()).reason is Reason.INVITED  # type: ignore[union-attr]
    assert (live(world), sends(world)) == (1, 1)


@virtual_time
async def test_a_rejected_send_is_tried_again_on_request() -> None:
    """A rejected send is not repeated, but a requested resend is a new one."""
    world = World()
    world.atlas.faults.fail(
        "CreateInvite", Failure(Reason.INVALID_REQUEST, "no", error=error(operation="CreateInvite"))
    )
    world.cluster.apply()
    assert (await world.turn()).reason is Reason.INVALID_REQUEST  # type: ignore[union-attr]
    world.restart()
    assert (await world.turn()).reason is Reason.INVALID_REQUEST  # type: ignore[union-attr]
    assert sends(world) == 1
    await asked(world)
    await minute_later(world)
    assert (sends(world), live(world)) == (2, 1)


@pytest.mark.parametrize("policy", ["Never", "OnExpiry"])
@virtual_time
async def test_an_expired_invitation_waits_a_minute(policy: str) -> None:
    """With OnExpiry an earlier process may have sent it again, and ended before status showed it."""
    world = await invited(reinvitePolicy=policy)
    world.atlas.groups[GROUP_ID].invitations.clear()
    world.atlas.time += timedelta(days=31)
    world.restart()
    assert (await asked(world)).reason is Reason.CONFIRMING_INVITATION
    assert sends(world) == 0
    await minute_later(world)
    assert sends(world) == 1


@virtual_time
async def test_what_the_ended_api_hides_is_not_sent_again() -> None:
    """Sent through the Invites API, which has ended: it may be pending, and cannot be canceled."""
    world = await invited()
    world.atlas.api = Api.USERS
    outcome = await asked(world)
    assert (outcome.reason, world.atlas.writes) == (Reason.INVITED, [])
    assert "ResendRefused" in world.events.reasons


@virtual_time
async def test_another_person_under_the_email_is_left() -> None:
    """The known member is gone; another person uses the e-mail: nothing is sent, and that person is not managed."""
    world = await invited()
    accept(world)
    await world.turn()
    world.atlas.groups[GROUP_ID].users.clear()
    world.atlas.let_in(user(id="f" * 24))
    outcome = await asked(world)
    assert (outcome.reason, world.atlas.writes) == (Reason.IDENTITY_MISMATCH, [])
    assert "ResendRefused" in world.events.reasons


@virtual_time
async def test_a_crd_that_cannot_store_the_request_cancels_and_sends_nothing() -> None:
    """With an older CRD each try would find the request unhandled, and send.

    Nothing is done until the CRD is updated.
    """
    world = await invited()
    world.cluster.unknown_fields = {"lastHandledResendAt", "rolesSummary"}
    world.cluster.put_status(world.cluster.status().model_copy(update={"roles_summary": None}))
    assert (await asked(world)).reason is Reason.INVALID_REQUEST
    for _ in range(3):
        await world.resync.resync_keys([KEY])
        assert (await world.turn()).reason is Reason.INVALID_REQUEST  # type: ignore[union-attr]
    assert (sends(world), live(world), world.atlas.writes) == (0, 1, [])
    world.cluster.unknown_fields = set()
    assert (await world.turn()).reason is Reason.INVITED  # type: ignore[union-attr]
    assert (sends(world), live(world)) == (1, 1)


@pytest.mark.parametrize("api", list(Api))
@virtual_time
async def test_another_invitation_of_the_person_is_read_again(api: Api) -> None:
    """Two are pending, one of them sent by hand: one is canceled at a time, and nothing is sent beside the other."""
    world = await invited()
    if api is Api.USERS:
        world.atlas.let_in(user(Membership.PENDING, id="e" * 24))
    else:
        world.atlas.invite(invitation(id="d" * 24))
    assert (await asked(world)).reason is Reason.CONFLICT
    assert (sends(world), live(world)) == (0, 1)
    assert (await world.turn()).reason is Reason.CONFIRMING_INVITATION  # type: ignore[union-attr]
    assert (sends(world), live(world)) == (0, 0)
    await minute_later(world)
    assert (sends(world), live(world)) == (1, 1)


@virtual_time
async def test_what_replaced_it_may_belong_to_an_object_that_cannot_be_listed() -> None:
    """A namespace was never listed, and another invitation exists after the cancellation: it is left."""
    world = World()
    world.cluster.unlisted = frozenset({"team-z"})
    world.cluster.apply()
    await world.engine.list_first()
    await world.turn()
    await minute_later(world)

    def replace() -> None:
        world.atlas.groups[GROUP_ID].invitations.clear()
        world.atlas.invite(invitation(id="d" * 24))

    world.atlas.faults.before("CancelInvite", replace)
    world.forget_calls()
    assert (await asked(world)).reason is Reason.DUPLICATE_INVITE
    assert (world.atlas.names.count("CancelInvite"), sends(world), live(world)) == (1, 0, 1)


@virtual_time
async def test_a_lost_response_to_the_status_does_not_bring_the_canceled_one_back() -> None:
    """An earlier result had not been stored either: the invitation is sent, and not treated as withdrawn."""
    world = await invited()
    world.cluster.apply(spec=wire_spec(roles=[OWNER]))
    world.cluster.faults.fail("status", ClusterUnavailable("down"))
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    world.cluster.annotate(RESEND_REQUESTED_AT, "once")
    write = world.cluster.write_status

    async def lose(resource: Resource, status: Mapping[str, Any]) -> Resource:
        world.cluster.write_status = write  # type: ignore[method-assign]
        await write(resource, status)
        raise ClusterUnavailable("lost")

    world.cluster.write_status = lose  # type: ignore[method-assign]
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    assert (await world.turn()).reason is Reason.INVITED  # type: ignore[union-attr]
    assert (sends(world), live(world)) == (1, 1)


@virtual_time
async def test_a_policy_change_does_not_hide_a_send() -> None:
    """An earlier process may have sent under OnExpiry, and the policy is Never now: the operator waits a minute."""
    world = await invited(reinvitePolicy="OnExpiry")
    world.atlas.groups[GROUP_ID].invitations.clear()
    world.atlas.time += timedelta(days=31)
    world.restart()
    world.cluster.apply(spec=wire_spec(reinvitePolicy="Never"))
    assert (await asked(world)).reason is Reason.CONFIRMING_INVITATION
    assert sends(world) == 0
