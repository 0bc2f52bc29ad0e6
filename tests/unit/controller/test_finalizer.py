"""Finalizing objects with a cluster and an Atlas in memory: Table D, its times, and that every deletion ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from atlas_invites.failures import ClusterUnavailable, Failure, Later, Stale, WriteRefused
from atlas_invites.invitation.model import Api, AtlasInfo, Membership, Origin, State
from atlas_invites.invitation.outcome import Kind, Outcome, Reason
from atlas_invites.invitation.resource import FINALIZER, FORCE_DELETE, Key
from tests.unit.builders import (
    EMAIL,
    EXPIRES,
    GROUP_ID,
    INVITATION_ID,
    KEY,
    NOW,
    OTHER_EMAIL,
    OTHER_ID,
    OWNER,
    SECRET,
    USER_ID,
    error,
    invitation,
    member,
    ready,
    status,
    time_text,
    user,
    users_invitation,
    wire_spec,
)
from tests.unit.controller.fakes import CREDENTIALS, World
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.invitation.model import Status

ORPHANED = "OrphanedInvitation"


async def settled(there: str = "pending", **spec: Any) -> World:  # noqa: ANN401 - a spec's fields
    """Return a world with a settled object that is about to be deleted; calls are counted from here."""
    world = World()
    if there == "pending":
        world.atlas.invite()
    elif there == "users-pending":
        world.atlas.api = Api.USERS
        world.atlas.let_in(user(Membership.PENDING))
    elif there == "member":
        world.atlas.let_in(user())
    world.cluster.apply(spec=wire_spec(**spec))
    await world.turn()
    world.deliver()
    world.forget_calls()
    return world


async def delete(world: World) -> Outcome | None:
    world.cluster.delete()
    return await world.turn()


async def delete_and_hand_over(world: World, successor: Key) -> Outcome | None:
    """Delete the object. It is gone once the status of the object that takes over shows what it had."""
    with pytest.raises(Later):
        await delete(world)
    await world.turn(successor)
    return await world.turn()


def is_gone(world: World) -> bool:
    return KEY not in world.cluster.objects


def fail_always(world: World, failure: Failure) -> None:
    for call in ("Look", "CancelInvite", "ReadUser", "RemoveUser"):
        world.atlas.faults.fail_always(call, failure)


PROJECT_GONE = Failure(Reason.PROJECT_NOT_FOUND, "gone", error=error(404, "GROUP_NOT_FOUND"))
FORBIDDEN = Failure(Reason.FORBIDDEN, "not allowed", error=error(403, "USER_UNAUTHORIZED"))


# What the operator does about what it observes.


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
@virtual_time
async def test_a_pending_invitation_is_canceled(policy: str) -> None:
    """One call, one write."""
    world = await settled(deletionPolicy=policy)
    assert await delete(world) is None
    assert world.atlas.calls == [("CancelInvite", INVITATION_ID)]
    assert world.write_kinds == ["finalizer"]
    assert is_gone(world)
    assert world.events.reasons == ["Canceled"]


@pytest.mark.parametrize(
    ("there", "policy", "calls"),
    [
        ("pending", "Retain", []),
        ("pending", None, []),
        ("member", "Retain", []),
        ("member", None, []),
        ("member", "Cancel", ["Look"]),
        ("member", "Revoke", ["Look", "ReadUser", "RemoveUser"]),
        ("users-pending", "Retain", []),
        ("users-pending", None, []),
        ("users-pending", "Cancel", ["Look", "ReadUser", "RemoveUser"]),
        ("users-pending", "Revoke", ["Look", "ReadUser", "RemoveUser"]),
    ],
)
@virtual_time
async def test_the_policy_decides(there: str, policy: str | None, calls: list[str]) -> None:
    """Law 8: access is removed only if the policy says so; what was adopted is retained by default."""
    world = await settled(there, deletionPolicy=policy)
    assert await delete(world) is None
    assert world.atlas.names == calls
    assert is_gone(world)
    assert ORPHANED not in world.events.reasons


@virtual_time
async def test_what_this_object_created_is_canceled_by_default() -> None:
    """Created and no policy: Cancel."""
    world = await settled("nothing")
    created = world.cluster.status().invitation
    assert created is not None
    assert await delete(world) is None
    assert world.atlas.calls == [("CancelInvite", created.id)]


@pytest.mark.parametrize(("policy", "calls"), [("Cancel", 1), ("Revoke", 4)])
@virtual_time
async def test_a_person_who_accepts_during_the_cancellation(policy: str, calls: int) -> None:
    """A 404 is a success with Cancel, and the member stays.

    With Revoke, the operator reads again and removes the member.
    """
    world = await settled(deletionPolicy=policy)
    world.atlas.accept(INVITATION_ID, USER_ID)
    assert await delete(world) is None
    assert world.atlas.names == ["CancelInvite", "Look", "ReadUser", "RemoveUser"][:calls]
    assert bool(world.atlas.groups[GROUP_ID].users) == (policy == "Cancel")
    assert is_gone(world)


@virtual_time
async def test_revoke_uses_a_read_that_is_newer_than_its_own_call() -> None:
    """After the 404 an older snapshot does not count."""
    world = await settled(deletionPolicy="Revoke")
    world.atlas.accept(INVITATION_ID, USER_ID)
    began = now()
    await delete(world)
    assert world.atlas.read_since[-1] > began


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
@virtual_time
async def test_a_pending_user_who_accepts_in_between_keeps_access_under_cancel(policy: str) -> None:
    """The user is read right before the removal.

    One who is ACTIVE by then is not pending, and the next turn applies the policy.
    """
    world = await settled("users-pending", deletionPolicy=policy)
    world.atlas.faults.before("ReadUser", lambda: world.atlas.let_in(user()))
    outcome = await delete(world)
    assert outcome is not None
    assert outcome.reason is Reason.CONFLICT
    assert world.atlas.names == ["Look", "ReadUser"]
    assert await world.turn() is None
    assert is_gone(world)
    assert bool(world.atlas.groups[GROUP_ID].users) == (policy == "Cancel")


@pytest.mark.parametrize("call", ["ReadUser", "RemoveUser"])
@virtual_time
async def test_a_member_who_left_meanwhile_is_success(call: str) -> None:
    """A 404 on a removal is a success, and no event says that anybody was removed."""
    world = await settled("member", deletionPolicy="Revoke")
    world.atlas.faults.before(call, world.atlas.groups[GROUP_ID].users.clear)
    assert await delete(world) is None
    assert is_gone(world)
    assert world.events.published == []


@virtual_time
async def test_a_removal_is_an_event() -> None:
    """The event says what was done."""
    world = await settled("member", deletionPolicy="Revoke")
    assert await delete(world) is None
    assert world.events.reasons == ["MemberRevoked"]


@pytest.mark.parametrize(("policy", "left"), [("Cancel", [OTHER_ID]), ("Revoke", [])])
@virtual_time
async def test_a_pending_user_who_is_gone_may_have_accepted(policy: str, left: list[str]) -> None:
    """A 404 for a pending user, who is a member under another id, is a success with Cancel.

    With Revoke, the operator reads again.
    """
    world = await settled("users-pending", deletionPolicy=policy)

    def accept() -> None:
        world.atlas.groups[GROUP_ID].users.clear()
        world.atlas.let_in(user(id=OTHER_ID))

    world.atlas.faults.before("ReadUser", accept)
    outcome = await delete(world)
    if policy == "Revoke":
        assert outcome is not None
        assert outcome.reason is Reason.CONFLICT
        assert await world.turn() is None
    assert is_gone(world)
    assert list(world.atlas.groups[GROUP_ID].users) == left


@pytest.mark.parametrize(
    "then",
    [
        lambda w: w.atlas.groups.clear(),
        lambda w: w.atlas.let_in(user(Membership.EXPIRED)),
        lambda w: w.atlas.let_in(user(Membership.REJECTED)),
    ],
    ids=["nothing", "expired", "rejected"],
)
@virtual_time
async def test_an_invitation_that_has_ended_needs_no_removal(then: Callable[[World], object]) -> None:
    """Nothing, EXPIRED, REJECTED: the finalizer is removed, and nothing else is."""
    world = await settled("users-pending", deletionPolicy="Revoke")
    then(world)
    assert await delete(world) is None
    assert world.atlas.names == ["Look", "Confirm"]
    assert is_gone(world)


@virtual_time
async def test_a_member_who_changed_the_email_is_removed_by_the_id() -> None:
    """Revoke removes the access that this object gave; another person who uses the old e-mail keeps theirs."""
    world = await settled("member", deletionPolicy="Revoke")
    world.atlas.let_in(user(username=OTHER_EMAIL))
    world.atlas.let_in(user(id=OTHER_ID))
    assert await delete(world) is None
    assert world.atlas.writes == [("RemoveUser", USER_ID)]
    assert list(world.atlas.groups[GROUP_ID].users) == [OTHER_ID]
    assert is_gone(world)


@virtual_time
async def test_another_person_under_the_email_of_a_member_is_not_removed() -> None:
    """With Revoke, the member has left and another person has the e-mail now: nothing is removed."""
    world = await settled("member", deletionPolicy="Revoke")
    world.atlas.groups[GROUP_ID].users.clear()
    world.atlas.let_in(user(id=OTHER_ID))
    assert await delete(world) is None
    assert world.atlas.writes == []
    assert is_gone(world)


@virtual_time
async def test_what_this_object_sent_is_canceled_under_any_email() -> None:
    """Atlas shows another form of the e-mail for the result of this object's own POST: it is canceled."""
    world = World()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"))
    await world.turn()
    (made,) = world.atlas.groups[GROUP_ID].invitations.values()
    world.atlas.invite(made.model_copy(update={"username": OTHER_EMAIL}))
    await world.turn()
    world.forget_calls()
    assert await delete(world) is None
    assert world.atlas.writes == [("CancelInvite", made.id)]
    assert is_gone(world)


