"""Suspended objects that are changed, resumed and deleted, with restarts in between."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from atlas_invites.invitation.resource import Key, Resource
from atlas_sandbox import people
from atlas_sandbox.sandbox import PROJECT_ID
from tests.simulation.world import SECRET, WRITES, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.atlas.sunset import Mode
    from atlas_sandbox.model import Invitation, User

ANN = Key("team-a", "ann")
EMAIL = "ann@example.com"
SPEC = {
    "groupId": PROJECT_ID,
    "username": EMAIL,
    "roles": ["GROUP_READ_ONLY"],
    "connectionSecretRef": {"name": SECRET},
}


@pytest.fixture(params=["auto", "users"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Return a world whose operator uses one API or the other."""
    api: Mode = request.param
    made = World(api)
    yield made
    made.close()


def pending(world: World) -> Invitation | User | None:
    """Return the pending entry in Atlas."""
    project = world.sandbox.state.project(PROJECT_ID)
    return project.invitations.of(EMAIL) or project.users.of(EMAIL)


def writes(world: World) -> list[str]:
    """Return the writes to Atlas so far."""
    return [x.operation for x in world.safety.exchanges if x.operation in WRITES]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_change_during_a_suspension_is_applied_after_the_resume(world: World, *, restarts: bool) -> None:
    """A role that changed during a suspension is set only after the resume, also after a restart."""
    world.run(5, partial(world.cluster.create, ANN, SPEC))
    world.run(5, partial(world.cluster.edit, ANN, {"suspend": True}))
    before = writes(world)
    world.run(5, partial(world.cluster.edit, ANN, {"roles": ["GROUP_OWNER"]}))
    if restarts:
        world.kill()
        world.start()
    world.run(1300)
    world.rest()
    world.stay_quiet(3)
    assert writes(world) == before
    if restarts:
        world.kill()
    world.run(0, partial(world.cluster.edit, ANN, {"suspend": None}))
    world.start()
    world.run(5)
    there = pending(world)
    assert there is not None
    assert set(there.roles) == {"GROUP_OWNER"}
    world.rest()


def test_a_deletion_while_suspended_does_not_change_atlas(world: World) -> None:
    """The invitation that the object sent stays pending, and an event reports it."""
    world.run(5, partial(world.cluster.create, ANN, SPEC | {"deletionPolicy": "Cancel"}))
    world.run(5, partial(world.cluster.edit, ANN, {"suspend": True, "roles": ["GROUP_OWNER"]}))
    before = writes(world)
    world.run(5, partial(world.cluster.delete, ANN))
    assert ANN not in world.cluster.objects
    assert writes(world) == before
    there = pending(world)
    assert there is not None
    assert set(there.roles) == {"GROUP_READ_ONLY"}
    assert [notice.reason for _, notice in world.cluster.notices][-1] == "OrphanedInvitation"


def test_an_object_that_retries_is_at_rest_once_it_is_suspended(world: World) -> None:
    """An object that retries during an outage is silent once it is suspended, and sends after the resume."""
    world.network.down = True
    world.run(30, partial(world.cluster.create, ANN, SPEC))
    assert world.reason(ANN) == "AtlasUnavailable"
    world.run(5, partial(world.cluster.edit, ANN, {"suspend": True}))
    status = Resource.from_body(world.cluster.objects[ANN]).status
    assert [c.type for c in status.conditions] == ["Accepted", "Suspended"]
    world.rest()
    world.stay_quiet(3)
    assert pending(world) is None
    world.run(0, partial(world.cluster.edit, ANN, {"suspend": None}))
    world.rest()
    assert pending(world) is not None


def test_a_departure_that_is_settled_by_an_edit(world: World) -> None:
    """A member who has left stalls the object; departurePolicy: Settle settles it without a write to Atlas."""
    state = world.sandbox.state
    world.run(5, partial(world.cluster.create, ANN, SPEC))
    people.accept(state, state.project(PROJECT_ID), EMAIL)
    world.rest()
    people.remove(state, state.project(PROJECT_ID), EMAIL)
    world.rest()
    before = writes(world)
    for policy, ready in (("Settle", "True"), ("Stall", "False")):
        world.run(5, partial(world.cluster.edit, ANN, {"departurePolicy": policy}))
        condition = Resource.from_body(world.cluster.objects[ANN]).status.condition("Ready")
        assert condition is not None
        assert (condition.status, condition.reason) == (ready, "MemberRemoved")
        world.rest()
        world.stay_quiet(3)
    assert writes(world) == before
