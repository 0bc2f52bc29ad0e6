"""Each fault of Atlas, people and clocks in the simulation, in its shortest sequence."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from atlas_invites.invitation.resource import Key
from atlas_sandbox import invites, people
from atlas_sandbox.faults import Fault
from atlas_sandbox.overrides import Override
from atlas_sandbox.sandbox import PROJECT_ID
from tests.simulation.process import RESYNC_INTERVAL
from tests.simulation.test_found import ANN, BOB, EMAIL, a_world, spec
from tests.simulation.world import OTHER_PROJECT, STRANGER

if TYPE_CHECKING:
    from atlas_sandbox.model import User
    from tests.simulation.world import World

NEW_EMAIL = "ann.new@example.com"
A_RESYNC = 1.2 * RESYNC_INTERVAL


def accepted(world: World, **changes: object) -> User:
    """Create an object, accept its invitation, and return the member."""
    state = world.sandbox.state
    world.run(5, lambda: world.cluster.create(ANN, spec(**changes)))
    member = people.accept(state, state.project(PROJECT_ID), EMAIL)
    world.run(A_RESYNC)
    assert world.reason(ANN) == "Accepted"
    return member


def test_a_renamed_member_is_still_the_member() -> None:
    """A member whose e-mail changes stays Accepted, is managed, and is removed with Revoke."""
    with a_world() as world:
        project = world.sandbox.state.project(PROJECT_ID)
        member = accepted(world, deletionPolicy="Revoke", memberPolicy="Manage")
        world.sandbox.state.rename_member(EMAIL, NEW_EMAIL)
        world.run(A_RESYNC)
        assert world.reason(ANN) == "Accepted"
        world.run(5, lambda: world.cluster.edit(ANN, {"roles": ["GROUP_OWNER"]}))
        renamed = project.users.get(member.id)
        assert renamed is not None
        assert renamed.roles == ("GROUP_OWNER",)
        world.run(10, lambda: world.cluster.delete(ANN))
        assert project.users.get(member.id) is None


@pytest.mark.parametrize("is_removed", [False, True])
def test_another_person_under_the_old_email_is_never_touched(is_removed: bool) -> None:  # noqa: FBT001
    """If the member is renamed or removed, another person who joins with the old e-mail is never changed."""
    with a_world() as world:
        state = world.sandbox.state
        project = state.project(PROJECT_ID)
        accepted(world, deletionPolicy="Revoke", memberPolicy="Manage")
        state.rename_member(EMAIL, NEW_EMAIL)
        if is_removed:
            people.remove(state, project, NEW_EMAIL)
        state.join_organization(EMAIL)
        stranger = state.activate(project, EMAIL, ("GROUP_CLUSTER_MANAGER",))
        world.run(A_RESYNC)
        assert world.reason(ANN) == ("IdentityMismatch" if is_removed else "Accepted")
        world.run(10, lambda: world.cluster.delete(ANN))
        assert project.users.get(stranger.id) == stranger
        assert project.users.of(NEW_EMAIL) is None


def test_a_401_for_one_project_does_not_affect_other_projects() -> None:
    """An object of a refused project reports it; one of another project, with the same Secret, continues."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        refusal = Fault("status", status=401, error_code="UNAUTHORIZED", project=OTHER_PROJECT, count=None)
        world.sandbox.faults.add(refusal)
        world.run(5, lambda: world.cluster.create(BOB, spec(groupId=OTHER_PROJECT)))
        world.run(5, lambda: world.cluster.edit(ANN, {"roles": ["GROUP_OWNER"]}))
        assert [world.reason(key) for key in (ANN, BOB)] == ["Invited", "CredentialsRejected"]
        world.run(A_RESYNC)
        assert [world.reason(key) for key in (ANN, BOB)] == ["Invited", "CredentialsRejected"]
        world.sandbox.faults.clear()
        world.run(130)
        assert world.reason(BOB) == "Invited"


@pytest.mark.parametrize(("status", "code"), [(403, "USER_UNAUTHORIZED"), (404, "GROUP_NOT_FOUND")])
def test_a_refused_list_is_tried_again_by_the_resync(status: int, code: str) -> None:
    """The refusal of lists ends with the first resync whose list succeeds."""
    with a_world() as world:
        lists = frozenset({"ListInvites", "ListUsers"})
        world.sandbox.faults.add(Fault("status", lists, status=status, error_code=code, count=4))
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.sandbox.faults.clear()
        world.run(A_RESYNC)
        assert world.reason(ANN) == "Invited"


@pytest.mark.parametrize(("status", "code"), [(400, "VALIDATION_ERROR"), (403, "USER_UNAUTHORIZED")])
def test_an_invitation_sent_by_hand_is_adopted_after_a_refusal(status: int, code: str) -> None:
    """If Atlas refuses a send and a user invites by hand, the resync adopts that invitation and sends nothing."""
    with a_world() as world:
        sends = frozenset({"CreateInvite"})
        world.sandbox.faults.add(Fault("status", sends, status=status, error_code=code, count=None))
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.run(A_RESYNC)
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1
        state = world.sandbox.state
        invites.create(state, state.project(PROJECT_ID), EMAIL, ("GROUP_READ_ONLY",), "owner@example.com")
        world.run(A_RESYNC)
        assert world.reason(ANN) == "Invited"