@virtual_time
async def test_another_persons_invitation_is_not_canceled() -> None:
    """The id turns out to be another person's: nothing is done, even if status does not show that yet."""
    world = World()
    world.atlas.invite(invitation(username=OTHER_EMAIL))
    world.cluster.apply(spec=wire_spec(invitationId=INVITATION_ID, deletionPolicy="Cancel"))
    await world.turn()
    world.cluster.put_status(world.cluster.status().model_copy(update={"conditions": (ready(Reason.RATE_LIMITED),)}))
    world.forget_calls()
    assert await delete(world) is None
    assert world.atlas.names == ["Look"]
    assert is_gone(world)


@virtual_time
async def test_a_suspended_object_is_finalized_without_a_call() -> None:
    """A suspended object makes no Atlas calls, not even when it is deleted."""
    world = await settled(deletionPolicy="Revoke", suspend=None)
    world.cluster.apply(spec=wire_spec(deletionPolicy="Revoke", suspend=True))
    await world.turn()
    assert await delete(world) is None
    assert world.atlas.calls == []
    assert is_gone(world)


@virtual_time
async def test_a_spec_that_cannot_be_read_removes_nothing() -> None:
    """A spec that an older CRD let through: the object is finalized, and nothing is removed on a guess."""
    world = await settled("member", deletionPolicy="Revoke")
    world.cluster.apply(spec=wire_spec(deletionPolicy="Burn"))
    assert await delete(world) is None
    assert world.atlas.calls == []
    assert is_gone(world)


@virtual_time
async def test_an_object_without_our_finalizer_causes_no_work() -> None:
    """Another controller's finalizer keeps it: the operator leaves that finalizer."""
    world = World()
    world.cluster.apply(finalizers=["foregroundDeletion"])
    world.cluster.delete()
    assert await world.turn() is None
    assert world.atlas.calls == []
    assert world.cluster.writes == []


@virtual_time
async def test_another_objects_finalizer_stays() -> None:
    """Only the operator's finalizer is removed; after that nothing is left to do."""
    world = World()
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"), finalizers=["foregroundDeletion"])
    await world.turn()
    assert await delete(world) is None
    assert world.cluster.objects[KEY]["metadata"]["finalizers"] == ["foregroundDeletion"]
    world.forget_calls()
    assert await world.turn() is None
    assert world.atlas.calls == []


# The project.


@virtual_time
async def test_a_project_that_is_gone_ends_the_deletion() -> None:
    """Reading the project says that it is gone.

    The object is finalized at once, with a warning, and nothing is orphaned.
    """
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, PROJECT_GONE)
    world.atlas.faults.fail_always("ReadProject", PROJECT_GONE)
    before = orphans()
    assert await delete(world) is None
    assert world.atlas.names == ["CancelInvite", "ReadProject"]
    assert is_gone(world)
    assert [(n.type, n.reason) for _, n in world.events.published] == [("Warning", "ProjectNotFound")]
    assert orphans() == before


@virtual_time
async def test_one_response_that_a_project_is_gone_is_not_enough() -> None:
    """Reading the project shows that it exists: the object stays, reports why, and the invitation is canceled."""
    world = await settled(deletionPolicy="Cancel")
    world.atlas.faults.fail("CancelInvite", PROJECT_GONE)
    outcome = await delete(world)
    assert outcome is not None
    assert (outcome.reason, outcome.requeue_after) == (Reason.PROJECT_NOT_FOUND, 20.0)
    assert world.atlas.names == ["CancelInvite", "ReadProject"]
    assert await world.turn() is None
    assert world.atlas.groups[GROUP_ID].invitations == {}
    assert is_gone(world)
    assert world.events.reasons == ["ProjectNotFound", "Canceled"]


