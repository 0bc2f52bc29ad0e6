"""The resync: one read for each project, and only objects that differ are enqueued."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.model import Api, Operation
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, Key
from tests.unit.builders import (
    EMAIL,
    EXPIRES,
    GROUP_ID,
    INVITATION_ID,
    KEY,
    OTHER_EMAIL,
    OTHER_ID,
    OWNER,
    SECRET,
    USER_ID,
    error,
    invitation,
    user,
    wire_spec,
)
from tests.unit.controller.fakes import CREDENTIALS, OTHER_CREDENTIALS, World
from tests.unit.controller.test_reconcile import adopted
from tests.unit.virtual_time import virtual_time


async def resynced(world: World) -> list[Key]:
    """Resync all objects, and return what was enqueued."""
    await world.resync.resync_all()
    return await world.woken()


@virtual_time
async def test_no_change_is_one_read_and_no_work() -> None:
    """Law 5: settled objects that match Atlas are left alone."""
    world = await adopted()
    for _ in range(100):
        assert await resynced(world) == []
    assert set(world.atlas.names) == {"Snapshot"}
    assert world.write_kinds == []


@virtual_time
async def test_the_api_in_use_is_reported_once() -> None:
    """The Invites API has ended: a quiet object writes so once, and is quiet again."""
    world = await adopted()
    world.atlas.accept(INVITATION_ID, USER_ID)
    await world.turn()
    world.forget_calls()
    world.atlas.api = Api.USERS
    assert await resynced(world) == [KEY]
    await world.turn()
    atlas = world.cluster.status().atlas
    assert atlas is not None
    assert atlas.api is Api.USERS
    assert world.write_kinds == ["status"]
    assert await resynced(world) == []


@virtual_time
async def test_the_roles_are_added_to_a_status_of_an_earlier_version() -> None:
    """A quiet object gets the text for the column Roles in one write, without another read, and is quiet again."""
    world = await adopted()
    assert world.cluster.objects[KEY]["status"].pop("rolesSummary") == "GROUP_READ_ONLY"
    world.restart()
    world.forget_calls()
    assert await resynced(world) == [KEY]
    await world.turn()
    assert world.cluster.status().roles_summary == "GROUP_READ_ONLY"
    assert world.write_kinds == ["status"]
    assert await resynced(world) == []


@pytest.mark.parametrize("change", ["roles", "gone", "member"])
@virtual_time
async def test_what_differs_is_enqueued(change: str) -> None:
    """Other roles, gone, accepted: the object is reconciled."""
    world = await adopted()
    if change == "roles":
        world.atlas.invite(invitation(roles=[OWNER]))
    elif change == "gone":
        world.atlas.groups[GROUP_ID].invitations.clear()
    else:
        world.atlas.accept(INVITATION_ID, USER_ID)
    assert await resynced(world) == [KEY]
    await world.turn()
    assert await resynced(world) == []


def strip(world: World, key: Key = KEY) -> None:
    """Let somebody remove our finalizer, and a new process start after that."""
    world.cluster.apply(key, finalizers=[])
    world.cluster.events.clear()
    world.restart()


def has_finalizer(world: World, key: Key = KEY) -> bool:
    return FINALIZER in world.cluster.objects[key]["metadata"]["finalizers"]


@pytest.mark.parametrize("there", ["pending", "member", "another e-mail", "nothing"])
@virtual_time
async def test_a_finalizer_that_was_removed_is_added_again(there: str) -> None:
    """A settled or stalled object without our finalizer is reconciled: one write, and quiet again."""
    world = World()
    if there == "member":
        world.atlas.let_in(user())
    elif there != "nothing":
        world.atlas.invite(invitation(username=OTHER_EMAIL if there == "another e-mail" else EMAIL))
    world.cluster.apply(spec=wire_spec(invitationId=None if there == "member" else INVITATION_ID))
    await world.turn()
    await world.woken()
    assert await resynced(world) == []
    strip(world)
    world.forget_calls()
    assert await resynced(world) == [KEY]
    await world.turn()
    assert has_finalizer(world)
    assert world.write_kinds == ["finalizer"]
    assert world.atlas.writes == []
    assert await resynced(world) == []


@virtual_time
async def test_a_finalizer_that_was_removed_comes_back_in_any_resync() -> None:
    """If the first read of a process fails, the next resync finds the object."""
    world = await adopted()
    strip(world)
    world.atlas.faults.fail("Snapshot", Failure(Reason.ATLAS_UNAVAILABLE, "away"))
    assert await resynced(world) == []
    assert await resynced(world) == [KEY]


@virtual_time
async def test_an_object_that_needs_no_finalizer_stays_quiet() -> None:
    """Law 5: a duplicate never had a finalizer, and a suspended object gets it back only after it is resumed."""
    world = await adopted()
    younger, suspended = Key("team-a", "younger"), Key("team-a", "suspended")
    world.cluster.apply(younger, creationTimestamp="2026-08-11T00:00:00Z")
    world.atlas.invite(invitation(id=OTHER_ID, username=OTHER_EMAIL))
    world.cluster.apply(suspended, spec=wire_spec(username=OTHER_EMAIL))
    for key in (younger, suspended):
        await world.turn(key)
    world.cluster.apply(suspended, spec=wire_spec(username=OTHER_EMAIL, suspend=True), finalizers=[])
    await world.turn(suspended)
    world.restart()
    await world.woken()
    world.forget_calls()
    for _ in range(10):
        assert await resynced(world) == []
    assert world.write_kinds == []


@virtual_time
async def test_an_outage_leaves_settled_objects_alone() -> None:
    """Atlas does not respond to the resync: no status changes."""
    world = await adopted()
    world.atlas.faults.fail_always("Snapshot", Failure(Reason.ATLAS_UNAVAILABLE, "away"))
    assert await resynced(world) == []


@pytest.mark.parametrize("reason", [Reason.CREDENTIALS_REJECTED, Reason.FORBIDDEN, Reason.PROJECT_NOT_FOUND])
@virtual_time
async def test_every_object_reports_a_refusal(reason: Reason) -> None:
    """401, 403, the project gone: every object reports it, in a reconcile of its own."""
    world = await adopted()
    world.atlas.faults.fail_always("Snapshot", Failure(reason, "no", error=error(403, "NO")))
    assert await resynced(world) == [KEY]


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.PROJECT_NOT_FOUND])
@virtual_time
async def test_a_refused_read_ends_with_the_first_resync_that_succeeds(reason: Reason) -> None:
    """While lists are refused, a resync is one probe for each project.

    The first one that succeeds requeues every object.
    """
    world = await adopted()
    refusal = Failure(reason, "no", error=error(403, "NO", operation=Operation.LIST_INVITES))
    world.atlas.faults.fail_always("Snapshot", refusal)
    world.atlas.faults.fail_always("Look", refusal)
    assert await resynced(world) == [KEY]
    await world.turn()
    world.forget_calls()
    for _ in range(3):
        assert await resynced(world) == []
    assert world.atlas.names == ["Snapshot"] * 3
    world.atlas.faults.fail_always("Snapshot", None)
    world.atlas.faults.fail_always("Look", None)
    assert await resynced(world) == [KEY]
    outcome = await world.turn()
    assert outcome is not None
    assert outcome.reason is Reason.INVITED


@virtual_time
async def test_a_new_message_of_a_refused_read_comes_to_status() -> None:
    """Atlas's detail names another address: the object is reconciled, and decides whether status is due."""
    world = await adopted()
    for address in ("192.0.2.1", "192.0.2.2"):
        detail = error(403, "NO", detail=address, operation=Operation.LIST_INVITES)
        for call in ("Look", "Snapshot"):
            world.atlas.faults.fail_always(call, Failure(Reason.FORBIDDEN, "no", error=detail))
        assert await resynced(world) == [KEY]
        await world.turn()


