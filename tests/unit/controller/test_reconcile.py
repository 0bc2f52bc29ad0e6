"""One reconcile from start to end, with a cluster and an Atlas in memory: calls, writes, events."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.failures import ClusterUnavailable, Failure, Stale, WriteRefused
from atlas_invites.invitation.model import Api, Invitation, Membership, Operation, Origin, State, Status, View
from atlas_invites.invitation.outcome import Kind, Outcome, Reason
from atlas_invites.invitation.resource import FINALIZER, RECONCILE_REQUESTED_AT, Key
from tests.unit.builders import (
    CREATED,
    EMAIL,
    EXPIRES,
    GROUP_ID,
    INVITATION_ID,
    KEY,
    OTHER_EMAIL,
    OTHER_ID,
    OWNER,
    READER,
    SECRET,
    STREAMS,
    USER_ID,
    error,
    invitation,
    time_text,
    user,
    wire_spec,
)
from tests.unit.controller.fakes import CREDENTIALS, OTHER_CREDENTIALS, World
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.invitation.credentials import StoredCredentials
    from atlas_invites.invitation.resource import Resource

AS_OWNER = wire_spec(roles=[OWNER])


async def adopted(**spec: Any) -> World:  # noqa: ANN401 - a spec's fields
    """Return a world in which the object has adopted its pending invitation; calls are counted from here."""
    world = World()
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(**spec))
    await world.turn()
    await world.woken()
    world.forget_calls()
    return world


def ready_of(world: World, key: Key = KEY) -> tuple[str, str]:
    ready = world.cluster.status(key).condition("Ready")
    assert ready is not None
    return ready.status, ready.reason


def reason_of(outcome: Outcome | None) -> Reason:
    assert outcome is not None
    return outcome.reason


# The first reconcile.


@virtual_time
async def test_a_pending_invitation_is_adopted() -> None:
    """The operator takes over an existing invitation: two writes, the finalizer first, and no write to Atlas."""
    world = World()
    world.atlas.invite()
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.write_kinds == ["finalizer", "status"]
    assert world.atlas.writes == []
    status = world.cluster.status()
    assert status.invitation == invitation()
    assert (status.state, status.origin, status.observed_generation) == (State.PENDING, Origin.ADOPTED, 1)
    assert ready_of(world) == ("True", "Invited")
    assert status.atlas is not None
    assert status.atlas.to_wire() == {
        "api": "Invites",
        "deprecatedSince": "2023-10-04T00:00:00Z",
        "sunset": "2027-07-01T00:00:00Z",
    }


@virtual_time
async def test_nothing_is_sent_before_the_finalizer_is_on() -> None:
    """Law 2: the finalizer is written before the invitation is sent; then comes the one status write."""
    world = World()
    world.cluster.apply()
    world.cluster.faults.before("finalizer", lambda: _no_writes(world))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.write_kinds == ["finalizer", "status"]
    assert world.atlas.writes == [("CreateInvite", EMAIL, READER)]
    assert world.cluster.status().origin is Origin.CREATED


@pytest.mark.parametrize("trouble", [Stale("changed"), ClusterUnavailable("no answer")])
@pytest.mark.parametrize("there", [[], [OWNER]], ids=["nothing", "other-roles"])
@virtual_time
async def test_nothing_is_changed_without_the_finalizer(trouble: Exception, there: list[str]) -> None:
    """Law 2: if the finalizer cannot be written, Atlas is only read."""
    world = World()
    if there:
        world.atlas.invite(invitation(roles=there))
    world.cluster.apply()
    world.cluster.faults.fail("finalizer", trouble)
    with pytest.raises(type(trouble)):
        await world.turn()
    assert world.atlas.writes == []
    assert world.cluster.writes == []


@virtual_time
async def test_a_finalizer_that_was_removed_is_added_before_anything_is_changed() -> None:
    """Law 2 always holds, not only at first."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER, finalizers=[])
    world.cluster.faults.before("finalizer", lambda: _no_writes(world))
    await world.turn()
    assert world.write_kinds == ["finalizer", "status"]
    assert world.atlas.writes == [("UpdateInvite", INVITATION_ID, OWNER)]


def _no_writes(world: World) -> None:
    assert world.atlas.writes == []


@virtual_time
async def test_an_invitation_by_id_is_updated_at_first() -> None:
    """The seed's case: an existing invitation is found only by its id, and its roles are set by PATCH."""
    world = World()
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(username=None, invitationId=INVITATION_ID, roles=[OWNER, STREAMS]))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.writes == [("UpdateInvite", INVITATION_ID, OWNER, STREAMS)]
    assert world.cluster.status().invitation == invitation(roles=[OWNER, STREAMS])


@virtual_time
async def test_an_invitation_by_id_that_does_not_exist_is_never_sent() -> None:
    """With only an id, an existing invitation is updated, never created."""
    world = World()
    world.cluster.apply(spec=wire_spec(username=None, invitationId=INVITATION_ID))
    assert reason_of(await world.turn()) is Reason.INVITATION_NOT_FOUND
    assert world.atlas.writes == []
    assert ready_of(world) == ("False", "InvitationNotFound")
    assert world.cluster.status().state is State.UNKNOWN


@virtual_time
async def test_another_persons_invitation_is_left_and_not_shown() -> None:
    """IdentityMismatch: no write to Atlas, and nothing about the other person on status."""
    world = World()
    world.atlas.invite(invitation(username=OTHER_EMAIL, roles=[OWNER]))
    world.cluster.apply(spec=wire_spec(invitationId=INVITATION_ID))
    assert reason_of(await world.turn()) is Reason.IDENTITY_MISMATCH
    assert world.atlas.writes == []
    assert world.cluster.status().invitation is None
    assert OTHER_EMAIL not in str(world.cluster.objects[KEY]["status"])


@virtual_time
async def test_a_member_is_found() -> None:
    """A person who is a member already is Accepted, and status shows the member."""
    world = World()
    world.atlas.let_in(user())
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.ACCEPTED
    assert world.atlas.writes == []
    member = world.cluster.status().member
    assert member is not None
    assert member.id == USER_ID


@virtual_time
async def test_the_users_api_is_shown_on_status() -> None:
    """A pending user is an invitation of the Users API: the project's id is added, and there is no groupName."""
    world = World()
    world.atlas.api = Api.USERS
    world.atlas.let_in(user(Membership.PENDING))
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.INVITED
    kept = world.cluster.status().invitation
    assert kept is not None
    assert (kept.api, kept.group_id, kept.group_name) == (Api.USERS, GROUP_ID, None)


# What is gone.


@virtual_time
async def test_an_invitation_by_id_that_the_list_does_not_show_is_fetched() -> None:
    """The person was invited under the same e-mail through the Users API: that proves nothing about this invitation."""
    world = await adopted(username=None, invitationId=INVITATION_ID)
    world.atlas.unlisted[INVITATION_ID] = None
    world.atlas.let_in(user(Membership.PENDING))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names == ["Look", "Confirm"]
    assert world.cluster.status().state is State.PENDING