@virtual_time
async def test_a_project_that_is_reported_gone_but_exists_is_tried_for_ten_minutes() -> None:
    """However often a call says so: while the project can be read, this is a refusal like any other."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, PROJECT_GONE)
    world.cluster.delete()
    began = now()
    await tries(world, 3600)
    assert 600 <= now() - began < 640
    assert is_gone(world)
    assert world.events.reasons[-1] == ORPHANED


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.CREDENTIALS_REJECTED, Reason.PROJECT_NOT_FOUND])
@virtual_time
async def test_a_project_that_may_not_be_read_is_not_gone(reason: Reason) -> None:
    """Reading the project is refused: the operator tries for ten minutes, with that reason on status."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, PROJECT_GONE)
    world.atlas.faults.fail_always("ReadProject", Failure(reason, "refused", error=error(404, "RESOURCE_NOT_FOUND")))
    world.cluster.delete()
    began = now()
    outcomes = await tries(world, 3600)
    assert {o.reason for o in outcomes if o} == {reason}
    assert 600 <= now() - began < 640
    assert world.events.reasons[-1] == ORPHANED


@virtual_time
async def test_a_project_that_cannot_be_read_for_now_is_not_gone() -> None:
    """Atlas does not say whether the project exists: the operator tries for as long as it takes."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, PROJECT_GONE)
    world.atlas.faults.fail_always("ReadProject", Failure(Reason.ATLAS_UNAVAILABLE, "no answer"))
    await delete(world)
    await asyncio.sleep(3600)
    outcome = await world.turn()
    assert outcome is not None
    assert outcome.reason is Reason.ATLAS_UNAVAILABLE
    assert not is_gone(world)


BY_REF = {"groupId": None, "projectRef": {"name": "payments"}, "deletionPolicy": "Cancel"}
PAYMENTS = Key("team-a", "payments")


@virtual_time
async def test_a_reference_that_is_gone_is_not_needed() -> None:
    """status.invitation names the project: the AtlasProject may be gone already."""
    world = World()
    world.cluster.project_ids[PAYMENTS] = GROUP_ID
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(**BY_REF))
    await world.turn()
    world.cluster.project_ids.clear()
    await asyncio.sleep(3600)
    world.forget_calls()
    assert await delete(world) is None
    assert world.atlas.names == ["CancelInvite"]
    assert is_gone(world)


@pytest.mark.parametrize(("policy", "writes"), [("Cancel", []), ("Revoke", [("RemoveUser", USER_ID)])])
@virtual_time
async def test_the_last_known_project_serves_if_its_reference_is_gone(
    policy: str, writes: list[tuple[str, str]]
) -> None:
    """A member does not name the project; the AtlasProject has just gone, and its id is still in memory."""
    world = World()
    world.cluster.project_ids[PAYMENTS] = GROUP_ID
    world.atlas.let_in(user())
    world.cluster.apply(spec=wire_spec(**{**BY_REF, "deletionPolicy": policy}))
    await world.turn()
    world.cluster.project_ids.clear()
    await asyncio.sleep(31)
    world.forget_calls()
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.writes == writes
    assert ORPHANED not in world.events.reasons


@pytest.mark.parametrize(("policy", "seconds", "events"), [("Cancel", 0, []), ("Revoke", 600, [ORPHANED])])
@virtual_time
async def test_a_member_of_a_project_that_is_no_longer_known(policy: str, seconds: int, events: list[str]) -> None:
    """After a restart the AtlasProject is gone: Cancel has nothing to do; Revoke tries for ten minutes."""
    world = World()
    world.cluster.project_ids[PAYMENTS] = GROUP_ID
    world.atlas.let_in(user())
    world.cluster.apply(spec=wire_spec(**{**BY_REF, "deletionPolicy": policy}))
    await world.turn()
    world.cluster.project_ids.clear()
    world.restart()
    world.forget_calls()
    world.cluster.delete()
    began = now()
    await goes(world)
    assert seconds <= now() - began < seconds + 40
    assert world.atlas.calls == []
    assert [reason for reason in world.events.reasons if reason == ORPHANED] == events


@virtual_time
async def test_a_project_that_was_resolved_is_read() -> None:
    """No invitation was known, but the project was: an invitation that is pending by now is canceled."""
    world = World()
    world.cluster.project_ids[PAYMENTS] = GROUP_ID
    world.cluster.apply(spec=wire_spec(**BY_REF, invitationId=INVITATION_ID))
    await world.turn()
    assert world.cluster.status().invitation is None
    world.atlas.invite()
    world.forget_calls()
    assert await delete(world) is None
    assert world.atlas.names == ["Look", "CancelInvite"]


# The Secret.


async def tries(world: World, seconds: float) -> list[Outcome | None]:
    """Turn as often as the outcomes ask for, for this time or until the object is finalized."""
    outcomes: list[Outcome | None] = []
    while not outcomes or (now() < seconds and outcomes[-1] is not None):
        outcome = await world.turn()
        outcomes.append(outcome)
        if outcome is not None:
            assert outcome.requeue_after is not None
            await asyncio.sleep(outcome.requeue_after)
    return outcomes


@virtual_time
async def test_without_the_secret_the_last_credentials_serve() -> None:
    """If a namespace is deleted, its Secrets go first."""
    world = await settled(deletionPolicy="Cancel")
    world.cluster.secrets.clear()
    await asyncio.sleep(61)
    assert await delete(world) is None
    assert world.atlas.calls == [("CancelInvite", INVITATION_ID)]
    assert world.atlas.credentials == [CREDENTIALS]
    assert is_gone(world)
    assert world.events.reasons == ["Canceled"]


@pytest.mark.parametrize("lost", [Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID])
@virtual_time
async def test_without_any_credentials_it_ends_after_a_minute(lost: Reason) -> None:
    """After a restart the Secret is missing or invalid: the object is finalized after a minute, with the warning."""
    world = await settled(deletionPolicy="Cancel")
    world.restart()
    world.cluster.secrets[SECRET] = Failure(lost, "the Secret is of no use")
    world.cluster.delete()
    began = now()
    outcomes = await tries(world, 3600)
    assert {o.reason for o in outcomes if o} == {lost}
    assert 60 <= now() - began < 90
    assert is_gone(world)
    assert world.atlas.calls == []
    assert world.events.reasons[-1] == ORPHANED
    assert world.write_kinds == ["status", "finalizer"]


@pytest.mark.parametrize(
    "answer",
    [
        Failure(Reason.CREDENTIALS_REJECTED, "rejected", error=error(401, "UNAUTHORIZED")),
        Failure(Reason.ATLAS_UNAVAILABLE, "no answer", retry_after=900.0),
        Failure(Reason.RATE_LIMITED, "slow down", retry_after=900.0),
    ],
)
@virtual_time
async def test_without_the_secret_it_ends_whatever_atlas_responds(answer: Failure) -> None:
    """The last credentials are refused, or Atlas is unavailable: still a minute, even if Atlas asks to wait longer."""
    world = await settled(deletionPolicy="Cancel")
    world.cluster.secrets.clear()
    await asyncio.sleep(61)
    fail_always(world, answer)
    world.cluster.delete()
    began = now()
    await tries(world, 3600)
    assert 60 <= now() - began < 90
    assert is_gone(world)
    assert world.events.reasons[-1] == ORPHANED


@virtual_time
async def test_a_secret_that_comes_back_in_time_avoids_the_warning() -> None:
    """Within the minute: no warning."""
    world = await settled(deletionPolicy="Cancel")
    world.restart()
    world.cluster.secrets.clear()
    world.cluster.delete()
    assert await world.turn() is not None
    await asyncio.sleep(61)
    world.cluster.secrets[SECRET] = CREDENTIALS
    assert await world.turn() is None
    assert world.atlas.names == ["CancelInvite"]
    assert world.events.reasons[-1] == "Canceled"


# What Atlas refuses, and what it does not respond to.


REFUSALS = [Reason.CREDENTIALS_REJECTED, Reason.FORBIDDEN, Reason.INVALID_REQUEST, Reason.PROJECT_NOT_FOUND]


@pytest.mark.parametrize("reason", REFUSALS)
@virtual_time
async def test_what_atlas_refuses_is_tried_for_ten_minutes(reason: Reason) -> None:
    """401, 403, other 4xx: ten minutes, then the finalizer is removed with the warning, whatever Retry-After says.

    One status write.
    """
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, Failure(reason, "refused", error=error(400, "X"), retry_after=900.0))
    world.cluster.delete()
    began = now()
    outcomes = await tries(world, 3600)
    assert {o.reason for o in outcomes if o} == {reason}
    assert 600 <= now() - began < 640
    assert is_gone(world)
    assert world.events.reasons[-1] == ORPHANED
    assert world.write_kinds == ["status", "finalizer"]


async def deleted_long_ago(world: World) -> None:
    """Let the object be deleted an hour before a new process begins."""
    world.cluster.delete()
    world.cluster.events.clear()
    await asyncio.sleep(3600)
    world.restart()
    world.forget_calls()


@pytest.mark.parametrize("reason", REFUSALS)
@virtual_time
async def test_the_ten_minutes_begin_with_the_first_refusal_of_this_process(reason: Reason) -> None:
    """Deleted while no operator ran: one refusal at the start does not end it."""
    world = await settled(deletionPolicy="Cancel")
    await deleted_long_ago(world)
    fail_always(world, Failure(reason, "refused", error=error(400, "X")))
    began = now()
    await tries(world, began + 3600)
    assert 600 <= now() - began < 640
    assert is_gone(world)
    assert world.events.reasons[-1] == ORPHANED


@virtual_time
async def test_a_secret_that_is_restored_after_the_start_is_used() -> None:
    """Deleted while no operator ran, and the Secret comes back six seconds after the start.

    The invitation is canceled.
    """
    world = await settled(deletionPolicy="Cancel")
    world.cluster.secrets.clear()
    await deleted_long_ago(world)
    began = now()
    asyncio.get_running_loop().call_later(6, world.cluster.secrets.__setitem__, SECRET, CREDENTIALS)
    await tries(world, began + 3600)
    assert now() - began < 90
    assert world.atlas.names == ["CancelInvite"]
    assert world.events.reasons[-1] == "Canceled"


@pytest.mark.parametrize(
    "between", [Reason.ATLAS_UNAVAILABLE, Reason.SECRET_NOT_FOUND], ids=["unavailable", "secret lost"]
)
@virtual_time
async def test_the_ten_minutes_start_again_after_another_outcome(between: Reason) -> None:
    """Nine minutes of refusals, another outcome, nine minutes of refusals: the operator still tries."""
    world = await settled(deletionPolicy="Cancel")
    world.restart()
    fail_always(world, FORBIDDEN)
    world.cluster.delete()
    await tries(world, now() + 540)
    if between is Reason.SECRET_NOT_FOUND:
        world.cluster.faults.fail("secret", Failure(between, "gone"))
        await asyncio.sleep(61)
    else:
        fail_always(world, Failure(between, "no answer"))
    assert await world.turn() is not None
    await asyncio.sleep(61)
    fail_always(world, FORBIDDEN)
    again = now()
    await tries(world, again + 540)
    assert not is_gone(world)
    await tries(world, again + 3600)
    assert 600 <= now() - again < 640
    assert is_gone(world)


@pytest.mark.parametrize("ahead", [-timedelta(days=1), timedelta(days=1)], ids=["behind", "ahead"])
@virtual_time
async def test_the_clock_of_the_node_does_not_matter(ahead: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local clock that is a day off ends no deletion early, and delays none."""
    monkeypatch.setattr(World, "wall", staticmethod(lambda: NOW + ahead + timedelta(seconds=now())))
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, FORBIDDEN)
    world.cluster.delete()
    began = now()
    await tries(world, 3600)
    assert 600 <= now() - began < 640
    assert is_gone(world)


