"""An object is renamed or moved: the deletion waits, another object takes over and inherits what was sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.failures import ClusterUnavailable, Failure, WriteRefused
from atlas_invites.invitation.model import Api, Membership, Origin, State
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, FORCE_DELETE, RESEND_REQUESTED_AT, Key
from tests.unit.builders import EMAIL, GROUP_ID, INVITATION_ID, KEY, error, invitation, user, wire_spec
from tests.unit.controller.fakes import CREDENTIALS, World
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlas_invites.invitation.model import Status

NEW = Key("team-a", "jane-new")
MOVED = Key("team-b", "jane")
BY_EMAIL, BY_ID = {"username": EMAIL}, {"username": None, "invitationId": INVITATION_ID}
LATER = "2026-08-11T00:00:00Z"
THIRD = "2026-08-12T00:00:00Z"
GRACE = 5.0


async def invited(api: Api = Api.INVITES, grace: float = GRACE, **spec: Any) -> World:  # noqa: ANN401 - JSON
    """Return a world with the default grace, in which the object has sent its invitation."""
    world = World(deletion_grace=grace)
    world.atlas.api = api
    world.cluster.secrets[Key(MOVED.namespace, wire_spec()["connectionSecretRef"]["name"])] = CREDENTIALS
    world.cluster.apply(spec=wire_spec(**spec))
    async with world.running():
        await asyncio.sleep(2)
    assert world.cluster.status().origin is Origin.CREATED
    world.restart(listed=False)
    world.forget_calls()
    return world


def names(world: World) -> list[str]:
    """Return the names of the writes to Atlas."""
    return [call[0] for call in world.atlas.writes]


def reasons_of(world: World, key: Key) -> list[str]:
    """Return the reasons that Ready had on status, in order."""
    written = [part for kind, of, part in world.cluster.writes if kind == "status" and of == key]
    return [c["reason"] for part in written for c in part["conditions"] if c["type"] == "Ready"]


def named_by(world: World, how: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of another object for the same invitation, by e-mail or by its id."""
    known = world.cluster.status().invitation
    assert known is not None
    return {name: known.id if name == "invitationId" else value for name, value in how.items()}


def holds(world: World) -> Iterator[str]:
    """Return the ids of the invitations and users in Atlas."""
    group = world.atlas.groups[GROUP_ID]
    return iter([*group.invitations, *group.users])


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize("key", [NEW, MOVED], ids=["renamed", "moved"])
@pytest.mark.parametrize("how", [BY_EMAIL, BY_ID], ids=["by-email", "by-id"])
@pytest.mark.parametrize("first", ["delete", "create"])
@virtual_time
async def test_a_rename_in_one_commit_keeps_the_invitation(first: str, how: dict[str, Any], key: Key, api: Api) -> None:
    """In either order nothing is sent or canceled, and the new object is Created and never Stalled."""
    world = await invited(api)
    spec = wire_spec(**named_by(world, how))
    known = world.cluster.status().invitation
    async with world.running():
        if first == "delete":
            world.cluster.delete()
            await asyncio.sleep(0.01)
        world.cluster.apply(key, spec=spec, creationTimestamp=LATER)
        if first == "create":
            world.cluster.delete()
        await asyncio.sleep(GRACE - 1)
        assert KEY not in world.cluster.objects
        status = world.cluster.status(key)
        assert (status.origin, status.state) == (Origin.CREATED, State.PENDING)
        assert status.invitation is not None
        assert known is not None
        assert status.invitation.id == known.id
        assert reasons_of(world, key) == ["ConfirmingInvitation", "Invited"]
    assert names(world) == []


@pytest.mark.parametrize("api", Api)
@virtual_time
async def test_a_deletion_waits_only_for_the_grace_if_nothing_takes_over(api: Api) -> None:
    """No write before the grace is over, one removal after it, and no status write meanwhile."""
    world = await invited(api)
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE - 0.1)
        assert names(world) == []
        assert world.write_kinds == []
        await asyncio.sleep(1)
        assert names(world) == ["CancelInvite" if api is Api.INVITES else "RemoveUser"]
        assert KEY not in world.cluster.objects