@virtual_time
async def test_nothing_is_sent_on_lists_that_cannot_be_read() -> None:
    """An entry of the lists could not be read: the e-mail itself is fetched before an invitation is sent."""
    world = World()
    world.atlas.lists = View.PARTIAL
    world.atlas.unlisted[world.atlas.invite().id] = None
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.writes == []


# A member.


async def accepted(**spec: Any) -> World:  # noqa: ANN401 - a spec's fields
    """Return a world in which the person of the object has accepted."""
    world = await adopted(**spec)
    world.atlas.accept(INVITATION_ID, USER_ID)
    await world.turn()
    world.forget_calls()
    return world


@pytest.mark.parametrize("succeeded", [False, True])
@virtual_time
async def test_a_member_who_changes_the_email_stays_the_member(succeeded: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """The member is known by the id, also if another person uses the old e-mail now."""
    world = await accepted(memberPolicy="Manage")
    world.atlas.let_in(user(username=OTHER_EMAIL, roles=[OWNER]))
    if succeeded:
        world.atlas.let_in(user(id=OTHER_ID, roles=[STREAMS]))
    assert reason_of(await world.turn()) is Reason.ACCEPTED
    assert world.atlas.writes == [("AddRole", USER_ID, READER), ("RemoveRole", USER_ID, OWNER)]
    member = world.cluster.status().member
    assert member is not None
    assert member.id == USER_ID


@virtual_time
async def test_another_person_under_the_email_of_a_member_is_left() -> None:
    """The member has left, and another person joined under the e-mail: reported, and never changed."""
    world = await accepted(memberPolicy="Manage")
    world.atlas.groups[GROUP_ID].users.clear()
    world.atlas.let_in(user(id=OTHER_ID, roles=[OWNER]))
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.IDENTITY_MISMATCH
    assert world.atlas.writes == []
    status = world.cluster.status()
    assert status.member is not None
    assert (status.member.id, status.state) == (USER_ID, State.REMOVED)


@virtual_time
async def test_a_member_whom_the_list_does_not_show_is_not_replaced() -> None:
    """Lagging lists already show another person under the e-mail: the id is fetched first."""
    world = await accepted()
    world.atlas.let_in(user(username=OTHER_EMAIL))
    world.atlas.unlisted[USER_ID] = None
    world.atlas.let_in(user(id=OTHER_ID))
    assert reason_of(await world.turn()) is Reason.ACCEPTED


@virtual_time
async def test_a_person_who_was_removed_and_invited_again_by_hand_is_the_member_again() -> None:
    """A later invitation under the e-mail is adopted, and the person who accepts it is the member, under any id."""
    world = await accepted()
    world.atlas.groups[GROUP_ID].users.clear()
    world.atlas.invite(invitation(id=OTHER_ID))
    assert reason_of(await world.turn()) is Reason.INVITED
    world.atlas.accept(OTHER_ID, "6a4fe14da2b47835a58c6222")
    assert reason_of(await world.turn()) is Reason.ACCEPTED
    member = world.cluster.status().member
    assert member is not None
    assert member.id == "6a4fe14da2b47835a58c6222"


# A change of roles.


@virtual_time
async def test_a_change_of_roles_is_one_call_and_one_write() -> None:
    """The main job: roles of a known pending invitation change with one PATCH by id and one status write."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    outcome = await world.turn()
    assert reason_of(outcome) is Reason.INVITED
    assert world.atlas.calls == [("UpdateInvite", INVITATION_ID, OWNER)]
    assert world.write_kinds == ["status"]
    status = world.cluster.status()
    assert status.invitation == invitation(roles=[OWNER])
    assert (status.observed_generation, status.origin) == (2, Origin.ADOPTED)


@virtual_time
async def test_a_change_of_roles_costs_the_same_after_a_restart() -> None:
    """The main job needs only status."""
    world = await adopted()
    world.restart()
    world.cluster.apply(spec=AS_OWNER)
    await world.turn()
    assert world.atlas.calls == [("UpdateInvite", INVITATION_ID, OWNER)]
    assert world.write_kinds == ["status"]


@virtual_time
async def test_a_change_of_roles_of_a_missing_invitation_reads_again() -> None:
    """The PATCH finds nothing: one read shows what happened to the invitation."""
    world = await adopted()
    world.atlas.accept(INVITATION_ID, USER_ID)
    world.cluster.apply(spec=AS_OWNER)
    assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    assert world.atlas.names == ["UpdateInvite", "Look"]
    assert world.write_kinds == ["status"]
    assert world.cluster.status().invitation == invitation()


@virtual_time
async def test_a_drift_in_atlas_is_corrected() -> None:
    """The roles were changed in Atlas: the spec's are set again; status had them already."""
    world = await adopted()
    world.atlas.invite(invitation(roles=[OWNER]))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names == ["Look", "UpdateInvite"]
    assert world.atlas.groups[GROUP_ID].invitations[INVITATION_ID] == invitation()
    assert world.cluster.writes == []


@virtual_time
async def test_a_change_of_roles_in_users_mode() -> None:
    """A pending user is observed, read again, and changed role by role."""
    world = World()
    world.atlas.api = Api.USERS
    world.atlas.let_in(user(Membership.PENDING))
    world.cluster.apply()
    await world.turn()
    world.forget_calls()
    world.cluster.apply(spec=AS_OWNER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names == ["Look", "ReadUser", "AddRole", "RemoveRole"]
    assert world.write_kinds == ["status"]


@pytest.mark.parametrize(
    ("policy", "calls", "reason"),
    [("Observe", [], Reason.ROLES_DIFFER), ("Manage", ["AddRole", "RemoveRole"], Reason.ACCEPTED)],
)
@virtual_time
async def test_a_member_with_other_roles(policy: str, calls: list[str], reason: Reason) -> None:
    """Observe reports and changes nothing; Manage adds, then removes."""
    world = World()
    world.atlas.let_in(user(roles=[OWNER]))
    world.cluster.apply(spec=wire_spec(memberPolicy=policy))
    assert reason_of(await world.turn()) is reason
    assert [call[0] for call in world.atlas.writes] == calls
    member = world.cluster.status().member
    assert member is not None
    assert member.roles == ((READER,) if policy == "Manage" else (OWNER,))


# Quiet stays quiet.


async def quiet_world(there: str) -> World:
    """Return a world whose object is settled or stalled permanently."""
    world = World()
    if there == "member":
        world.atlas.let_in(user())
    elif there == "roles-differ":
        world.atlas.let_in(user(roles=[OWNER]))
    elif there != "not-found":
        world.atlas.invite()
    by_id = {"username": None, "invitationId": INVITATION_ID} if there == "not-found" else {}
    world.cluster.apply(spec=wire_spec(**by_id))
    await world.turn()
    if there == "accepted":
        world.atlas.accept(INVITATION_ID, USER_ID)
    elif there == "withdrawn":
        world.atlas.groups[GROUP_ID].invitations.clear()
    elif there == "expired":
        world.atlas.groups[GROUP_ID].invitations.clear()
        world.atlas.time = EXPIRES
    elif there == "forbidden":
        world.atlas.faults.fail_always("Look", Failure(Reason.FORBIDDEN, "no", error=error(403, "X")))
    elif there == "unavailable":
        world.atlas.faults.fail_always("Look", Failure(Reason.ATLAS_UNAVAILABLE, "no answer"))
    await world.turn()
    return world


GONE = {"withdrawn", "expired", "not-found"}


@pytest.mark.parametrize(
    "there",
    [
        "pending",
        "member",
        "roles-differ",
        "accepted",
        "withdrawn",
        "expired",
        "not-found",
        "forbidden",
        "unavailable",
    ],
)
@virtual_time
async def test_a_hundred_quiet_turns_write_nothing(there: str) -> None:
    """Law 5: without a change in spec or Atlas there is no write to either, ever."""
    world = await quiet_world(there)
    world.deliver()
    world.forget_calls()
    for _ in range(100):
        await world.turn()
    assert world.atlas.writes == []
    assert world.cluster.writes == []
    assert world.events.published == []
    assert world.atlas.names == (["Look", "Confirm"] if there in GONE else ["Look"]) * 100


@virtual_time
async def test_our_own_writes_wake_nothing() -> None:
    """The events of the finalizer and of the status are known already."""
    world = World()
    world.cluster.apply()
    assert await world.woken() == [KEY]
    await world.turn()
    assert world.write_kinds == ["finalizer", "status"]
    assert await world.woken() == []


@virtual_time
async def test_foreign_metadata_is_no_turn_and_no_write() -> None:
    """Labels and annotations from others wake nothing and lose nothing."""
    world = await adopted()
    world.cluster.apply(labels={"argocd.argoproj.io/instance": "x"}, annotations={"note": "y"})
    assert await world.woken() == []
    assert world.cluster.objects[KEY]["metadata"]["labels"] == {"argocd.argoproj.io/instance": "x"}


# What was evaluated.


@virtual_time
async def test_a_spec_that_changes_during_the_reconcile_is_not_observed() -> None:
    """Laws 4 and 7: the status of the older spec is not written, and the next turn handles the newer one."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    world.atlas.faults.before("UpdateInvite", lambda: world.cluster.apply(spec=wire_spec(roles=[STREAMS])))
    with pytest.raises(Stale):
        await world.turn()
    assert world.cluster.writes == []
    assert world.cluster.status().observed_generation == 1
    await world.turn()
    assert world.atlas.groups[GROUP_ID].invitations[INVITATION_ID].roles == (STREAMS,)
    assert world.cluster.status().observed_generation == 3


@virtual_time
async def test_a_spec_that_changes_back_during_the_reconcile_wins() -> None:
    """Law 7: the spec changes and changes back while the PATCH is under way: Atlas ends with the last spec."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    world.atlas.faults.before("UpdateInvite", lambda: world.cluster.apply(spec=wire_spec()))
    with pytest.raises(Stale):
        await world.turn()
    assert world.atlas.groups[GROUP_ID].invitations[INVITATION_ID].roles == (OWNER,)
    await world.turn()
    assert world.atlas.groups[GROUP_ID].invitations[INVITATION_ID].roles == (READER,)
    assert world.cluster.status().observed_generation == 3
    assert ready_of(world) == ("True", "Invited")


@virtual_time
async def test_a_status_that_cannot_be_written_is_written_later() -> None:
    """The cluster is unavailable after the PATCH: the next turn finds it done, and writes so."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    world.cluster.faults.fail("status", ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    await world.turn()
    assert world.write_kinds == ["status"]
    assert world.cluster.status().invitation == invitation(roles=[OWNER])
    assert world.cluster.status().observed_generation == 2


@pytest.mark.parametrize("trouble", [Stale("changed"), ClusterUnavailable("no answer")])
@virtual_time
async def test_a_send_whose_status_write_failed_is_remembered(trouble: Exception) -> None:
    """Law 1: sent, status not written, and Atlas's lists do not show it yet: there is no second send."""
    world = World()
    world.cluster.apply()
    world.cluster.faults.fail("status", trouble)
    with pytest.raises(type(trouble)):
        await world.turn()
    lagging = dict(world.atlas.groups[GROUP_ID].invitations)
    world.atlas.groups[GROUP_ID].invitations.clear()
    await world.turn()
    assert [call[0] for call in world.atlas.writes] == ["CreateInvite"]
    world.atlas.groups[GROUP_ID].invitations.update(lagging)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert [call[0] for call in world.atlas.writes] == ["CreateInvite"]
    assert world.cluster.status().origin is Origin.CREATED
    assert world.events.reasons.count("InvitationSent") == 1


@pytest.mark.parametrize("reason", [r for r in Reason if r.kind is not Kind.SETTLED])
@virtual_time
async def test_every_failure_counts_as_observed(reason: Reason) -> None:
    """Law 4: whatever the result, the generation was observed; the rest of status stays what Atlas last said."""
    world = await adopted()
    before = world.cluster.status()
    world.cluster.apply(spec=AS_OWNER)
    answer = error(418, "TEAPOT", operation="UpdateInvite")
    world.atlas.faults.fail("UpdateInvite", Failure(reason, "it failed", error=answer))
    assert reason_of(await world.turn()) is reason
    status = world.cluster.status()
    assert status.observed_generation == 2
    assert ready_of(world) == ("False", str(reason))
    assert status.error == answer
    assert (status.invitation, status.state, status.origin) == (before.invitation, before.state, before.origin)
    assert world.write_kinds == ["status"]


@virtual_time
async def test_an_error_is_gone_after_a_success() -> None:
    """status.error does not stay after the failure is over."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    world.atlas.faults.fail("UpdateInvite", Failure(Reason.ATLAS_UNAVAILABLE, "503", error=error(503, "X")))
    await world.turn()
    assert world.cluster.status().error is not None
    await world.turn()
    assert world.cluster.status().error is None
    assert "error" not in world.cluster.objects[KEY]["status"]


@virtual_time
async def test_an_outage_writes_once() -> None:
    """However often it fails, with any text: one write, until the problem is a different one."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    for words in ("connection reset", "timed out", "refused"):
        world.atlas.faults.fail("UpdateInvite", Failure(Reason.ATLAS_UNAVAILABLE, words))
        await world.turn()
    assert world.write_kinds == ["status"]


@virtual_time
async def test_when_the_object_is_requeued() -> None:
    """The outcome says when: at expiresAt for a pending one, after Retry-After for a rate limit."""
    world = await adopted()
    outcome = await world.turn()
    assert outcome is not None
    assert outcome.requeue_after is not None
    assert timedelta(seconds=outcome.requeue_after) == EXPIRES - world.atlas.now()
    world.atlas.faults.fail("Look", Failure(Reason.RATE_LIMITED, "slow down", retry_after=17.0))
    outcome = await world.turn()
    assert outcome is not None
    assert outcome.requeue_after == 17.0


# A rejected write is not repeated.


REFUSED = Failure(
    Reason.INVALID_REQUEST, "refused", error=error(400, "INVALID_ENUM_VALUE", operation=Operation.UPDATE_INVITE)
)


async def refused() -> World:
    """Return a world in which Atlas has rejected the spec, and would again."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    world.atlas.faults.fail_always("UpdateInvite", REFUSED)
    await world.turn()
    assert ready_of(world) == ("False", "InvalidRequest")
    world.deliver()
    world.forget_calls()
    return world


@pytest.mark.parametrize("restart", [False, True])
@virtual_time
async def test_a_rejected_request_is_not_repeated(restart: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """Turn after turn Atlas is read, and nothing is written, also after a restart."""
    world = await refused()
    if restart:
        world.restart()
    for _ in range(20):
        outcome = await world.turn()
        assert reason_of(outcome) is Reason.INVALID_REQUEST
        assert outcome is not None
        assert outcome.requeue_after is None
    assert world.atlas.names == ["Look"] * 20
    assert world.cluster.writes == []


@pytest.mark.parametrize(
    ("reason", "code", "calls"),
    [(Reason.FORBIDDEN, 403, 3), (Reason.PROJECT_NOT_FOUND, 404, 3), (REFUSED.reason, 400, 1)],
)
@virtual_time
async def test_what_is_forbidden_is_tried_again_hourly(reason: Reason, code: int, calls: int) -> None:
    """A right may be granted without notice, so the operator tries again; an invalid request stays invalid."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    failure = Failure(reason, "no", error=error(code, "NO", operation=Operation.UPDATE_INVITE))
    world.atlas.faults.fail_always("UpdateInvite", failure)
    for _ in range(121):
        assert reason_of(await world.turn()) is reason
        await asyncio.sleep(60)
    assert world.atlas.names.count("UpdateInvite") == calls


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("reason", "code"), [(Reason.INVALID_REQUEST, 400), (Reason.FORBIDDEN, 403)])
@virtual_time
async def test_what_was_rejected_and_made_by_hand_is_adopted(reason: Reason, code: int, *, restart: bool) -> None:
    """Atlas rejects the operator's send, and a user invites in the UI: the object adopts the invitation."""
    world = World()
    world.cluster.apply()
    failure = Failure(reason, "no", error=error(code, "NO", operation=Operation.CREATE_INVITE))
    world.atlas.faults.fail_always("CreateInvite", failure)
    for _ in range(3):
        assert reason_of(await world.turn()) is reason
    if restart:
        world.restart()
        assert reason_of(await world.turn()) is reason
    assert world.atlas.names.count("CreateInvite") == 1
    world.atlas.invite()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names.count("CreateInvite") == 1


@virtual_time
async def test_what_was_rejected_costs_no_confirmation() -> None:
    """After a restart too, the lists are enough to report again that nothing is sent."""
    world = World()
    world.cluster.apply()
    failure = Failure(Reason.FORBIDDEN, "no", error=error(403, "NO", operation=Operation.CREATE_INVITE))
    world.atlas.faults.fail_always("CreateInvite", failure)
    await world.turn()
    world.restart()
    world.forget_calls()
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.FORBIDDEN
    assert world.atlas.names == ["Look"] * 4
    assert world.cluster.writes == []


@virtual_time
async def test_a_rejection_outlives_an_outage() -> None:
    """A read that fails in between does not cause a repeated write."""
    world = await refused()
    world.atlas.faults.fail("Look", Failure(Reason.ATLAS_UNAVAILABLE, "503", error=error(503, "X")))
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    assert world.atlas.writes == []


@virtual_time
async def test_a_rejected_change_of_roles_is_tried_if_atlas_shows_others() -> None:
    """The roles were changed in Atlas since: the operator tries once more."""
    world = await refused()
    await world.turn()
    world.atlas.invite(invitation(roles=[STREAMS]))
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    assert world.atlas.names.count("UpdateInvite") == 1


async def in_by_a_team() -> World:
    """Return a world in which Atlas refuses to invite a person who is in the project through a team."""
    world = World()
    world.cluster.apply()
    world.atlas.elsewhere = [user()]
    conflict = Failure(Reason.CONFLICT, "is there", error=error(409, "USER_ALREADY_IN_GROUP", operation="CreateInvite"))
    world.atlas.faults.fail("CreateInvite", conflict, conflict)
    assert reason_of(await world.turn()) is Reason.CONFLICT
    assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    world.forget_calls()
    return world


@pytest.mark.parametrize("restart", [False, True])
@virtual_time
async def test_a_person_who_has_left_the_team_is_invited(restart: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """No request is needed: each resync reads what caused the 409, and sends once it is gone."""
    world = await in_by_a_team()
    if restart:
        world.restart()
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    assert world.atlas.writes == []
    world.atlas.elsewhere = []
    if restart:
        assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
        await _pass(61)
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_conflict_with_a_lagging_list_ends_with_the_lag() -> None:
    """A 409 while the lists lag: once they show the invitation, it is adopted."""
    world = World()
    world.cluster.apply()
    conflict = Failure(Reason.CONFLICT, "is there", error=error(409, "USER_ALREADY_IN_GROUP", operation="CreateInvite"))
    world.atlas.faults.fail_always("CreateInvite", conflict)
    await world.turn()
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    world.atlas.invite()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names.count("CreateInvite") == 2


# Other roles than requested.


def keep_roles(world: World, *roles: str) -> None:
    """Let Atlas respond to every write of roles with these roles, and keep them."""
    world.atlas.keeps = roles


@virtual_time
async def test_other_roles_than_requested_are_reported_and_not_requested_again() -> None:
    """One dropped, one added: one PATCH, one event, and no more until something changes."""
    world = await adopted()
    keep_roles(world, READER, STREAMS)
    world.cluster.apply(spec=wire_spec(roles=[READER, OWNER]))
    for _ in range(20):
        assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    assert world.atlas.writes == [("UpdateInvite", INVITATION_ID, OWNER, READER)]
    assert world.write_kinds == ["status"]
    assert world.events.reasons == ["RolesUpdated", "RolesDiffer"]
    status, ready = world.cluster.status(), world.cluster.status().condition("Ready")
    assert ready is not None
    assert f"Requested: {OWNER}, {READER}. Atlas shows: {READER}, {STREAMS}." in ready.message
    assert (status.state, ready.status) == (State.PENDING, "True")
    world.restart()
    await world.turn()
    assert len(world.atlas.writes) == 1


@pytest.mark.parametrize("change", ["spec", "request", "atlas"])
@virtual_time
async def test_other_roles_are_requested_again_after_a_change(change: str) -> None:
    """A new spec, a request to reconcile, other roles in Atlas: one more request."""
    world = await adopted()
    keep_roles(world, READER, STREAMS)
    world.cluster.apply(spec=wire_spec(roles=[READER, OWNER]))
    await world.turn()
    world.forget_calls()
    if change == "spec":
        world.cluster.apply(spec=AS_OWNER)
    elif change == "request":
        new_request(world)
    else:
        world.atlas.invite(invitation(roles=[STREAMS]))
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    assert len(world.atlas.writes) == 1
    keep_roles(world)
    world.cluster.apply(spec=wire_spec(roles=[READER]))
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_send_with_other_roles_is_not_corrected() -> None:
    """Atlas sent the invitation with other roles: reported, and the same roles are not requested again."""
    world = World()
    keep_roles(world, STREAMS)
    world.cluster.apply()
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    assert world.atlas.writes == [("CreateInvite", EMAIL, READER)]
    assert world.cluster.status().origin is Origin.CREATED


@virtual_time
async def test_a_member_with_other_roles_than_requested_is_reported() -> None:
    """Law 4: with Manage too, the roles are those of spec only if Atlas says so."""
    world = await accepted(memberPolicy="Manage")
    keep_roles(world, READER)
    world.cluster.apply(spec=wire_spec(memberPolicy="Manage", roles=[READER, OWNER]))
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    assert world.atlas.writes == [("AddRole", USER_ID, OWNER)]
    assert world.cluster.status().state is State.ACCEPTED


@virtual_time
async def test_a_role_that_atlas_does_not_add_costs_no_other() -> None:
    """No role is removed if Atlas did not add its replacement: it could be the last one."""
    world = await accepted(memberPolicy="Manage")
    keep_roles(world, READER)
    world.cluster.apply(spec=wire_spec(memberPolicy="Manage", roles=[OWNER]))
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    assert world.atlas.writes == [("AddRole", USER_ID, OWNER)]


@virtual_time
async def test_roles_that_cannot_be_read_are_not_written() -> None:
    """Atlas shows the roles in a form that cannot be read: reported, and not requested at each read."""
    world = World()
    world.atlas.invite(invitation(roles=[]))
    world.cluster.apply()
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.ROLES_DIFFER
    ready = world.cluster.status().condition("Ready")
    assert ready is not None
    assert "Atlas shows: none that can be read." in ready.message
    assert world.atlas.writes == []


@virtual_time
async def test_roles_that_are_right_already_are_no_event() -> None:
    """The list lags, and the read right before the write shows the roles of spec.

    Nothing is done, and there is no event.
    """
    world = await accepted(memberPolicy="Manage")
    world.atlas.unlisted[USER_ID] = user(roles=[OWNER])
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.ACCEPTED
    assert world.atlas.writes == []
    assert world.events.published == []


# Roles that lists do not show yet.


@pytest.mark.parametrize("lost", ["status", "response"])
@virtual_time
async def test_a_reverted_role_is_reverted_in_atlas(lost: str) -> None:
    """Set, not reported, and set back: lagging lists still show the old roles, and are not trusted."""
    world = await adopted()
    old = world.atlas.groups[GROUP_ID].invitations[INVITATION_ID]
    world.cluster.apply(spec=AS_OWNER)
    if lost == "status":
        world.cluster.faults.fail("status", ClusterUnavailable("no answer"))
        with pytest.raises(ClusterUnavailable):
            await world.turn()
    else:
        patched = old.model_copy(update={"roles": (OWNER,)})
        world.atlas.faults.before("UpdateInvite", lambda: world.atlas.invite(patched))
        failure = Failure(Reason.ATLAS_UNAVAILABLE, "no answer came")
        failure.unanswered = True
        world.atlas.faults.fail("UpdateInvite", failure)
        await world.turn()
    world.cluster.apply(spec=wire_spec())
    world.atlas.unlisted[INVITATION_ID] = old
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.groups[GROUP_ID].invitations[INVITATION_ID].roles == (READER,)


@virtual_time
async def test_a_write_of_roles_without_a_response_is_confirmed() -> None:
    """A PATCH that was carried out, but whose response could not be read, is not repeated."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    patched = invitation(roles=[OWNER])
    world.atlas.faults.before("UpdateInvite", lambda: world.atlas.invite(patched))
    failure = Failure(Reason.ATLAS_UNAVAILABLE, "a response that cannot be read")
    failure.unanswered = True
    world.atlas.faults.fail("UpdateInvite", failure)
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names == ["UpdateInvite", "Look"]


@virtual_time
async def test_an_outage_costs_a_change_of_roles_no_read() -> None:
    """If Atlas returns its own error to a PATCH, the next turn sends the PATCH, which is one call, and nothing else."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    failure = Failure(Reason.ATLAS_UNAVAILABLE, "503", error=error(503, "X", operation=Operation.UPDATE_INVITE))
    failure.unanswered = True
    world.atlas.faults.fail("UpdateInvite", failure)
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names == ["UpdateInvite", "UpdateInvite"]


# The text of a failure.


def no_access(detail: str) -> Failure:
    return Failure(Reason.FORBIDDEN, "no", error=error(403, "NO", detail=detail, operation=Operation.LIST_INVITES))


def detail_of(world: World) -> str | None:
    shown = world.cluster.status().error
    return shown.detail if shown else None


@virtual_time
async def test_a_repeated_failure_is_reported_again_on_request() -> None:
    """After a request to reconcile, status shows what Atlas says now; otherwise the same failure writes nothing."""
    world = await adopted()
    world.atlas.faults.fail_always("Look", no_access("192.0.2.1 is not on the list"))
    await world.turn()
    world.atlas.faults.fail_always("Look", no_access("192.0.2.2 is not on the list"))
    world.forget_calls()
    for _ in range(3):
        await world.turn()
    assert (detail_of(world), world.cluster.writes) == ("192.0.2.1 is not on the list", [])
    new_request(world)
    await world.turn()
    assert detail_of(world) == "192.0.2.2 is not on the list"


@virtual_time
async def test_a_repeated_failure_is_reported_again_after_an_hour() -> None:
    """Once an hour status shows what Atlas says now."""
    world = await adopted()
    for number in range(130):
        world.atlas.faults.fail_always("Look", no_access(f"attempt {number}"))
        await world.turn()
        await asyncio.sleep(60)
    assert detail_of(world) == "attempt 120"
    assert world.write_kinds == ["status"] * 3


def new_spec(world: World) -> None:
    world.cluster.apply(spec=wire_spec(roles=[STREAMS]))


def new_secret(world: World) -> None:
    world.cluster.secrets[SECRET] = OTHER_CREDENTIALS


def new_request(world: World) -> None:
    world.cluster.annotate(RECONCILE_REQUESTED_AT, "2026-08-11T12:00:00Z")


@pytest.mark.parametrize("change", [new_spec, new_secret, new_request])
@pytest.mark.parametrize("restart", [False, True])
@virtual_time
async def test_a_rejected_request_is_repeated_once_after_a_change(
    change: Callable[[World], None],
    restart: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    """A new spec, other credentials or a request to reconcile: one more try, and if it is rejected again, no more."""
    world = await refused()
    if restart:
        world.restart()
        await world.turn()
    change(world)
    for _ in range(3):
        await world.turn()
        await _pass(61)
    assert len(world.atlas.writes) == 1


async def _pass(seconds: float) -> None:
    await asyncio.sleep(seconds)


@virtual_time
async def test_a_rejected_request_that_is_accepted_after_a_change_settles() -> None:
    """Once Atlas accepts, the rejection is forgotten."""
    world = await refused()
    world.atlas.faults.fail_always("UpdateInvite", None)
    new_request(world)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.cluster.status().last_handled_reconcile_at == "2026-08-11T12:00:00Z"


@virtual_time
async def test_a_corrected_secret_counts_if_its_status_could_not_be_written() -> None:
    """Accepted with another Secret, but status still has InvalidRequest: that is not the result for the new Secret."""
    world = await refused()
    world.atlas.faults.fail_always("UpdateInvite", None)
    new_secret(world)
    await _pass(61)
    world.cluster.faults.fail("status", ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    assert reason_of(await world.turn()) is Reason.INVITED


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"deletionPolicy": "Burn"}, "spec.deletionPolicy"),
        ({"roles": []}, "spec.roles"),
        ({"groupId": None}, "groupId"),
        ({"username": "jane@example.com\u200b"}, "spec.username: must not have spaces or invisible characters"),
    ],
)
@virtual_time
async def test_a_spec_that_breaks_crd_rules_is_an_invalid_request(spec: dict[str, Any], field: str) -> None:
    """What an older CRD let through is reported once, by field and rule, and Atlas is not called."""
    world = World()
    world.cluster.apply(spec=wire_spec(**spec))
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    ready = world.cluster.status().condition("Ready")
    assert ready is not None
    assert field in ready.message
    assert world.write_kinds == ["status"]
    assert world.atlas.calls == []