@pytest.mark.parametrize("reason", [r for r in Reason if r.kind is Kind.RETRYING])
@virtual_time
async def test_an_unavailable_atlas_is_tried_without_a_limit(reason: Reason) -> None:
    """Unavailable, rate limited, 409: the finalizer stays for days if needed, and is removed once Atlas is back."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, Failure(reason, "later"))
    assert await delete(world) is not None
    for _ in range(10):
        await asyncio.sleep(timedelta(days=1).total_seconds())
        outcome = await world.turn()
        assert outcome is not None
        assert (outcome.reason, outcome.requeue_after) == (reason, None)
    assert world.write_kinds == ["status"]
    for call in ("Look", "CancelInvite"):
        world.atlas.faults.fail_always(call, None)
    assert await world.turn() is None
    assert is_gone(world)
    assert ORPHANED not in world.events.reasons


@virtual_time
async def test_retry_after_is_honored_while_atlas_is_unavailable() -> None:
    """Retry-After during an outage is the time of the requeue."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, Failure(Reason.RATE_LIMITED, "slow down", retry_after=42.0))
    outcome = await delete(world)
    assert outcome is not None
    assert outcome.requeue_after == 42.0


@virtual_time
async def test_this_process_always_tries_first() -> None:
    """Deleted an hour before the operator started: it tries, and only a failure removes the finalizer."""
    world = await settled(deletionPolicy="Cancel")
    world.cluster.delete()
    world.cluster.events.clear()
    await asyncio.sleep(3600)
    world.restart()
    assert await world.turn() is None
    assert world.atlas.names == ["CancelInvite"]
    assert world.events.reasons == ["Canceled"]