@pytest.mark.parametrize("restart", [False, True])
@virtual_time
async def test_what_was_rejected_and_made_by_hand_is_found(restart: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """A rejected send is no work for a resync, until Atlas shows the invitation."""
    world = World()
    world.cluster.apply()
    refusal = Failure(Reason.INVALID_REQUEST, "no", error=error(400, "BAD", operation=Operation.CREATE_INVITE))
    world.atlas.faults.fail_always("CreateInvite", refusal)
    await world.turn()
    await world.woken()
    world.forget_calls()
    if restart:
        world.restart()
    for _ in range(3):
        assert await resynced(world) == []
    assert world.atlas.names == ["Snapshot"] * 3
    world.atlas.invite()
    assert await resynced(world) == [KEY]


@virtual_time
async def test_a_changed_secret_wakes_rejected_objects_within_a_minute() -> None:
    """After a Secret is corrected, rejected objects need not wait for the resync; one read a minute serves all."""
    world = await adopted()
    world.atlas.faults.fail("Look", Failure(Reason.FORBIDDEN, "no", error=error(403, "NO")))
    await world.turn()
    await world.woken()
    world.forget_calls()
    resyncing = asyncio.create_task(world.resync.keep_resyncing())
    await asyncio.sleep(300)
    assert world.cluster.reads == [SECRET] * 4
    world.cluster.secrets[SECRET] = OTHER_CREDENTIALS
    await asyncio.sleep(61)
    assert await world.woken() == [KEY]
    assert world.atlas.calls == []
    resyncing.cancel()


@virtual_time
async def test_a_refused_project_is_probed_each_ten_minutes() -> None:
    """Also if the resync interval is longer; settled projects wait for the interval."""
    world = World(resync_interval=86_400.0)
    world.atlas.invite()
    world.cluster.apply()
    await world.turn()
    refusal = Failure(Reason.FORBIDDEN, "no", error=error(403, "NO", operation=Operation.LIST_INVITES))
    world.atlas.faults.fail_always("Snapshot", refusal)
    resyncing = asyncio.create_task(world.resync.keep_resyncing())
    await asyncio.sleep(1250)
    assert world.atlas.names.count("Snapshot") == 0
    world.atlas.faults.fail("Look", refusal)
    await world.turn()
    await asyncio.sleep(1250)
    assert world.atlas.names.count("Snapshot") == 2
    resyncing.cancel()


@virtual_time
async def test_a_resync_that_was_skipped_is_made_up_for() -> None:
    """The API server did not return the Secret in time.

    The project is resynced a minute later, not an interval later.
    """
    world = await adopted()
    world.atlas.accept(INVITATION_ID, USER_ID)
    world.restart()
    world.cluster.faults.fail("secret", ClusterUnavailable("no answer"))
    assert await resynced(world) == []
    resyncing = asyncio.create_task(world.resync.keep_resyncing())
    await asyncio.sleep(61)
    assert await world.woken() == [KEY]
    resyncing.cancel()


@virtual_time
async def test_other_roles_that_atlas_keeps_are_no_work() -> None:
    """RolesDiffer of a pending invitation causes no work until it expires."""
    world = await adopted()
    world.atlas.keeps = ["GROUP_STREAM_PROCESSING_OWNER"]
    world.cluster.apply(spec=wire_spec(roles=[OWNER]))
    await world.turn()
    await world.woken()
    for _ in range(3):
        assert await resynced(world) == []
    world.atlas.invite(invitation(roles=[OWNER]))
    assert await resynced(world) == [KEY]


@virtual_time
async def test_every_object_reports_a_missing_secret() -> None:
    """The Secret is gone: every object that names it reports so."""
    world = await adopted()
    world.restart()
    del world.cluster.secrets[SECRET]
    assert await resynced(world) == [KEY]


@virtual_time
async def test_an_object_with_a_requeue_time_is_not_resynced() -> None:
    """Waiting and Retrying objects are not resynced, nor those whose credentials are probed each minute."""
    world = await adopted()
    for reason in (Reason.ATLAS_UNAVAILABLE, Reason.SECRET_NOT_FOUND, Reason.CREDENTIALS_REJECTED):
        world.atlas.faults.fail("Look", Failure(reason, "trouble", error=error(418, "TEAPOT")))
        world.cluster.annotate("atlasinvites.io/reconcile-requested-at", str(reason))
        await world.turn()
        world.forget_calls()
        await world.woken()
        assert await resynced(world) == []
        assert world.atlas.calls == []


@virtual_time
async def test_objects_of_one_project_share_a_read_and_secrets_do_not() -> None:
    """One read for each project and Secret, for all objects that use both."""
    world = await adopted()
    other = Key("team-a", "other")
    world.cluster.secrets[Key("team-a", "second")] = CREDENTIALS
    for key, secret in ((Key("team-a", "joe"), SECRET.name), (other, "second")):
        spec = {
            "groupId": GROUP_ID,
            "username": f"{key.name}@example.com",
            "roles": ["GROUP_READ_ONLY"],
            "connectionSecretRef": {"name": secret},
        }
        world.cluster.apply(key, spec=spec)
        await world.turn(key)
    await world.woken()
    world.forget_calls()
    assert await resynced(world) == []
    assert world.atlas.names == ["Snapshot", "Snapshot"]


@virtual_time
async def test_the_end_of_an_invitation_is_not_missed() -> None:
    """An invitation that ends before the next resync requeues its object at that time."""
    world = await adopted()
    left = 300.0
    world.atlas.time = EXPIRES - (world.atlas.now() - world.atlas.time) - timedelta(seconds=left)
    assert await resynced(world) == []
    await asyncio.sleep(left + 1)
    assert await world.woken() == [KEY]


@virtual_time
async def test_the_sunset_is_warned_of_once() -> None:
    """Within 180 days of the end each object gets one warning for each process; before, none."""
    world = await adopted()
    await world.resync.resync_all()
    assert world.events.reasons == []
    world.atlas.accept(INVITATION_ID, USER_ID)
    await world.turn()
    world.forget_calls()
    world.atlas.time = datetime(2027, 3, 1, tzinfo=UTC)
    for _ in range(3):
        await world.resync.resync_all()
    assert world.events.reasons == ["SunsetNear"]
    world.atlas.api = Api.USERS
    world.restart()
    await world.resync.resync_all()
    assert world.events.reasons == ["SunsetNear"]


@virtual_time
async def test_a_resync_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is logged, and the next resync goes on."""
    world = await adopted()
    world.atlas.faults.fail("Snapshot", RuntimeError("a bug"))
    assert await resynced(world) == []
    assert "unexpected" in caplog.text
    world.atlas.accept(INVITATION_ID, USER_ID)
    assert await resynced(world) == [KEY]


@virtual_time
async def test_lists_do_not_judge_an_object_that_changed_since() -> None:
    """Deleted and recreated for a project that its credentials may not read: a resync proves no claim for it."""
    world = World()
    world.atlas.invite()
    world.cluster.apply()
    await world.turn()
    second = Key(KEY.namespace, "joe")
    world.cluster.apply(second, spec=wire_spec(username=OTHER_EMAIL))
    await world.turn(second)
    world.cluster.objects.pop(second)
    world.cluster.apply(second, spec=wire_spec(username=OTHER_EMAIL, groupId="5f3c9d2e8a7b6c5d4e3f2a1b"))
    world.atlas.faults.fail("Look", Failure(Reason.FORBIDDEN, "no", error=error(403)))
    await world.turn(second)
    await world.resync.resync_keys([KEY, second])
    assert not world.store.claims.is_proven(second)