# Waiting for the cluster.


@virtual_time
async def test_a_missing_secret_is_waited_for() -> None:
    """SecretNotFound: one write, no finalizer, no call; the object goes on once the Secret exists."""
    world = World()
    world.atlas.invite()
    del world.cluster.secrets[SECRET]
    world.cluster.apply()
    outcome = await world.turn()
    assert reason_of(outcome) is Reason.SECRET_NOT_FOUND
    assert outcome is not None
    assert outcome.requeue_after == 60
    assert world.write_kinds == ["status"]
    assert world.atlas.calls == []
    world.cluster.secrets[SECRET] = CREDENTIALS
    await _pass(60)
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_project_by_reference() -> None:
    """ProjectNotReady is requeued after 30 s; then the id is the reference's."""
    world = World()
    world.cluster.apply(spec=wire_spec(groupId=None, projectRef={"name": "payments"}))
    outcome = await world.turn()
    assert reason_of(outcome) is Reason.PROJECT_NOT_READY
    assert outcome is not None
    assert outcome.requeue_after == 30
    assert world.atlas.calls == []
    world.cluster.project_ids[Key("team-a", "payments")] = GROUP_ID
    world.atlas.invite()
    await _pass(31)
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_rotated_secret_is_read_again_in_the_same_turn() -> None:
    """A 401 costs one more read of the Secret, and no error is reported."""
    world = await adopted()
    world.atlas.rejected.add(CREDENTIALS)
    world.cluster.secrets[SECRET] = OTHER_CREDENTIALS
    world.cluster.apply(spec=AS_OWNER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.credentials == [CREDENTIALS, OTHER_CREDENTIALS]
    assert world.write_kinds == ["status"]


@virtual_time
async def test_rejected_credentials_are_reported() -> None:
    """The Secret still holds what Atlas rejects: CredentialsRejected, requeued in a minute."""
    world = await adopted()
    world.atlas.rejected.add(CREDENTIALS)
    world.cluster.apply(spec=AS_OWNER)
    outcome = await world.turn()
    assert reason_of(outcome) is Reason.CREDENTIALS_REJECTED
    assert outcome is not None
    assert outcome.requeue_after == 60
    assert world.cluster.reads == [SECRET]
    assert world.atlas.names == ["UpdateInvite"]


# Requests, and objects that are gone.


@virtual_time
async def test_a_request_to_reconcile_is_handled_once() -> None:
    """The request is echoed on status, with one read; the echo causes no more work."""
    world = await adopted()
    world.cluster.annotate(RECONCILE_REQUESTED_AT, "now")
    await world.turn()
    assert world.atlas.names == ["Look"]
    assert world.cluster.status().last_handled_reconcile_at == "now"
    assert world.write_kinds == ["status"]
    world.forget_calls()
    await world.turn()
    assert world.cluster.writes == []


@virtual_time
async def test_an_object_that_is_gone_causes_no_work() -> None:
    """The key of an object that does not exist is dropped without a call."""
    world = World()
    assert await world.turn() is None
    assert (world.atlas.calls, world.cluster.writes, world.cluster.reads) == ([], [], [])


@virtual_time
async def test_an_object_that_is_deleted_during_the_reconcile() -> None:
    """Deleted while Atlas is read: nothing is written, and nothing is sent."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.before("Look", world.cluster.delete)
    with pytest.raises(Stale):
        await world.turn()
    assert world.atlas.writes == []
    assert world.cluster.writes == []


@virtual_time
async def test_a_new_object_of_the_same_name_inherits_nothing() -> None:
    """A rejection belongs to the object that was rejected: the new object is tried."""
    world = await refused()
    world.cluster.delete()
    await world.turn()
    world.forget_calls()
    world.cluster.apply(spec=AS_OWNER)
    world.atlas.faults.fail_always("UpdateInvite", None)
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_nothing_older_than_the_wake_up_is_used() -> None:
    """Atlas is read as of the wake-up."""
    world = await adopted()
    await _pass(5)
    world.deliver()
    await world.reconciler.reconcile(KEY, 3.5)
    assert world.atlas.read_since[-1] == 3.5


# A newer spec goes before every write to Atlas.


async def nothing_there() -> World:
    """Return a world in which an invitation is to be sent."""
    world = World()
    world.cluster.apply()
    return world


async def pending_as_owner() -> World:
    """Return a world in which the roles of a pending invitation drifted."""
    world = await adopted()
    world.atlas.invite(invitation(roles=[OWNER]))
    return world


async def new_with_other_roles() -> World:
    """Return a world in which an invitation with other roles exists before its object."""
    world = World()
    world.atlas.invite(invitation(roles=[OWNER]))
    world.cluster.apply()
    return world


async def managed_member() -> World:
    """Return a world in which the roles of a member are to be set."""
    world = World()
    world.atlas.let_in(user(roles=[OWNER]))
    world.cluster.apply(spec=wire_spec(memberPolicy="Manage"))
    return world


@pytest.mark.parametrize(
    ("begin", "looks"), [(nothing_there, 2), (pending_as_owner, 1), (new_with_other_roles, 2), (managed_member, 2)]
)
@pytest.mark.parametrize("change", [{"suspend": True}, {"roles": [STREAMS]}], ids=["suspended", "other-roles"])
@virtual_time
async def test_a_known_change_goes_before_a_write(
    begin: Callable[[], Awaitable[World]], looks: int, change: dict[str, Any]
) -> None:
    """Law 7: the spec changes while Atlas is read, and the event is here: nothing is done for the older spec."""
    world = await begin()

    def edit() -> None:
        spec = world.cluster.objects[KEY]["spec"]
        world.cluster.apply(spec={**spec, **change})
        world.deliver()

    for _ in range(looks - 1):
        world.atlas.faults.before("Look", lambda: None)
    world.atlas.faults.before("Look", edit)
    with pytest.raises(Stale):
        await world.turn()
    assert world.atlas.writes == []


@virtual_time
async def test_a_change_between_two_role_writes_counts() -> None:
    """Suspended between adding and removing: the rest is not done."""
    world = await managed_member()

    def suspend() -> None:
        world.cluster.apply(spec=wire_spec(memberPolicy="Manage", suspend=True))
        world.deliver()

    world.atlas.faults.before("AddRole", suspend)
    with pytest.raises(Stale):
        await world.turn()
    assert [call[0] for call in world.atlas.writes] == ["AddRole"]


@virtual_time
async def test_a_change_while_the_finalizer_is_written_goes_before_the_patch() -> None:
    """The known invitation of an object whose finalizer was removed: the operator applies the newer spec."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER, finalizers=[])
    add_finalizer = world.cluster.add_finalizer

    async def then_suspend(resource: Resource) -> Resource:
        written = await add_finalizer(resource)
        world.cluster.apply(spec=wire_spec(roles=[OWNER], suspend=True))
        world.deliver()
        return written

    world.cluster.add_finalizer = then_suspend  # type: ignore[method-assign]
    with pytest.raises(Stale):
        await world.turn()
    assert world.atlas.writes == []


# A reference that now leads to another project.


@virtual_time
async def test_a_reference_that_leads_elsewhere_is_not_followed() -> None:
    """The AtlasProject is recreated with another id: nothing is done, and status says so.

    When the id is back, the object goes on.
    """
    world = World()
    payments = Key("team-a", "payments")
    world.cluster.project_ids[payments] = GROUP_ID
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(groupId=None, projectRef={"name": "payments"}, memberPolicy="Manage"))
    await world.turn()
    world.cluster.project_ids[payments] = "f" * 24
    for restart in (False, True):
        if restart:
            world.restart()
        await _pass(31)
        world.deliver()
        world.forget_calls()
        outcome = await world.turn()
        assert reason_of(outcome) is Reason.PROJECT_NOT_READY
        assert outcome is not None
        assert "now has the id of another Atlas project" in outcome.message
        assert world.atlas.calls == []
        assert world.cluster.status().state is State.PENDING
        assert world.store.claims.holder(KEY) is None
    world.cluster.project_ids[payments] = GROUP_ID
    await _pass(31)
    assert reason_of(await world.turn()) is Reason.INVITED