@virtual_time
async def test_a_waiting_deletion_makes_no_calls_about_a_known_invitation() -> None:
    """A pending invitation of the Invites API: one call in all, and one read of the namespace."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE + 1)
        assert [call[0] for call in world.atlas.calls] == ["CancelInvite"]
        assert world.cluster.reads.count(Key("", KEY.namespace)) == 1


@virtual_time
async def test_a_person_who_accepts_while_a_deletion_waits_stays_a_member() -> None:
    """Atlas is read after the wait: Cancel leaves a member alone."""
    world = await invited(Api.USERS)
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(1)
        (user_id,) = holds(world)
        users = world.atlas.groups[GROUP_ID].users
        users[user_id] = users[user_id].model_copy(update={"org_membership_status": "ACTIVE"})
        await asyncio.sleep(GRACE)
        assert KEY not in world.cluster.objects
        assert names(world) == []


@pytest.mark.parametrize("no_wait", ["force-delete", "namespace", "grace 0"])
@virtual_time
async def test_a_deletion_does_not_wait_if_nothing_can_take_over(no_wait: str) -> None:
    """With force-delete, in a namespace that is being deleted, and without a grace."""
    world = await invited(grace=0.0 if no_wait == "grace 0" else GRACE)
    if no_wait == "force-delete":
        world.cluster.annotate(FORCE_DELETE, "true")
    elif no_wait == "namespace":
        world.cluster.ending.add(KEY.namespace)
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(0.5)
        assert names(world) == ["CancelInvite"]
        assert KEY not in world.cluster.objects


@pytest.mark.parametrize("refusal", ["unavailable", "slow"])
@virtual_time
async def test_a_namespace_that_cannot_be_read_counts_as_one_that_stays(refusal: str) -> None:
    """The deletion waits for its grace, and not longer than a read may take."""
    world = await invited()
    if refusal == "slow":
        world.cluster.hanging.add(Key("", KEY.namespace))
    else:
        world.cluster.faults.fail_always("namespace", ClusterUnavailable("down"))
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE - 0.1)
        assert names(world) == []
        await asyncio.sleep(5)
        assert names(world) == ["CancelInvite"]


@pytest.mark.parametrize("gone", ["retained", "accepted"])
@virtual_time
async def test_a_deletion_that_removes_nothing_does_not_wait(gone: str) -> None:
    """The policy Retain, and a member under Cancel."""
    world = await invited(deletionPolicy="Retain" if gone == "retained" else "Cancel")
    if gone == "accepted":
        world.atlas.groups[GROUP_ID].invitations.clear()
        world.atlas.let_in(user())
        async with world.running():
            await world.resync.resync_all()
            await asyncio.sleep(1)
        world.restart(listed=False)
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(0.5)
        assert KEY not in world.cluster.objects
        assert names(world) == []


@pytest.mark.parametrize("origin", Origin)
@virtual_time
async def test_a_prune_of_the_new_object_does_what_the_former_one_would_have_done(origin: Origin) -> None:
    """Renamed, then deleted: what we sent is canceled, what was adopted stays."""
    world = World(deletion_grace=GRACE)
    if origin is Origin.ADOPTED:
        world.atlas.invite(invitation())
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"))
    async with world.running():
        await asyncio.sleep(2)
        assert world.cluster.status().origin is origin
        world.forget_calls()
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(2)
        assert world.cluster.status(NEW).origin is origin
        world.cluster.delete(NEW)
        await asyncio.sleep(GRACE + 1)
        assert NEW not in world.cluster.objects
    assert names(world) == (["CancelInvite"] if origin is Origin.CREATED else [])


@virtual_time
async def test_the_policy_of_the_new_object_wins() -> None:
    """A new object with Retain leaves what the former object has sent."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        world.cluster.apply(NEW, spec=wire_spec(deletionPolicy="Retain"), creationTimestamp=LATER)
        await asyncio.sleep(2)
        world.cluster.delete(NEW)
        await asyncio.sleep(2)
        assert not world.cluster.objects
    assert names(world) == []


@virtual_time
async def test_the_third_object_inherits_too() -> None:
    """Renamed twice within the grace, then deleted: the last object cancels what the first one sent."""
    world = await invited()
    last = Key("team-a", "jane-last")
    async with world.running():
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(0.05)
        world.cluster.delete(NEW)
        world.cluster.apply(last, creationTimestamp=THIRD)
        await asyncio.sleep(2)
        assert set(world.cluster.objects) == {last}
        assert world.cluster.status(last).origin is Origin.CREATED
        world.cluster.delete(last)
        await asyncio.sleep(GRACE + 1)
    assert names(world) == ["CancelInvite"]


