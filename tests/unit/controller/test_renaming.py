"""An object with a projectRef is renamed while the operator restarts: the new object keeps the invitation."""

from __future__ import annotations

import asyncio

import pytest

from atlas_invites.invitation.resource import Key
from tests.unit.builders import GROUP_ID, KEY, wire_spec
from tests.unit.controller.fakes import World
from tests.unit.virtual_time import virtual_time

NEW = Key("team-a", "jane-new")
SPEC = wire_spec(groupId=None, projectRef={"name": "payments"})
LATER = "2026-08-10T04:00:00Z"


@pytest.mark.parametrize("known", [True, False], ids=["evaluated-before", "never-evaluated"])
@virtual_time
async def test_a_rename_over_a_restart_keeps_the_invitation(known: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """The old object is deleted while the operator is down, and found before the new object's project.

    Nothing is done.
    """
    world = World()
    world.cluster.project_ids[Key("team-a", "payments")] = GROUP_ID
    world.cluster.apply(spec=SPEC)
    async with world.running():
        await asyncio.sleep(5)
        if known:
            world.cluster.apply(NEW, spec=SPEC, creationTimestamp=LATER)
            await asyncio.sleep(5)
    if not known:
        world.cluster.apply(NEW, spec=SPEC, creationTimestamp=LATER)
    world.cluster.delete()
    world.restart(listed=False)
    world.forget_calls()
    async with world.running():
        await asyncio.sleep(120)
    assert world.atlas.writes == []
    assert KEY not in world.cluster.objects
    ready = world.cluster.status(NEW).condition("Ready")
    assert ready is not None
    assert ready.reason == "Invited"


@virtual_time
async def test_a_new_object_whose_project_is_never_known_delays_a_deletion_for_a_minute() -> None:
    """Every deletion ends: after a minute the invitation is canceled."""
    world = World()
    world.cluster.apply()
    async with world.running():
        await asyncio.sleep(5)
        world.forget_calls()
        world.cluster.apply(NEW, spec=SPEC, creationTimestamp=LATER)
        await asyncio.sleep(5)
        world.cluster.delete()
        await asyncio.sleep(58)
        assert world.atlas.writes == []
        await asyncio.sleep(5)
        assert [call[0] for call in world.atlas.writes] == ["CancelInvite"]
        assert KEY not in world.cluster.objects