async def check_it_is_tried_for_ten_minutes(world: World) -> None:
    """Check that a legacy invitation, which cannot be canceled, keeps its object for ten minutes.

    It ends with the warning.
    """
    began = now()
    outcomes = await tries(world, 3600)
    assert {o.reason for o in outcomes if o} == {Reason.LEGACY_INVITATION}
    assert 600 <= now() - began < 640
    assert world.events.reasons[-1] == ORPHANED


@virtual_time
async def test_a_legacy_invitation_is_tried_for_ten_minutes() -> None:
    """Users mode cannot cancel what the Invites API sent.

    Ten minutes, then the finalizer is removed with the warning.
    """
    world = await settled(deletionPolicy="Cancel")
    world.atlas.api = Api.USERS
    world.cluster.delete()
    await check_it_is_tried_for_ten_minutes(world)


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
@virtual_time
async def test_a_legacy_invitation_is_not_confused_with_another_one(policy: str) -> None:
    """The person was invited again through the Users API: that invitation stays, and the warning is about ours."""
    world = await settled(deletionPolicy=policy)
    world.atlas.api = Api.USERS
    other = world.atlas.let_in(user(Membership.PENDING))
    world.cluster.delete()
    await check_it_is_tried_for_ten_minutes(world)
    assert world.atlas.groups[GROUP_ID].users == {other.id: other}


@virtual_time
async def test_an_expired_legacy_invitation_needs_no_cancellation() -> None:
    """Past expiresAt there is nothing to cancel."""
    world = await settled(deletionPolicy="Cancel")
    world.atlas.api = Api.USERS
    world.atlas.time = EXPIRES
    assert await delete(world) is None
    assert is_gone(world)
    assert world.events.published == []


# Other objects.


OTHER = Key("team-b", "jane-too")


async def with_another(world: World, **metadata: Any) -> None:  # noqa: ANN401 - metadata
    """Let another object name the same invitation, in another namespace."""
    world.cluster.secrets[Key("team-b", SECRET.name)] = CREDENTIALS
    world.cluster.apply(OTHER, spec=wire_spec(deletionPolicy="Cancel"), **metadata)


@pytest.mark.parametrize("created", ["2026-08-09T00:00:00Z", "2026-08-11T00:00:00Z"], ids=["older", "younger"])
@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
@virtual_time
async def test_what_another_object_has_is_left(created: str, policy: str) -> None:
    """Renamed or moved: with every policy the invitation stays for the other live object."""
    world = await settled(deletionPolicy=policy)
    await with_another(world, creationTimestamp=created)
    await world.turn(OTHER)
    world.forget_calls()
    is_older = created < "2026-08-10"
    assert await (delete(world) if is_older else delete_and_hand_over(world, OTHER)) is None
    assert world.atlas.calls == []
    assert is_gone(world)
    assert world.atlas.groups[GROUP_ID].invitations == {INVITATION_ID: invitation()}


@virtual_time
async def test_a_deletion_waits_until_the_other_object_was_evaluated() -> None:
    """The other object may turn out to have it: the deletion waits for at most a minute, without a call."""
    world = await settled(deletionPolicy="Cancel")
    await with_another(world)
    world.cluster.delete()
    for _ in range(6):
        with pytest.raises(Later):
            await world.turn()
        await asyncio.sleep(9)
    assert world.atlas.calls == []
    await asyncio.sleep(9)
    assert await world.turn() is None
    assert world.atlas.names == ["CancelInvite"]


@virtual_time
async def test_an_object_that_is_being_deleted_too_has_no_claim() -> None:
    """Both are deleted: the first one cancels."""
    world = await settled(deletionPolicy="Cancel")
    await with_another(world)
    await world.turn(OTHER)
    world.cluster.delete(OTHER)
    world.forget_calls()
    assert await delete(world) is None
    assert world.atlas.names == ["CancelInvite"]
    assert await world.turn(OTHER) is None
    assert world.atlas.groups[GROUP_ID].invitations == {}
    assert world.cluster.objects == {}


# What may be left in Atlas.


def warnings(world: World) -> list[str]:
    """Return the events about what may be left in Atlas."""
    return [notice.note for _, notice in world.events.published if notice.reason == ORPHANED]