@pytest.mark.parametrize("steps", range(1, 40))
@virtual_time
async def test_the_new_object_inherits_over_a_restart_at_any_moment(steps: int) -> None:
    """The operator ends in the middle of a rename: the new object is Created, and nothing is sent or canceled."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(steps * 0.002)
    world.restart(listed=False)
    async with world.running():
        await asyncio.sleep(70)
        assert set(world.cluster.objects) == {NEW}
        assert world.cluster.status(NEW).origin is Origin.CREATED
    assert names(world) == []


@virtual_time
async def test_a_deletion_that_waits_starts_again_after_a_restart() -> None:
    """A process only knows since when it has observed the deletion: it waits for the whole grace."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE - 1)
    world.restart(listed=False)
    async with world.running():
        await asyncio.sleep(GRACE - 1)
        assert names(world) == []
        await asyncio.sleep(2)
        assert names(world) == ["CancelInvite"]


@pytest.mark.parametrize("how", [BY_EMAIL, BY_ID], ids=["by-email", "by-id"])
@virtual_time
async def test_an_object_that_comes_too_late_reports_that_nothing_exists(how: dict[str, Any]) -> None:
    """The invitation was canceled: it takes nothing over, and is not Stalled before the former object is gone."""
    world = await invited()
    world.cluster.faults.fail("finalizer", ClusterUnavailable("down"))
    spec = wire_spec(**named_by(world, how))
    world.atlas.faults.before("CancelInvite", lambda: world.cluster.apply(NEW, spec=spec, creationTimestamp=LATER))
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE + 5)
        assert set(world.cluster.objects) == {NEW}
        assert world.cluster.status(NEW).origin is Origin.ADOPTED
        assert reasons_of(world, NEW) == ["ConfirmingInvitation", "InvitationNotFound"]
    assert names(world) == ["CancelInvite"]


@pytest.mark.parametrize("hinders", ["secret", "suspended"])
@virtual_time
async def test_a_new_object_that_cannot_inherit_delays_the_deletion_for_a_minute_at_most(hinders: str) -> None:
    """A duplicate without its Secret, or a suspended one, cannot show what it inherits: nothing is removed."""
    world = await invited()
    secret = Key("team-a", "other")
    world.cluster.secrets[secret] = CREDENTIALS
    spec = wire_spec(connectionSecretRef={"name": "other"})
    async with world.running():
        world.cluster.apply(NEW, spec=spec, creationTimestamp=LATER)
        await asyncio.sleep(2)
        if hinders == "secret":
            del world.cluster.secrets[secret]
            await asyncio.sleep(61)
        else:
            world.cluster.apply(NEW, spec={**spec, "suspend": True})
            await asyncio.sleep(1)
        world.cluster.delete()
        await asyncio.sleep(58 if hinders == "secret" else 1)
        assert (KEY in world.cluster.objects) is (hinders == "secret")
        await asyncio.sleep(5)
        assert KEY not in world.cluster.objects
    assert names(world) == []


@virtual_time
async def test_a_younger_duplicate_that_is_deleted_does_nothing() -> None:
    """It does not wait, and the older object is unchanged."""
    world = await invited()
    async with world.running():
        world.cluster.apply(NEW, spec=wire_spec(deletionPolicy="Cancel"), creationTimestamp=LATER)
        await asyncio.sleep(2)
        world.forget_calls()
        world.cluster.delete(NEW)
        await asyncio.sleep(1)
        assert NEW not in world.cluster.objects
        assert reasons_of(world, KEY) == []
    assert names(world) == []


@virtual_time
async def test_another_finalizer_on_the_former_object_does_not_delay_the_new_one() -> None:
    """A foreground deletion keeps the former object, which no longer has the invitation."""
    world = await invited()
    async with world.running():
        world.cluster.apply(finalizers=[*world.cluster.objects[KEY]["metadata"]["finalizers"], "foregroundDeletion"])
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(2)
        assert KEY in world.cluster.objects
        assert reasons_of(world, NEW)[-1] == "Invited"