# What is written and reported.


@virtual_time
async def test_only_the_finalizer_and_the_status_are_written() -> None:
    """Law 10: spec, labels, annotations and foreign finalizers stay unchanged over a whole life."""
    world = World()
    world.atlas.invite()
    metadata: dict[str, Any] = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["foregroundDeletion"]}
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"), **metadata)
    await world.turn()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel", roles=[OWNER]))
    await world.turn()
    there = world.cluster.objects[KEY]
    assert there["spec"] == wire_spec(deletionPolicy="Cancel", roles=[OWNER])
    assert {name: there["metadata"][name] for name in ("labels", "annotations")} == {
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
    }
    assert there["metadata"]["finalizers"] == ["foregroundDeletion", FINALIZER]
    world.cluster.delete()
    await world.turn()
    assert world.cluster.objects[KEY]["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert {kind for kind, _, _ in world.cluster.writes} == {"finalizer", "status"}


@virtual_time
async def test_the_life_of_an_invitation_by_expiry() -> None:
    """Pending, expired, and pending again under a new id that was made by hand."""
    world = await adopted()
    world.atlas.groups[GROUP_ID].invitations.clear()
    world.atlas.time = EXPIRES
    assert reason_of(await world.turn()) is Reason.INVITATION_EXPIRED
    assert world.cluster.status().state is State.EXPIRED
    assert world.cluster.status().invitation == invitation()
    again = invitation(id=OTHER_ID, createdAt=time_text(EXPIRES), expiresAt=time_text(EXPIRES + timedelta(days=30)))
    world.atlas.invite(again)
    assert reason_of(await world.turn()) is Reason.INVITED
    status = world.cluster.status()
    assert (status.invitation, status.origin, status.state) == (again, Origin.ADOPTED, State.PENDING)
    assert world.atlas.writes == []


@virtual_time
async def test_the_life_of_an_invitation_by_acceptance() -> None:
    """Pending, accepted, removed: there is no new invitation, and status still shows who the member was."""
    world = await adopted()
    world.atlas.accept(INVITATION_ID, USER_ID)
    assert reason_of(await world.turn()) is Reason.ACCEPTED
    accepted = world.cluster.status().condition("Accepted")
    assert accepted is not None
    assert accepted.status == "True"
    world.atlas.groups[GROUP_ID].users.clear()
    world.atlas.time = CREATED + timedelta(days=90)
    assert reason_of(await world.turn()) is Reason.MEMBER_REMOVED
    status = world.cluster.status()
    assert status.state is State.REMOVED
    assert status.member is not None
    assert status.invitation == invitation()
    assert world.atlas.writes == []


@virtual_time
async def test_a_status_written_by_others_is_corrected() -> None:
    """Status is written as a whole: fields that are not the operator's are removed."""
    world = await adopted()
    mine = world.cluster.objects[KEY]["status"]
    world.cluster.put_status(Status(observed_generation=1, state=State.REMOVED, error=error(500, "LIE")))
    assert await world.woken() == [KEY]
    await world.turn()
    there = world.cluster.objects[KEY]["status"]
    assert {name: there[name] for name in ("invitation", "state", "origin")} == {
        name: mine[name] for name in ("invitation", "state", "origin")
    }
    assert "error" not in there


@virtual_time
async def test_no_log_names_a_secret_or_an_email(caplog: pytest.LogCaptureFixture) -> None:
    """Law 9: through success and every failure, no log record holds an e-mail or a part of the credentials."""
    caplog.set_level(logging.DEBUG)
    world = await adopted()
    for reason in Reason:
        if reason.kind is not Kind.SETTLED:
            world.atlas.faults.fail("Look", Failure(reason, f"{EMAIL} and private-canary"))
            await world.turn()
            await world.turn()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"))
    world.cluster.delete()
    world.atlas.faults.fail("CancelInvite", Failure(Reason.FORBIDDEN, f"{EMAIL} and private-canary"))
    await world.turn()
    await _pass(600)
    world.atlas.faults.fail("CancelInvite", Failure(Reason.FORBIDDEN, f"{EMAIL} and private-canary"))
    await world.turn()
    ours = [record for record in caplog.records if record.name.startswith("atlas_invites")]
    assert ours
    for record in ours:
        text = logging.Formatter().format(record) + str(record.__dict__)
        assert EMAIL not in text
        assert "canary" not in text


# What Atlas refuses.


@pytest.mark.parametrize("change", ["secret", "spec", "request"])
@virtual_time
async def test_a_forbidden_write_is_repeated_after_a_change(change: str) -> None:
    """A new Secret, another spec, a request to reconcile: Atlas is called at once."""
    world = await adopted()
    world.atlas.faults.fail("Look", Failure(Reason.FORBIDDEN, "no", error=error(403, "NO")))
    assert reason_of(await world.turn()) is Reason.FORBIDDEN
    if change == "secret":
        world.cluster.secrets[SECRET] = OTHER_CREDENTIALS
        await asyncio.sleep(61)
    elif change == "spec":
        world.cluster.apply(spec=wire_spec(suspend=False))
    else:
        world.cluster.annotate(RECONCILE_REQUESTED_AT, "now")
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_rejected_send_is_not_repeated_if_status_cannot_be_written() -> None:
    """A rejected send whose status write fails: it is remembered, and not sent again."""
    world = World()
    world.cluster.apply()
    refusal = Failure(
        Reason.INVALID_REQUEST, "no", error=error(400, "INVALID_ATTRIBUTE", operation=Operation.CREATE_INVITE)
    )
    world.atlas.faults.fail_always("CreateInvite", refusal)
    world.cluster.faults.fail_always("status", ClusterUnavailable("no rights"))
    for _ in range(4):
        with pytest.raises(ClusterUnavailable):
            await world.turn()
    assert world.atlas.names.count("CreateInvite") == 1


# Events in the middle of a reconcile.


@virtual_time
async def test_nothing_is_sent_once_the_finalizer_is_known_to_be_gone() -> None:
    """Law 2: the finalizer is removed during the read of Atlas, and the event is here: nothing is sent."""
    world = World()
    world.cluster.apply()

    def strip() -> None:
        world.cluster.apply(finalizers=[])
        world.deliver()

    world.cluster.faults.before("finalizer", lambda: world.atlas.faults.before("Look", strip))
    with pytest.raises(Stale):
        await world.turn()
    assert world.atlas.writes == []


@virtual_time
async def test_a_response_with_another_form_of_the_email_is_the_objects() -> None:
    """Law 1: Atlas responds to a send with another form of the e-mail: it is known by its id, and not sent again."""
    world = World()
    world.cluster.apply()
    other = invitation(username=OTHER_EMAIL)

    async def create_invite(username: str, roles: object) -> Invitation:
        world.atlas.calls.append(("CreateInvite", username, roles))
        return world.atlas.invite(other)

    project = world.atlas.project(CREDENTIALS, GROUP_ID)
    project.create_invite = create_invite  # type: ignore[method-assign]
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.cluster.status().invitation == other
    for _ in range(5):
        world.restart()
        assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names.count("CreateInvite") == 1


@virtual_time
async def test_an_object_that_is_deleted_while_it_is_reconciled_leaves_nothing_behind() -> None:
    """An object without a finalizer, whose Secret is being read, and does not exist."""
    world = World()

    async def missing(secret: Key) -> StoredCredentials:
        del secret
        await asyncio.sleep(2)
        raise Failure(Reason.SECRET_NOT_FOUND, "said")

    world.cluster.credentials = missing  # type: ignore[method-assign]
    world.restart()
    async with world.running():
        world.cluster.apply()
        await asyncio.sleep(1)
        world.cluster.delete()
        await asyncio.sleep(5)
        assert world.cluster.objects == {}
        assert world.reconciler._with.memories._memories == {}  # noqa: SLF001 - there is no other door


@virtual_time
async def test_objects_that_come_and_go_leave_nothing_behind() -> None:
    """A hundred objects, created and deleted: the process keeps none of them in memory."""
    world = World()
    async with world.running():
        for number in range(100):
            key = Key("team-a", f"user-{number}")
            world.cluster.apply(key, spec=wire_spec(username=f"user-{number}@example.com"))
            await asyncio.sleep(5)
            world.cluster.delete(key)
            await asyncio.sleep(5)
        assert world.cluster.objects == {}
        assert world.reconciler._with.memories._memories == {}  # noqa: SLF001 - there is no other door


# Writes that the API server rejects.


DENIED = WriteRefused("to write the finalizer", 422, "ValidatingAdmissionPolicy 'labels' denied request: no label team")


@virtual_time
async def test_a_rejected_finalizer_is_reported_with_the_api_servers_message() -> None:
    """Stalled, and nothing is sent; once the policy is changed, the object goes on."""
    world = World()
    world.cluster.apply()
    world.cluster.faults.fail("finalizer", DENIED, DENIED)
    for _ in range(2):
        assert reason_of(await world.turn()) is Reason.WRITE_REFUSED
    ready = world.cluster.status().condition("Ready")
    assert ready is not None
    assert "denied request: no label team. Change the policy" in ready.message
    assert world.events.reasons == ["WriteRefused"]
    assert world.write_kinds == ["status"]
    assert world.atlas.writes == []
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_rejected_status_is_one_event_and_one_call() -> None:
    """The role change is done in Atlas once, however often its status is rejected, and is on status in the end."""
    world = await adopted()
    world.cluster.apply(spec=AS_OWNER)
    world.cluster.faults.fail_always("status", DENIED)
    for _ in range(5):
        with pytest.raises(WriteRefused):
            await world.turn()
    assert world.atlas.writes == [("UpdateInvite", INVITATION_ID, OWNER)]
    assert world.events.reasons == ["WriteRefused"]
    world.cluster.faults.fail_always("status", None)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert len(world.atlas.writes) == 1
    assert world.cluster.status().invitation == invitation(roles=[OWNER])


def test_the_message_of_a_rejection_is_not_logged() -> None:
    """A policy's message may hold an e-mail: it is on status and in events only."""
    assert (
        str(WriteRefused("to write the status", 422, "jane@example.com")) == "to write the status: rejected (HTTP 422)"
    )


@virtual_time
async def test_changed_roles_are_set_also_if_no_roles_were_readable() -> None:
    """Law 7: status shows an invitation without roles; the PATCH goes out, and nothing is reported before."""
    world = World()
    world.atlas.invite(invitation(roles=[]))
    world.cluster.apply()
    await world.turn()
    world.forget_calls()
    world.cluster.apply(spec=wire_spec(roles=[OWNER]))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.names == ["UpdateInvite"]


@virtual_time
async def test_a_remedy_is_tried_once() -> None:
    """The Invites API ends during the first read, and the AtlasProject is gone at the second: an outcome, no loop."""
    world, project = World(), Key(KEY.namespace, "payments")
    world.cluster.project_ids[project] = GROUP_ID
    world.cluster.apply(spec=wire_spec(groupId=None, projectRef={"name": project.name}))
    world.atlas.faults.fail("Look", Failure(Reason.INVALID_REQUEST, "the project is read once"))
    await world.turn()
    await asyncio.sleep(30.0 - now())  # the id that was read serves for 30 s, which end during the read of Atlas

    def end() -> None:
        world.atlas.api = Api.USERS
        del world.cluster.project_ids[project]

    world.atlas.faults.before("Look", end)
    world.atlas.faults.fail("Look", Failure(Reason.CONFLICT, "the Invites API has ended"))
    assert reason_of(await world.turn()) is Reason.PROJECT_NOT_READY
