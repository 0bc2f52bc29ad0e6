"""A namespace that was never listed: its objects are not known, and nothing that may be theirs is changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, Key
from tests.unit.builders import KEY, OWNER, READER, SECRET, wire_spec
from tests.unit.controller.fakes import CREDENTIALS, World
from tests.unit.controller.test_reconcile import adopted, reason_of
from tests.unit.virtual_time import virtual_time

OLDER = Key("team-b", "older")


async def world_without_team_b(**fields: Any) -> World:  # noqa: ANN401 - JSON
    """Return a world in which an older object of team-b has the invitation, and a restart cannot list team-b."""
    world = World()
    world.cluster.secrets[Key("team-b", SECRET.name)] = CREDENTIALS
    world.cluster.apply(OLDER, spec=wire_spec(roles=[READER]), creationTimestamp="2026-01-01T00:00:00Z")
    world.cluster.apply(KEY, spec=wire_spec(roles=[OWNER], **fields), creationTimestamp="2026-01-02T00:00:00Z")
    await world.turn(OLDER)
    assert reason_of(await world.turn()) is Reason.DUPLICATE_INVITE
    world.cluster.unlisted = frozenset({"team-b"})
    world.restart()
    world.cluster.events.clear()
    await world.engine.list_first()
    world.forget_calls()
    return world


def writes(world: World) -> list[str]:
    return [call[0] for call in world.atlas.calls if call[0] in {"CreateInvite", "UpdateInvite", "CancelInvite"}]


@virtual_time
async def test_its_invitation_is_not_taken_over() -> None:
    """The younger object reports why it does nothing, once, and takes over when the older one is known to be gone."""
    world = await world_without_team_b()
    for _ in range(2):
        outcome = await world.turn()
        assert reason_of(outcome) is Reason.DUPLICATE_INVITE
        assert outcome is not None
        assert "The operator cannot list that namespace" in outcome.message
    assert (writes(world), world.write_kinds) == ([], ["finalizer", "status"])
    world.cluster.unlisted = frozenset()
    del world.cluster.objects[OLDER]
    await world.engine._list()  # noqa: SLF001 - the next complete list
    assert reason_of(await world.turn()) is Reason.INVITED
    assert writes(world) == ["UpdateInvite"]


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
@virtual_time
async def test_its_invitation_is_not_canceled(policy: str) -> None:
    """A deleted object whose status does not show the invitation leaves it, with every policy."""
    world = World()
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(deletionPolicy=policy), finalizers=[FINALIZER])
    world.cluster.unlisted = frozenset({"team-b"})
    await world.engine.list_first()
    world.cluster.delete()
    await world.turn()
    assert (world.cluster.objects, writes(world)) == ({}, [])


@virtual_time
async def test_known_invitations_are_still_managed() -> None:
    """An invitation on status is changed, and one is sent if Atlas has none."""
    world = await adopted()
    world.cluster.apply(spec=wire_spec(roles=[OWNER]))
    world.cluster.apply(Key("team-a", "new"), spec=wire_spec(username="new@example.com"))
    world.cluster.unlisted = frozenset({"team-b"})
    world.restart()
    await world.engine.list_first()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert reason_of(await world.turn(Key("team-a", "new"))) is Reason.INVITED
    assert writes(world) == ["UpdateInvite", "CreateInvite"]


@virtual_time
async def test_a_namespace_that_is_forbidden_later_is_known() -> None:
    """Objects that were listed once are kept, and their claims count: nothing has to wait."""
    world = World()
    await world.engine.list_first()
    world.cluster.unlisted = frozenset({"team-b"})
    await world.engine._list()  # noqa: SLF001 - the next complete list
    world.atlas.invite()
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.INVITED
    await asyncio.sleep(0)