@virtual_time
async def test_a_new_object_that_counts_as_older_inherits_too() -> None:
    """Creation times are whole seconds: if they are equal, the uid decides, which says nothing about age."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp="2026-08-01T00:00:00Z")
        await asyncio.sleep(2)
        assert set(world.cluster.objects) == {NEW}
        assert world.cluster.status(NEW).origin is Origin.CREATED
    assert names(world) == []


@virtual_time
async def test_a_rename_during_an_outage_with_responses_is_not_too_late() -> None:
    """Atlas refuses to cancel for now: an object that comes meanwhile still inherits."""
    world = await invited()
    world.atlas.faults.fail_always(
        "CancelInvite", Failure(Reason.RATE_LIMITED, "slow down", error=error(429, "RATE_LIMITED"))
    )
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE + 3)
        assert "CancelInvite" in names(world)
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(5)
        assert set(world.cluster.objects) == {NEW}
        assert world.cluster.status(NEW).origin is Origin.CREATED


@virtual_time
async def test_roles_that_change_with_the_name_are_one_patch() -> None:
    """A rename with other roles: the new object knows the invitation, and sets its roles."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        world.cluster.apply(NEW, spec=wire_spec(roles=["GROUP_OWNER"]), creationTimestamp=LATER)
        await asyncio.sleep(2)
        status: Status = world.cluster.status(NEW)
        assert status.invitation is not None
        assert status.invitation.roles == ("GROUP_OWNER",)
    assert names(world) == ["UpdateInvite"]


@pytest.mark.parametrize("after", range(0, 120, 4))
@virtual_time
async def test_a_new_object_that_is_deleted_at_any_moment_leaves_nothing_behind(after: int) -> None:
    """Renamed, and some milliseconds later the new object is deleted too: what we sent is canceled once."""
    world = await invited()
    async with world.running():
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(after / 1000)
        world.cluster.delete(NEW)
        await asyncio.sleep(70)
        assert not world.cluster.objects
    assert names(world) == ["CancelInvite"]
    assert not list(holds(world))


@virtual_time
async def test_a_resend_that_the_former_object_has_handled_is_not_repeated() -> None:
    """The annotation is in Git, and comes with the new name: nothing is canceled and sent again."""
    world = World(deletion_grace=GRACE)
    annotations = {RESEND_REQUESTED_AT: "1"}
    world.cluster.apply(annotations=annotations)
    async with world.running():
        await asyncio.sleep(2)
        assert world.cluster.status().last_handled_resend_at == "1"
        world.forget_calls()
        world.cluster.delete()
        world.cluster.apply(NEW, annotations=annotations, creationTimestamp=LATER)
        await asyncio.sleep(2)
        assert reasons_of(world, NEW) == ["ConfirmingInvitation", "Invited"]
        assert world.cluster.status(NEW).last_handled_resend_at == "1"
    assert names(world) == []


@pytest.mark.parametrize("known_as", [State.WITHDRAWN, State.REMOVED])
@pytest.mark.parametrize("after", [0.005, 0.5, 2.0])
@pytest.mark.parametrize("first", ["delete", "create"])
@virtual_time
async def test_a_person_who_has_left_is_not_invited_by_a_rename(first: str, after: float, known_as: State) -> None:
    """Status keeps the person from being invited again: the new object inherits it, and is just as settled."""
    spec = wire_spec(departurePolicy="Settle")
    world = World(deletion_grace=GRACE)
    if known_as is State.REMOVED:
        world.atlas.let_in(user())
    world.cluster.apply(spec=spec)
    async with world.running():
        await asyncio.sleep(2)
        world.atlas.groups[GROUP_ID].users.clear()
        world.atlas.groups[GROUP_ID].invitations.clear()
        await world.resync.resync_all()
        await asyncio.sleep(2)
        assert world.cluster.status().state is known_as
        world.forget_calls()
        if first == "delete":
            world.cluster.delete()
            await asyncio.sleep(after)
        world.cluster.apply(NEW, spec=spec, creationTimestamp=LATER)
        if first == "create":
            await asyncio.sleep(after)
            world.cluster.delete()
        await asyncio.sleep(100)
        ready = world.cluster.status(NEW).condition("Ready")
    assert names(world) == []
    assert KEY not in world.cluster.objects
    assert world.cluster.status(NEW).state is known_as
    assert ready is not None
    assert ready.status == "True"