@pytest.mark.parametrize(("status", "code"), [(403, "USER_UNAUTHORIZED"), (404, "GROUP_NOT_FOUND"), (401, "X")])
def test_one_refusal_of_the_cancellation_leaves_no_orphan(status: int, code: str) -> None:
    """A cancellation that is refused once is tried again, and the invitation is canceled."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.sandbox.faults.add(Fault("status", frozenset({"CancelInvite"}), status=status, error_code=code))
        world.run(130, lambda: world.cluster.delete(ANN))
        assert ANN not in world.cluster.objects
        assert world.sandbox.state.project(PROJECT_ID).invitations.all() == []


@pytest.mark.parametrize("refusal", ["403", "Secret"])
def test_a_deletion_that_waited_for_the_operator_has_its_full_time(refusal: str) -> None:
    """A deletion made while no operator ran is tried for ten minutes (one for the Secret) from the start on."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.kill()
        world.run(900, lambda: world.cluster.delete(ANN))
        secrets, secret = world.cluster.secrets, Key("team-a", "atlas-credentials")
        credentials = secrets[secret]
        if refusal == "Secret":
            del secrets[secret]
        else:
            world.sandbox.faults.add(Fault("status", status=403, error_code="USER_UNAUTHORIZED", count=None))
        world.start()
        world.run(30)
        assert ANN in world.cluster.objects
        world.sandbox.faults.clear()
        world.run(130, lambda: secrets.update({secret: credentials}))
        assert ANN not in world.cluster.objects
        assert world.sandbox.state.project(PROJECT_ID).invitations.all() == []


def test_a_node_clock_that_is_ahead_ends_no_deletion() -> None:
    """A refused deletion is tried for ten minutes of the monotonic clock, whatever the clock of the node shows."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.wall_ahead = 86400.0
        world.sandbox.faults.add(Fault("status", status=403, error_code="USER_UNAUTHORIZED", count=None))
        world.run(300, lambda: world.cluster.delete(ANN))
        assert ANN in world.cluster.objects


@pytest.mark.parametrize("member_policy", [None, "Manage"])
def test_other_roles_than_asked_for_are_reported_and_not_written_again(member_policy: str | None) -> None:
    """If Atlas drops one role and adds another, the object reports RolesDiffer, and the resyncs write nothing."""
    with a_world() as world:
        rules = world.sandbox.state.rules
        if member_policy is not None:
            accepted(world, memberPolicy=member_policy)
        rules.dropped_roles, rules.added_roles = frozenset({"GROUP_OWNER"}), ("GROUP_SEARCH_INDEX_EDITOR",)
        wanted = ["GROUP_OWNER", "GROUP_READ_ONLY", "GROUP_CLUSTER_MANAGER"]
        if member_policy is None:
            world.run(5, lambda: world.cluster.create(ANN, spec(roles=wanted)))
        else:
            world.run(5, lambda: world.cluster.edit(ANN, {"roles": wanted}))
        assert world.reason(ANN) == "RolesDiffer"


@pytest.mark.parametrize(
    "override",
    [
        Override(STRANGER, {"createdAt": 7, "links": [None], "roles": [{"roleName": "GROUP_OWNER"}]}),
        Override(STRANGER, {"id": 7}),
        Override(STRANGER, without=frozenset({"username"})),
    ],
    ids=str,
)
def test_an_unreadable_entry_of_another_person_stops_nothing(override: Override) -> None:
    """Invitations are sent also in a project with an unreadable entry of another person."""
    with a_world() as world:
        state = world.sandbox.state
        invites.create(state, state.project(PROJECT_ID), STRANGER, ("GROUP_READ_ONLY",), "owner@example.com")
        world.sandbox.overrides.add(override)
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        assert world.reason(ANN) == "Invited"


def test_a_sent_invitation_is_canceled_under_any_email() -> None:
    """An invitation that the operator sent, and that Atlas shows with another e-mail, is canceled by a deletion."""
    with a_world() as world:
        world.sandbox.overrides.add(Override(EMAIL, {"username": "ann@xn--nn-fka.example"}))
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.run(A_RESYNC)
        assert world.reason(ANN) == "Invited"
        world.run(10, lambda: world.cluster.delete(ANN))
        assert world.sandbox.state.project(PROJECT_ID).invitations.all() == []


@pytest.mark.parametrize("is_down", [False, True])
def test_a_removed_finalizer_is_added_again(is_down: bool) -> None:  # noqa: FBT001
    """A finalizer that a user removes is added again, although nothing else has changed."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        if is_down:
            world.kill()
        world.run(1, partial(world.cluster.strip, ANN))
        world.start()
        world.run(A_RESYNC)
        resource = world.cluster.resource(ANN)
        assert resource is not None
        assert resource.has_finalizer
