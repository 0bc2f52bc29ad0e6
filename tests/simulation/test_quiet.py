"""Objects at rest stay at rest."""

from __future__ import annotations

from functools import partial

from atlas_invites.invitation.resource import Key
from atlas_sandbox import people
from atlas_sandbox.sandbox import PROJECT_ID
from tests.simulation.world import SECRET, World


def test_a_hundred_resyncs_write_nothing_in_any_state_of_the_invitations() -> None:
    """With a pending, an accepted, a declined invitation and a removed member, 100 resyncs send and write nothing."""
    world = World()
    try:
        keys = [Key("team-a", name) for name in ("pending", "accepted", "withdrawn", "removed")]
        for key in keys:
            spec = {
                "groupId": PROJECT_ID,
                "username": f"{key.name}@example.com",
                "roles": ["GROUP_READ_ONLY"],
                "connectionSecretRef": {"name": SECRET},
                "reinvitePolicy": "OnExpiry",
                "memberPolicy": "Manage",
            }
            world.run(0, partial(world.cluster.create, key, spec))
        world.run(10)
        state = world.sandbox.state
        project = state.project(PROJECT_ID)
        people.accept(state, project, "accepted@example.com")
        people.decline(state, project, "withdrawn@example.com")
        people.accept(state, project, "removed@example.com")
        world.rest()
        people.remove(state, project, "removed@example.com")
        world.rest()
        assert [world.reason(key) for key in keys] == ["Invited", "Accepted", "InvitationWithdrawn", "MemberRemoved"]
        world.stay_quiet(100)
    finally:
        world.close()