@pytest.mark.parametrize("fails", ["the reads", "everything"])
@pytest.mark.parametrize("first", ["delete", "create"])
@virtual_time
async def test_a_rename_while_atlas_fails_keeps_the_invitation(first: str, fails: str) -> None:
    """The operator waits at most a minute for an object that could not read its project yet."""
    world = await invited()
    outage = Failure(Reason.RATE_LIMITED, "", error=error(429, "RATE_LIMITED"))
    calls = ("Look",) if fails == "the reads" else ("Look", "CancelInvite")
    async with world.running():
        for call in calls:
            world.atlas.faults.fail_always(call, outage)
        if first == "delete":
            world.cluster.delete()
            await asyncio.sleep(0.01)
        world.cluster.apply(NEW, creationTimestamp=LATER)
        if first == "create":
            await asyncio.sleep(0.5)
            world.cluster.delete()
        await asyncio.sleep(20)
        for call in calls:
            world.atlas.faults.fail_always(call, None)
        await asyncio.sleep(120)
    assert names(world) == []
    assert world.cluster.status(NEW).origin is Origin.CREATED


@pytest.mark.parametrize("late", [3, 10, 40])
@virtual_time
async def test_a_move_to_a_namespace_whose_secret_comes_later(late: float) -> None:
    """External Secrets and Sealed Secrets create it after the invitation."""
    world = await invited()
    secret = Key(MOVED.namespace, wire_spec()["connectionSecretRef"]["name"])
    del world.cluster.secrets[secret]
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(0.01)
        world.cluster.apply(MOVED, creationTimestamp=LATER)
        await asyncio.sleep(late)
        world.cluster.secrets[secret] = CREDENTIALS
        await asyncio.sleep(200)
    assert names(world) == []
    assert KEY not in world.cluster.objects


@virtual_time
async def test_a_new_object_that_comes_during_the_last_read_takes_over() -> None:
    """Right before the removal there may be no object that has yet to prove its claim."""
    world = await invited(Api.USERS)
    async with world.running():
        world.cluster.delete()
        await asyncio.sleep(GRACE - 0.01)
        world.atlas.faults.before("Look", lambda: world.cluster.apply(NEW, creationTimestamp=LATER))
        await asyncio.sleep(100)
    assert names(world) == []
    assert list(world.cluster.objects) == [NEW]


@pytest.mark.parametrize("first_listed", ["old", "new"])
@virtual_time
async def test_an_object_that_was_deleted_while_no_operator_ran_hands_over(first_listed: str) -> None:
    """The duplicate that takes over is reconciled after the start, and inherits.

    If it is pruned, it cancels what was sent.
    """
    world = World(deletion_grace=GRACE)
    world.cluster.apply()
    async with world.running():
        await asyncio.sleep(2)
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(2)
    world.cluster.delete()
    if first_listed == "new":
        world.cluster.objects[KEY] = world.cluster.objects.pop(KEY)
    world.restart(listed=False)
    world.forget_calls()
    async with world.running():
        resync = asyncio.create_task(world.resync.resync_all())
        await asyncio.sleep(30)
        assert list(world.cluster.objects) == [NEW]
        assert world.cluster.status(NEW).origin is Origin.CREATED
        await resync
        world.cluster.delete(NEW)
        await asyncio.sleep(60)
    assert names(world) == ["CancelInvite"]


@pytest.mark.parametrize("first", ["delete", "create"])
@virtual_time
async def test_a_resend_requested_before_taking_over_sends_nothing(first: str) -> None:
    """An event says so, and the request counts as handled."""
    world = await invited()
    async with world.running():
        if first == "delete":
            world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER, annotations={RESEND_REQUESTED_AT: "1"})
        if first == "create":
            await asyncio.sleep(2)
            world.cluster.delete()
        await asyncio.sleep(100)
    assert names(world) == []
    assert world.cluster.status(NEW).last_handled_resend_at == "1"
    assert world.events.reasons.count("ResendRefused") == 1


@virtual_time
async def test_a_cancellation_by_a_resend_is_not_inherited() -> None:
    """The new object does not report that the person declined."""
    world = await invited()
    async with world.running():
        world.atlas.faults.fail_always("CreateInvite", Failure(Reason.ATLAS_UNAVAILABLE, "", error=error(503, "DOWN")))
        world.cluster.annotate(RESEND_REQUESTED_AT, "1")
        await asyncio.sleep(1)
        assert "CancelInvite" in names(world)
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(200)
    assert world.cluster.status(NEW).state is not State.WITHDRAWN


@virtual_time
async def test_a_finalizer_that_cannot_be_removed_does_not_delay_the_new_object() -> None:
    """Nothing more is done for the former object, so the new one acts as soon as it has inherited."""
    world = await invited()

    async def refuse(_: object) -> None:
        raise WriteRefused("writing the finalizers", 403, "denied by a policy")

    async with world.running():
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(2)
        world.cluster.remove_finalizer = refuse  # type: ignore[method-assign, assignment]
        world.cluster.delete()
        await asyncio.sleep(400)
        ready = world.cluster.status(NEW).condition("Ready")
    assert ready is not None
    assert ready.reason == "Invited"
    assert KEY in world.cluster.objects


