"""Suspended, changed meanwhile, resumed: Atlas is not called, no tool waits for the object, and nothing is lost."""

from __future__ import annotations

import pytest

from atlas_invites.controller.resync import waits_for_resync
from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.model import Operation
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import RECONCILE_REQUESTED_AT, Resource
from tests.unit.builders import EMAIL, INVITATION_ID, KEY, OWNER, READER, STREAMS, error, wire_spec
from tests.unit.controller.fakes import World
from tests.unit.controller.test_reconcile import adopted, ready_of, reason_of
from tests.unit.controller.test_resync import resynced
from tests.unit.virtual_time import virtual_time

SUSPENDED, RESUMED = wire_spec(suspend=True), wire_spec()
AS_OWNER = wire_spec(roles=[OWNER])
REFUSED = error(400, "INVALID_ATTRIBUTE", operation=Operation.CREATE_INVITE)


def generation(world: World) -> int:
    return int(world.cluster.objects[KEY]["metadata"]["generation"])


def is_suspended(world: World) -> bool:
    return world.cluster.status().condition("Suspended") is not None


@virtual_time
async def test_a_suspended_object_is_left_alone() -> None:
    """No call, one write that reports it and evaluates the spec, and then none; Ready is unchanged."""
    world = await adopted()
    before = world.cluster.status()
    world.cluster.apply(spec=wire_spec(roles=[OWNER], suspend=True))
    for _ in range(100):
        assert await world.turn() is None
    assert world.atlas.calls == []
    assert world.write_kinds == ["status"]
    status = world.cluster.status()
    assert status.observed_generation == generation(world) == 2
    assert is_suspended(world)
    assert ready_of(world) == ("True", "Invited")
    assert status.roles_summary == OWNER
    assert (status.invitation, status.state, status.origin) == (before.invitation, before.state, before.origin)
    assert world.events.published == []


@virtual_time
async def test_a_change_while_suspended_is_one_write() -> None:
    """Each change of the spec is evaluated by one write of status, and Atlas is not called."""
    world = await adopted()
    for roles in ([READER], [OWNER], [STREAMS]):
        world.cluster.apply(spec=wire_spec(roles=roles, suspend=True))
        world.forget_calls()
        for _ in range(10):
            assert await world.turn() is None
        assert world.write_kinds == ["status"]
        assert world.cluster.status().observed_generation == generation(world)
        assert world.cluster.status().roles_summary == roles[0]
    assert world.atlas.calls == []


@pytest.mark.parametrize("down", ["never", "before", "during", "after"])
@pytest.mark.parametrize(
    "suspended",
    [[SUSPENDED], [SUSPENDED, wire_spec(roles=[OWNER], suspend=True)], [wire_spec(roles=[OWNER], suspend=True)]],
    ids=["changed-with-resume", "changed-meanwhile", "changed-with-suspend"],
)
@virtual_time
async def test_a_resumed_object_catches_up(down: str, suspended: list[dict[str, object]]) -> None:
    """A role that changed during the suspension is set after the resume, once, whenever the operator is restarted."""
    world = await adopted()
    for spec in suspended:
        world.cluster.apply(spec=spec)
        await world.turn()
    if down == "before":
        world.restart()
        await world.turn()
    world.cluster.apply(spec=AS_OWNER)
    if down == "during":
        world.cluster.events.clear()
        world.restart()
        assert not waits_for_resync(Resource.from_body(world.cluster.objects[KEY]))
    elif down == "after":
        world.deliver()
        world.restart()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.writes == [("UpdateInvite", INVITATION_ID, OWNER)]
    assert not is_suspended(world)
    assert world.cluster.status().observed_generation == generation(world)


@virtual_time
async def test_a_new_object_that_is_suspended_is_evaluated() -> None:
    """Suspended from the start: no finalizer, no call, evaluated without Ready.

    After the resume it is sent like a new one.
    """
    world = World()
    world.cluster.apply(spec=SUSPENDED)
    for _ in range(10):
        assert await world.turn() is None
    assert world.write_kinds == ["status"]
    assert world.atlas.calls == []
    status = world.cluster.status()
    assert status.observed_generation == 1
    assert [c.type for c in status.conditions] == ["Suspended"]
    world.cluster.apply(spec=RESUMED)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.writes == [("CreateInvite", EMAIL, READER)]


@virtual_time
async def test_progress_ends_with_a_suspension() -> None:
    """An object that retried is not in progress while it is suspended, and has Ready again after the resume."""
    world = await adopted()
    world.atlas.faults.fail("UpdateInvite", Failure(Reason.ATLAS_UNAVAILABLE, "away"))
    world.cluster.apply(spec=AS_OWNER)
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    world.cluster.apply(spec=wire_spec(roles=[OWNER], suspend=True))
    for _ in range(10):
        assert await world.turn() is None
    assert [c.type for c in world.cluster.status().conditions] == ["Accepted", "Suspended"]
    world.cluster.apply(spec=AS_OWNER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert ready_of(world) == ("True", "Invited")
    assert world.atlas.names.count("UpdateInvite") == 2


@virtual_time
async def test_a_rejection_stays_while_suspended_and_is_tried_again_afterwards() -> None:
    """Stalled stays Stalled. The resume changes the spec: the rejected write is tried once more."""
    world = World()
    world.atlas.faults.fail_always("CreateInvite", Failure(Reason.INVALID_REQUEST, "refused", error=REFUSED))
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    world.forget_calls()
    world.cluster.apply(spec=SUSPENDED)
    for _ in range(10):
        assert await world.turn() is None
    assert ready_of(world) == ("False", "InvalidRequest")
    assert world.cluster.status().condition("Stalled") is not None
    assert world.atlas.calls == []
    world.cluster.apply(spec=RESUMED)
    for _ in range(10):
        assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    assert world.atlas.writes == [("CreateInvite", EMAIL, READER)]


@virtual_time
async def test_no_resync_reads_for_a_suspended_object() -> None:
    """It was evaluated, but is not compared: Atlas is not called for it, and nothing is written."""
    world = await adopted()
    world.cluster.apply(spec=SUSPENDED)
    await world.turn()
    await world.woken()
    for _ in range(10):
        assert await resynced(world) == []
    world.restart()
    assert await resynced(world) == []
    assert world.atlas.calls == []
    assert world.write_kinds == ["status"]


@virtual_time
async def test_a_request_to_reconcile_waits_for_the_resume() -> None:
    """A request while an object is suspended is handled by the first reconcile afterwards."""
    world = await adopted()
    world.cluster.apply(spec=SUSPENDED)
    await world.turn()
    world.cluster.annotate(RECONCILE_REQUESTED_AT, "now")
    assert await world.turn() is None
    assert world.cluster.status().last_handled_reconcile_at is None
    world.cluster.apply(spec=RESUMED)
    await world.turn()
    assert world.cluster.status().last_handled_reconcile_at == "now"


@virtual_time
async def test_a_suspension_whose_write_fails_is_written_later() -> None:
    """The API server is unavailable: the reconcile raises, and the next one reports the suspension."""
    world = await adopted()
    world.cluster.faults.fail("status", ClusterUnavailable("away"))
    world.cluster.apply(spec=SUSPENDED)
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    assert not is_suspended(world)
    assert await world.turn() is None
    assert is_suspended(world)