async def killed_after_send(**spec: Any) -> World:  # noqa: ANN401 - a spec's fields
    """Return the world of a new process: the one before was killed between the send and the status write."""
    world = World()
    world.cluster.apply(spec=wire_spec(**spec))
    world.cluster.faults.fail("status", ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    world.restart()
    world.forget_calls()
    return world


@pytest.mark.parametrize("api", list(Api))
@virtual_time
async def test_what_a_former_process_may_have_sent_is_left_and_warned_of(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """Status shows nothing of it, and no policy is set: nothing is removed, and the event names what may be left."""
    world = World()
    world.atlas.api = api
    world.cluster.apply(finalizers=[FINALIZER])
    there = world.atlas.invite() if api is Api.INVITES else world.atlas.let_in(user(Membership.PENDING))
    before = orphans() or 0.0
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.writes == []
    (warning,) = warnings(world)
    assert there.id in warning
    assert EMAIL in warning
    assert orphans() == before + 1
    assert "OrphanedInvitation" in caplog.text
    assert EMAIL not in caplog.text


@virtual_time
async def test_an_invitation_whose_status_write_was_lost_is_warned_of() -> None:
    """The send worked, the status write failed, the process was killed, the object was deleted: an event warns."""
    world = await killed_after_send()
    (sent,) = world.atlas.groups[GROUP_ID].invitations.values()
    assert await delete(world) is None
    assert list(world.atlas.groups[GROUP_ID].invitations) == [sent.id]
    (warning,) = warnings(world)
    assert sent.id in warning


@virtual_time
async def test_what_may_have_been_sent_and_shows_late_is_warned_of() -> None:
    """A list may lag behind what a former process has sent: the operator waits a minute, and reads again."""
    world = World()
    world.cluster.apply(finalizers=[FINALIZER])
    asyncio.get_running_loop().call_later(45, arrives, world)
    world.cluster.delete()
    await goes(world)
    assert world.atlas.writes == []
    (warning,) = warnings(world)
    assert LATER_ID in warning


@pytest.mark.parametrize("there", ["nothing", "member"])
@virtual_time
async def test_if_nothing_is_left_there_is_no_warning(there: str) -> None:
    """Nobody is invited, or the person is a member, whom no policy asks to remove."""
    world = World()
    world.cluster.apply(finalizers=[FINALIZER])
    if there == "member":
        world.atlas.let_in(user())
    world.cluster.delete()
    await goes(world)
    assert world.atlas.writes == []
    assert world.events.reasons == (["ConfirmingInvitation"] if there == "nothing" else [])


@virtual_time
async def test_an_object_that_cannot_have_sent_is_finalized_without_a_read() -> None:
    """This process added the finalizer and Atlas refused the send; or the object is by id, and never sends."""
    world = World()
    world.atlas.faults.fail("CreateInvite", Failure(Reason.INVALID_REQUEST, "no", error=error(400, "NO")))
    world.cluster.apply()
    await world.turn()
    by_id = Key("team-a", "by-id")
    spec = wire_spec(username=None, invitationId=OTHER_ID)
    world.cluster.apply(by_id, spec=spec, finalizers=[FINALIZER])
    world.forget_calls()
    for key in (KEY, by_id):
        world.cluster.delete(key)
        assert await world.turn(key) is None
    assert world.cluster.objects == {}
    assert world.atlas.calls == []
    assert world.events.published == []


@virtual_time
async def test_what_a_former_process_may_have_sent_again_is_left_and_warned_of() -> None:
    """OnExpiry, and status shows only the expired invitation: one with another id is not known to be this object's."""
    world = World()
    world.cluster.apply(spec=wire_spec(reinvitePolicy="OnExpiry"), finalizers=[FINALIZER])
    world.cluster.put_status(EXPIRED)
    arrives(world)
    assert await delete(world) is None
    assert world.atlas.writes == []
    (warning,) = warnings(world)
    assert LATER_ID in warning


PENDING = status(
    observed_generation=1,
    state=State.PENDING,
    origin=Origin.CREATED,
    invitation=invitation(),
    atlas=AtlasInfo(),
    conditions=(ready(Reason.INVITED, status="True"),),
)
ACCEPTED = PENDING.model_copy(update={"state": State.ACCEPTED, "member": member()})


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize(
    ("policy", "known", "named"),
    [
        (None, PENDING, INVITATION_ID),
        ("Cancel", PENDING, INVITATION_ID),
        ("Revoke", PENDING, INVITATION_ID),
        ("Retain", PENDING, None),
        (None, ACCEPTED, None),
        ("Cancel", ACCEPTED, None),
        ("Revoke", ACCEPTED, USER_ID),
    ],
)
@pytest.mark.parametrize("because", ["suspended", "another e-mail"])
@virtual_time
async def test_what_was_created_and_is_left_behind_is_warned_of(
    because: str, policy: str | None, known: Status, named: str | None, origin: Origin
) -> None:
    """The policy would have removed it, but the operator leaves Atlas unchanged: the event names what was created."""
    world = World()
    world.cluster.apply(spec=wire_spec(deletionPolicy=policy, suspend=because == "suspended"), finalizers=[FINALIZER])
    conditions = (ready(Reason.IDENTITY_MISMATCH),) if because == "another e-mail" else known.conditions
    world.cluster.put_status(known.model_copy(update={"origin": origin, "conditions": conditions}))
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.calls == []
    if origin is Origin.CREATED and named is not None:
        (warning,) = warnings(world)
        assert named in warning
        assert EMAIL in warning
    else:
        assert world.events.published == []


@pytest.mark.parametrize("known", [PENDING, ACCEPTED], ids=["pending", "accepted"])
@pytest.mark.parametrize("origin", list(Origin))
@virtual_time
async def test_what_an_object_with_an_unreadable_spec_created_is_warned_of(origin: Origin, known: Status) -> None:
    """Its policy is not known: nothing is removed, and what it created may be left."""
    world = World()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Burn"), finalizers=[FINALIZER])
    world.cluster.put_status(known.model_copy(update={"origin": origin}))
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.calls == []
    assert len(warnings(world)) == (origin is Origin.CREATED)


@pytest.mark.parametrize("origin", list(Origin))
@virtual_time
async def test_what_was_created_is_warned_of_if_atlas_shows_another_email(origin: Origin) -> None:
    """The id of the spec has another person's invitation: it is left, and so is the member."""
    world = World()
    world.atlas.invite(invitation(id=OTHER_ID, username=OTHER_EMAIL))
    spec = wire_spec(invitationId=OTHER_ID, deletionPolicy="Revoke")
    world.cluster.apply(spec=spec, finalizers=[FINALIZER])
    world.cluster.put_status(ACCEPTED.model_copy(update={"origin": origin, "invitation": None}))
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.names == ["Look", "Confirm"]
    assert [USER_ID in warning for warning in warnings(world)] == [True] * (origin is Origin.CREATED)


@virtual_time
async def test_a_project_that_was_not_resolved_may_hold_what_a_former_process_sent() -> None:
    """The finalizer is added only once the project was read, so a former process may have sent something."""
    world = World()
    world.cluster.apply(spec=wire_spec(**BY_REF), finalizers=[FINALIZER])
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.calls == []
    assert len(warnings(world)) == 1


@pytest.mark.parametrize("change", [{}, {"suspend": True}, {"deletionPolicy": "Burn"}], ids=str)
@virtual_time
async def test_what_another_object_has_is_not_an_orphan(change: dict[str, Any]) -> None:
    """Created and renamed.

    The new object takes it over, so nothing is left behind, even if that object is suspended or unreadable.
    """
    world = await settled("nothing")
    await with_another(world)
    await world.turn(OTHER)
    world.cluster.apply(spec=wire_spec(**change))
    world.forget_calls()
    assert await delete_and_hand_over(world, OTHER) is None
    assert is_gone(world)
    assert KEY not in [key for key, _ in world.events.published]


@virtual_time
async def test_an_orphan_that_atlas_refused_to_cancel_is_named() -> None:
    """The event of a deletion that was given up names the invitation, its e-mail, and the cause."""
    world = await settled(deletionPolicy="Cancel")
    world.cluster.annotate(FORCE_DELETE, "true")
    fail_always(world, FORBIDDEN)
    await delete(world)
    (warning,) = warnings(world)
    assert INVITATION_ID in warning
    assert EMAIL in warning
    assert FORBIDDEN.message in warning


# What changes during a turn.


@pytest.mark.parametrize("change", ["retain", "suspend", "finalizer", "new"])
@pytest.mark.parametrize(
    ("there", "call"), [("pending", "secret"), ("users-pending", "ReadUser"), ("member", "ReadUser")]
)
@virtual_time
async def test_a_change_goes_before_a_removal(there: str, call: str, change: str) -> None:
    """Right before the call the object must still ask for it.

    Not retained, suspended, finalized or replaced meanwhile.
    """
    world = await settled(there, deletionPolicy="Revoke")
    world.restart()
    world.cluster.delete()
    world.deliver()

    def happens() -> None:
        if change == "retain":
            world.cluster.apply(spec=wire_spec(deletionPolicy="Retain"))
        elif change == "suspend":
            world.cluster.apply(spec=wire_spec(deletionPolicy="Revoke", suspend=True))
        elif change == "finalizer":
            world.cluster.apply(finalizers=[])
        else:
            world.cluster.apply(finalizers=[], uid="another", deletionTimestamp=None)
        world.deliver()

    (world.cluster if call == "secret" else world.atlas).faults.before(call, happens)
    with pytest.raises(Stale):
        await world.turn()
    assert world.atlas.writes == []


BY_ID = Key("team-a", "by-id")


async def claimed_by_id(*, evaluated: bool = True) -> World:
    """Return the world of a new process.

    A member is about to be removed by Revoke, and another object names the user's id.
    """
    world = World()
    world.atlas.api = Api.USERS
    world.atlas.let_in(user())
    world.cluster.apply(spec=wire_spec(deletionPolicy="Revoke"))
    await world.turn()
    by_id = wire_spec(username=None, invitationId=USER_ID, deletionPolicy="Revoke")
    world.cluster.apply(BY_ID, spec=by_id, creationTimestamp="2026-08-11T00:00:00Z")
    if evaluated:
        await world.turn(BY_ID)
    world.restart()
    world.forget_calls()
    world.cluster.delete()
    return world


@virtual_time
async def test_a_member_whom_another_object_names_by_id_stays() -> None:
    """What was observed is claimed before anything is removed: the user's id belongs to another live object."""
    world = await claimed_by_id()
    with pytest.raises(Later):
        await world.turn()
    await world.turn(BY_ID)
    assert await world.turn() is None
    assert is_gone(world)
    assert world.atlas.writes == []
    assert KEY not in [key for key, _ in world.events.published]


@virtual_time
async def test_what_is_observed_for_the_first_time_is_claimed_too() -> None:
    """Status shows no member yet; the member with this e-mail belongs, by its id, to another live object."""
    world = World()
    world.atlas.api = Api.USERS
    world.atlas.let_in(user())
    world.cluster.apply(BY_ID, spec=wire_spec(username=None, invitationId=USER_ID))
    await world.turn(BY_ID)
    world.cluster.apply(spec=wire_spec(deletionPolicy="Revoke"), finalizers=[FINALIZER])
    world.restart()
    assert await delete(world) is None
    assert is_gone(world)
    assert world.atlas.names[-1] == "Look"
    assert world.atlas.writes == []


@virtual_time
async def test_a_deletion_waits_for_an_object_that_names_what_it_observes() -> None:
    """The other object was not evaluated yet: nothing is removed before that."""
    world = await claimed_by_id(evaluated=False)
    with pytest.raises(Later):
        await world.turn()
    assert world.atlas.writes == []
    await world.turn(BY_ID)
    assert await world.turn() is None
    assert is_gone(world)
    assert world.atlas.writes == []


@virtual_time
async def test_a_deletion_waits_only_briefly_for_an_object_that_is_never_evaluated() -> None:
    """After a minute the policy applies."""
    world = await claimed_by_id(evaluated=False)
    began = now()
    while not is_gone(world):
        try:
            await world.turn()
        except Later as later:
            await asyncio.sleep(later.seconds)
    assert 60 <= now() - began < 65
    assert world.atlas.writes == [("RemoveUser", USER_ID)]


@virtual_time
async def test_another_object_with_a_projectref_keeps_its_member() -> None:
    """After a restart the project of a reference is not known: the deletion compares once it was resolved."""
    world = World()
    world.cluster.project_ids[PAYMENTS] = GROUP_ID
    world.atlas.let_in(user())
    world.cluster.apply(spec=wire_spec(**{**BY_REF, "deletionPolicy": "Revoke"}))
    await world.turn()
    await with_another(world, creationTimestamp="2026-08-11T00:00:00Z")
    await world.turn(OTHER)
    world.restart()
    world.forget_calls()
    assert await delete_and_hand_over(world, OTHER) is None
    assert is_gone(world)
    assert world.atlas.writes == []


# What may still be under way.


LATER_ID = "5f4fe14da2b47835a58c7000"
EXPIRED = status(
    observed_generation=1,
    state=State.PENDING,
    origin=Origin.CREATED,
    invitation=invitation(createdAt="2026-07-01T00:00:00Z", expiresAt="2026-07-31T00:00:00Z"),
    atlas=AtlasInfo(),
    conditions=(ready(Reason.INVITED, status="True"),),
)


def lost_response() -> Failure:
    failure = Failure(Reason.ATLAS_UNAVAILABLE, "no answer in time")
    failure.unanswered = True
    return failure


def arrives(world: World) -> None:
    """Let an invitation that was sent a moment ago be pending in Atlas."""
    sent = world.atlas.now()
    new = invitation(id=LATER_ID, createdAt=time_text(sent), expiresAt=time_text(sent + timedelta(days=30)))
    world.atlas.invite(new)


async def goes(world: World) -> None:
    """Turn as the engine does until the object is gone."""
    while not is_gone(world):
        outcome = await world.turn()
        await asyncio.sleep((outcome and outcome.requeue_after) or 1.0)


@pytest.mark.parametrize("lag", [0.0, 45.0])
@virtual_time
async def test_a_second_unconfirmed_send_is_canceled_too(lag: float) -> None:
    """OnExpiry, no response, and then the deletion: that the old id is gone does not end it."""
    world = World()
    spec = wire_spec(reinvitePolicy="OnExpiry", deletionPolicy="Cancel")
    world.cluster.apply(spec=spec, finalizers=[FINALIZER])
    world.cluster.put_status(EXPIRED)
    await world.turn()
    await asyncio.sleep(61)
    world.atlas.faults.fail("CreateInvite", lost_response())
    assert (await world.turn()).reason is Reason.ATLAS_UNAVAILABLE  # type: ignore[union-attr]
    asyncio.get_running_loop().call_later(lag, arrives, world)
    await asyncio.sleep(0)
    world.cluster.delete()
    await goes(world)
    assert world.atlas.writes[-1] == ("CancelInvite", LATER_ID)
    assert world.atlas.groups[GROUP_ID].invitations == {}
    assert world.events.reasons[-1] == "Canceled"


@virtual_time
async def test_what_a_former_process_may_have_sent_again_is_waited_for() -> None:
    """It was due to be sent again, and this process does not know whether it was.

    It waits a minute, and reads again.
    """
    world = World()
    spec = wire_spec(reinvitePolicy="OnExpiry", deletionPolicy="Cancel")
    world.cluster.apply(spec=spec, finalizers=[FINALIZER])
    world.cluster.put_status(EXPIRED)
    asyncio.get_running_loop().call_later(45, arrives, world)
    world.cluster.delete()
    await goes(world)
    assert world.atlas.writes == [("CancelInvite", LATER_ID)]
    assert world.atlas.groups[GROUP_ID].invitations == {}


@virtual_time
async def test_an_unconfirmed_send_before_the_sunset_is_reported() -> None:
    """The send got no response, and then the Invites API ended: what may have been sent cannot be read or canceled."""
    world = World()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"))
    world.atlas.faults.fail("CreateInvite", lost_response())
    await world.turn()
    world.atlas.api = Api.USERS
    world.cluster.delete()
    await check_it_is_tried_for_ten_minutes(world)


@virtual_time
async def test_a_project_to_which_something_was_sent_was_resolved() -> None:
    """The first send got no response, so status is empty, and the object is deleted: the operator reads Atlas."""
    world = World()
    world.cluster.project_ids[PAYMENTS] = GROUP_ID
    world.cluster.apply(spec=wire_spec(**BY_REF))

    def happens() -> None:
        arrives(world)
        world.cluster.delete()

    world.atlas.faults.before("CreateInvite", happens)
    world.atlas.faults.fail("CreateInvite", lost_response())
    with pytest.raises(Stale):
        await world.turn()
    await goes(world)
    assert world.atlas.groups[GROUP_ID].invitations == {}
    assert world.events.reasons == ["Canceled"]


# force-delete.


@pytest.mark.parametrize("failure", [FORBIDDEN, Failure(Reason.ATLAS_UNAVAILABLE, "no answer")])
@virtual_time
async def test_force_delete_is_one_try(failure: Failure) -> None:
    """One try, then the finalizer is removed with the warning, whatever the result."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, failure)
    assert await delete(world) is not None
    world.forget_calls()
    world.cluster.annotate(FORCE_DELETE, "true")
    assert await world.turn() is None
    assert world.atlas.names == ["CancelInvite"]
    assert is_gone(world)
    assert world.events.reasons == [ORPHANED]


@virtual_time
async def test_force_delete_that_succeeds_warns_of_nothing() -> None:
    """The one try succeeded."""
    world = await settled(deletionPolicy="Cancel")
    world.cluster.annotate(FORCE_DELETE, "true")
    assert await delete(world) is None
    assert world.events.reasons == ["Canceled"]


@virtual_time
async def test_force_delete_of_a_live_object_does_nothing() -> None:
    """The annotation applies only to objects that are being deleted."""
    world = await settled(deletionPolicy="Cancel")
    world.cluster.annotate(FORCE_DELETE, "true")
    await world.turn()
    assert world.atlas.writes == []
    assert not is_gone(world)


# The cluster.


@pytest.mark.parametrize("trouble", [Stale("changed"), ClusterUnavailable("no answer")])
@virtual_time
async def test_a_finalizer_that_cannot_be_removed_is_tried_again(trouble: Exception) -> None:
    """Canceled in Atlas, then the cluster is unavailable.

    The next turn asks Atlas for nothing, and removes the finalizer.
    """
    world = await settled(deletionPolicy="Cancel")
    world.cluster.faults.fail("finalizer", trouble)
    world.cluster.delete()
    with pytest.raises(type(trouble)):
        await world.turn()
    assert await world.turn() is None
    assert world.atlas.names == ["CancelInvite"]
    assert is_gone(world)
    assert world.events.reasons == ["Canceled"]


def orphans() -> float | None:
    return REGISTRY.get_sample_value("atlas_invites_orphaned_total")


@virtual_time
async def test_an_orphan_is_counted_once_its_finalizer_is_removed() -> None:
    """However often the removal of the finalizer failed: one event, one line, one more in the counter."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, FORBIDDEN)
    world.cluster.annotate(FORCE_DELETE, "true")
    world.cluster.faults.fail("finalizer", ClusterUnavailable("no answer"), Stale("changed"))
    before = orphans() or 0.0
    world.cluster.delete()
    for trouble in (ClusterUnavailable, Stale):
        with pytest.raises(trouble):
            await world.turn()
    assert (world.events.published, orphans()) == ([], before)
    assert await world.turn() is None
    assert (world.events.reasons, orphans()) == ([ORPHANED], before + 1)


@virtual_time
async def test_a_failure_is_reported_on_status() -> None:
    """While the object exists, status says why; what was known of the invitation stays."""
    world = await settled(deletionPolicy="Cancel")
    fail_always(world, FORBIDDEN)
    await delete(world)
    status = world.cluster.status()
    said = status.condition("Ready")
    assert said is not None
    assert (said.reason, status.error) == ("Forbidden", FORBIDDEN.error)
    assert (status.state, status.invitation, status.origin) == (State.PENDING, invitation(), Origin.ADOPTED)
    assert status.observed_generation == world.cluster.objects[KEY]["metadata"]["generation"]


@virtual_time
async def test_a_user_is_removed_by_id() -> None:
    """The pending user of the Users API is removed by the user's id."""
    world = await settled("users-pending", deletionPolicy="Cancel", roles=[OWNER, "GROUP_READ_ONLY"])
    known = world.cluster.status().invitation
    assert known is not None
    assert known.id == users_invitation().id
    await delete(world)
    assert world.atlas.writes == [("RemoveUser", USER_ID)]


@pytest.mark.parametrize(
    "trouble", [WriteRefused("to write the finalizer", 422, "denied"), ClusterUnavailable("no answer")]
)
@virtual_time
async def test_a_finalizer_that_cannot_be_removed_asks_atlas_once(trouble: Exception) -> None:
    """Canceled once, reported once, however often the API server refuses the finalizer; then the object is gone."""
    world = await settled("pending", deletionPolicy="Cancel")
    world.cluster.faults.fail_always("finalizer", trouble)
    world.cluster.delete()
    for _ in range(5):
        with suppress(ClusterUnavailable):
            outcome = await world.turn()
            assert outcome is not None
            assert outcome.reason is Reason.WRITE_REFUSED
    assert world.atlas.writes == [("CancelInvite", INVITATION_ID)]
    assert world.events.reasons.count("Canceled") == 1
    world.cluster.faults.fail_always("finalizer", None)
    assert await world.turn() is None
    assert is_gone(world)
    assert len(world.atlas.writes) == 1


@virtual_time
async def test_an_unreadable_object_shows_its_unconfirmed_send_for_a_minute() -> None:
    """Law 3: the next process must know of the send, even if the spec of the object cannot be read."""
    world = World()
    world.cluster.apply()
    failure = Failure(Reason.ATLAS_UNAVAILABLE, "no response")
    failure.unanswered = True
    world.atlas.faults.fail("CreateInvite", failure)
    await world.turn()
    world.cluster.apply(spec=wire_spec(roles=5))
    world.cluster.delete()
    with pytest.raises(Later):
        await world.turn()
    await asyncio.sleep(60)
    await world.turn()
    assert world.cluster.objects == {}