@virtual_time
async def test_the_former_object_stays_until_the_new_one_has_stored_what_it_inherits() -> None:
    """While the API server rejects the status of the new object, a restart would lose it."""
    world = await invited()
    async with world.running():
        world.cluster.faults.fail_always("status", ClusterUnavailable("the API server is away"))
        world.cluster.delete()
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(3)
        assert KEY in world.cluster.objects
        world.cluster.faults.fail_always("status", None)
        await asyncio.sleep(57)
        assert KEY not in world.cluster.objects
    assert world.cluster.status(NEW).origin is Origin.CREATED
    assert names(world) == []


def ends(world: World, known_as: State) -> None:
    """Let the invitee decline, or the member be removed, in either API."""
    group = world.atlas.groups[GROUP_ID]
    group.invitations.clear()
    if known_as is State.REMOVED:
        group.users.clear()
    for id_, one in group.users.items():
        group.users[id_] = one.model_copy(update={"org_membership_status": Membership.REJECTED})


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
@pytest.mark.parametrize("known_as", [State.WITHDRAWN, State.REMOVED])
@pytest.mark.parametrize("api", Api)
@virtual_time
async def test_a_departure_before_the_next_resync_is_inherited(api: Api, known_as: State, policy: str) -> None:
    """Status shows what Atlas no longer has: the deletion waits for an object that inherits it."""
    world = await invited(api, deletionPolicy=policy)
    if known_as is State.REMOVED:
        world.atlas.groups[GROUP_ID].invitations.clear()
        world.atlas.let_in(user())
    async with world.running():
        await world.resync.resync_all()
        await asyncio.sleep(1)
        assert world.cluster.status().state is (State.ACCEPTED if known_as is State.REMOVED else State.PENDING)
        ends(world, known_as)
        world.cluster.delete()
        await asyncio.sleep(0.25)
        world.cluster.apply(NEW, spec=wire_spec(deletionPolicy=policy), creationTimestamp=LATER)
        await asyncio.sleep(120)
    assert [name for name in names(world) if name != "CancelInvite"] == []
    assert list(world.cluster.objects) == [NEW]


@pytest.mark.parametrize("known_as", [State.WITHDRAWN, State.REMOVED])
@pytest.mark.parametrize("key", [NEW, MOVED], ids=["renamed", "moved"])
@pytest.mark.parametrize("first", ["delete", "create"])
@virtual_time
async def test_a_suspended_object_keeps_what_it_knows_over_a_rename(first: str, key: Key, known_as: State) -> None:
    """A person who declined or was removed is not invited when the new object is resumed."""
    world = World(deletion_grace=GRACE)
    world.cluster.secrets[Key(MOVED.namespace, wire_spec()["connectionSecretRef"]["name"])] = CREDENTIALS
    if known_as is State.REMOVED:
        world.atlas.let_in(user())
    world.cluster.apply()
    async with world.running():
        await asyncio.sleep(2)
        ends(world, known_as)
        await world.resync.resync_all()
        await asyncio.sleep(1)
        world.forget_calls()
        assert world.cluster.status().state is known_as
        world.cluster.apply(spec=wire_spec(suspend=True))
        await asyncio.sleep(1)
        acts: list[Callable[[], object]] = [
            world.cluster.delete,
            lambda: world.cluster.apply(key, spec=wire_spec(suspend=True), creationTimestamp=LATER),
        ]
        for act in acts if first == "delete" else reversed(acts):
            act()
            await asyncio.sleep(0.05)
        await asyncio.sleep(120)
        assert KEY not in world.cluster.objects
        world.cluster.apply(key, spec=wire_spec())
        await asyncio.sleep(120)
    assert names(world) == []


@pytest.mark.parametrize(
    "by", [wire_spec(), wire_spec(groupId=None, projectRef={"name": "payments"})], ids=["id", "reference"]
)
@pytest.mark.parametrize("first", ["delete", "create"])
@virtual_time
async def test_a_rename_that_also_suspends_keeps_the_invitation(first: str, by: dict[str, Any]) -> None:
    """The suspended object inherits in its own namespace, so that nothing is canceled, and nothing is sent later."""
    world = World(deletion_grace=GRACE)
    world.cluster.project_ids[Key("team-a", "payments")] = GROUP_ID
    world.cluster.apply(spec=by)
    async with world.running():
        await asyncio.sleep(2)
        world.forget_calls()
        acts: list[Callable[[], object]] = [
            world.cluster.delete,
            lambda: world.cluster.apply(NEW, spec=by | {"suspend": True}, creationTimestamp=LATER),
        ]
        for act in acts if first == "delete" else reversed(acts):
            act()
            await asyncio.sleep(0.05)
        await asyncio.sleep(120)
        assert KEY not in world.cluster.objects
        world.cluster.apply(NEW, spec=by)
        await asyncio.sleep(120)
        assert world.cluster.status(NEW).origin is Origin.CREATED
    assert names(world) == []


@virtual_time
async def test_a_person_who_has_left_is_not_invited_when_the_secret_comes_late() -> None:
    """The former object waits only a minute, but the new one remembers that there was one."""
    world = World(deletion_grace=GRACE)
    world.atlas.let_in(user())
    world.cluster.apply()
    async with world.running():
        await asyncio.sleep(2)
        ends(world, State.REMOVED)
        await world.resync.resync_all()
        await asyncio.sleep(2)
        world.forget_calls()
        world.cluster.delete()
        spec = wire_spec(connectionSecretRef={"name": "late"})
        world.cluster.apply(NEW, spec=spec, creationTimestamp=LATER)
        await asyncio.sleep(90)
        assert KEY not in world.cluster.objects
        world.cluster.secrets[Key("team-a", "late")] = CREDENTIALS
        await asyncio.sleep(120)
    assert names(world) == []


@virtual_time
async def test_a_member_by_reference_who_has_left_is_not_invited_after_a_restart() -> None:
    """The new process finds out the project of the former object before it is finalized."""
    spec = wire_spec(groupId=None, projectRef={"name": "payments"})
    world = World(deletion_grace=GRACE)
    world.cluster.project_ids[Key("team-a", "payments")] = GROUP_ID
    world.atlas.let_in(user())
    world.cluster.apply(spec=spec)
    async with world.running():
        await asyncio.sleep(2)
        ends(world, State.REMOVED)
        await world.resync.resync_all()
        await asyncio.sleep(2)
        assert world.cluster.status().state is State.REMOVED
    world.cluster.apply(NEW, spec=spec, creationTimestamp=LATER)
    world.cluster.delete()
    world.restart(listed=False)
    world.forget_calls()
    async with world.running():
        await asyncio.sleep(120)
    assert names(world) == []
    assert list(world.cluster.objects) == [NEW]


@pytest.mark.parametrize(
    "by", [wire_spec(), wire_spec(groupId=None, projectRef={"name": "payments"})], ids=["id", "reference"]
)
@virtual_time
async def test_an_unconfirmed_send_of_the_former_object_is_not_repeated(by: dict[str, Any]) -> None:
    """The former process ended right after its POST, the object is renamed, and the lists lag."""
    world = World(deletion_grace=GRACE)
    world.cluster.project_ids[Key("team-a", "payments")] = GROUP_ID
    world.cluster.apply(spec=by, finalizers=[FINALIZER])
    world.atlas.unlisted[world.atlas.invite().id] = None
    world.cluster.apply(NEW, spec=by, creationTimestamp=LATER)
    world.cluster.delete()
    world.restart(listed=False)
    async with world.running():
        await asyncio.sleep(100)
    assert len(world.atlas.groups[GROUP_ID].invitations) == 1


@pytest.mark.parametrize("hinders", ["duplicate", "no secret"])
@virtual_time
async def test_a_third_object_does_not_delay_a_takeover(hinders: str) -> None:
    """Only the object that takes over has to show what it inherits."""
    world = await invited()
    third = wire_spec(connectionSecretRef={"name": "missing"}) if hinders == "no secret" else wire_spec()
    async with world.running():
        world.cluster.apply(NEW, creationTimestamp=LATER)
        await asyncio.sleep(2)
        world.cluster.apply(Key("team-a", "third"), spec=third, creationTimestamp=THIRD)
        await asyncio.sleep(2)
        world.cluster.delete()
        await asyncio.sleep(GRACE)
        assert KEY not in world.cluster.objects
        assert world.cluster.status(NEW).origin is Origin.CREATED
    assert names(world) == []
