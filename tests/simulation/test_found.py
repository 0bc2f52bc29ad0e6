"""What the simulation has found, each as the shortest sequence that showed it."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.invitation.resource import Key
from atlas_sandbox import invites, people
from atlas_sandbox.faults import Fault
from atlas_sandbox.project import Lag
from atlas_sandbox.sandbox import PROJECT_ID
from tests.simulation.world import SECRET, World

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN, BOB, CARL = Key("team-a", "ann"), Key("team-a", "bob"), Key("team-a", "carl")
EMAIL = "ann@example.com"


@contextmanager
def a_world() -> Iterator[World]:
    """Begin a simulation; at its end everything must come to rest, and stay so."""
    world = World()
    try:
        yield world
        world.rest()
        world.stay_quiet(2)
    finally:
        world.close()


def spec(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a spec by e-mail."""
    fields = {
        "groupId": PROJECT_ID,
        "username": EMAIL,
        "roles": ["GROUP_READ_ONLY"],
        "connectionSecretRef": {"name": SECRET},
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def test_an_object_that_goes_during_its_first_look_is_let_go_quietly() -> None:
    """An object deleted before it got the finalizer ends its turn without an error, and nothing is sent for it."""
    with a_world() as world:
        world.run(0.03, lambda: world.cluster.create(ANN, spec()))
        world.run(1, lambda: world.cluster.delete(ANN))
        assert world.sandbox.calls.by_operation["CreateInvite"] == 0


def test_an_object_that_goes_during_a_sweep_does_not_end_the_operator() -> None:
    """A duplicate that is deleted while its project is being swept is forgotten, and the sweeps go on."""
    with a_world() as world:
        for key in (ANN, BOB):
            world.run(0, partial(world.cluster.create, key, spec()))
        world.run(70)
        world.kill()
        world.start()
        world.run(0.05)
        world.run(2, lambda: world.cluster.delete(max((ANN, BOB), key=lambda key: _uid(world, key))))


def test_two_objects_that_come_upon_one_invitation_by_different_names_do_not_share_it() -> None:
    """One names the invitation by its id, the other its e-mail, at the same moment: the older one has it."""
    with a_world() as world:
        project = world.sandbox.state.project(PROJECT_ID)
        invitation = invites.create(world.sandbox.state, project, EMAIL, ("GROUP_READ_ONLY",), "owner@example.com")
        by_id = spec(username=None, invitationId=invitation.id, roles=["GROUP_OWNER"])
        world.run(0, lambda: world.cluster.create(ANN, spec()))
        world.run(70, lambda: world.cluster.create(BOB, by_id))
        assert sorted(world.reason(key) for key in (ANN, BOB)) == ["DuplicateInvite", "Invited"]
        assert world.sandbox.calls.by_operation["UpdateInvite"] <= 1


def test_who_comes_after_an_object_that_left_its_invitation_sends_none_though_the_lists_lag() -> None:
    """The old object is pruned first and retains its invitation: the new one asks for the e-mail before it sends."""
    with a_world() as world:
        world.sandbox.state.set_lag(Lag(seconds=300))
        world.run(1, lambda: world.cluster.create(ANN, spec(deletionPolicy="Retain")))
        world.run(1, lambda: world.cluster.delete(ANN))
        world.run(1, lambda: world.cluster.create(BOB, spec()))
        assert world.reason(BOB) == "Invited"
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


def test_a_sending_without_an_answer_binds_the_other_objects_of_the_person_too() -> None:
    """The younger's sending times out; the older, which was suspended, waits the minute before it sends."""
    with a_world() as world:
        world.run(0, lambda: world.cluster.create(ANN, spec(suspend=True)))
        world.sandbox.faults.add(Fault("timeout", frozenset({"CreateInvite"}), seconds=40.0))
        world.run(30, lambda: world.cluster.create(BOB, spec()))
        world.run(90, lambda: world.cluster.edit(ANN, {"suspend": None}))
        assert world.reason(ANN) == "Invited"
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


def test_what_a_killed_process_was_sending_for_a_deleted_object_binds_its_heir() -> None:
    """The operator is killed while a sending is under way; the object is deleted, and a new one waits its minute."""
    with a_world() as world:
        world.sandbox.faults.add(Fault("timeout", frozenset({"CreateInvite"}), seconds=20.0))
        world.run(0.2, lambda: world.cluster.create(ANN, spec(deletionPolicy="Cancel")))
        world.kill()
        world.start()
        world.run(1, lambda: world.cluster.delete(ANN))
        world.run(90, lambda: world.cluster.create(BOB, spec()))
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_sending_that_was_lost_before_the_end_of_the_invites_api_binds_its_successor(killed: bool) -> None:  # noqa: FBT001
    """Its answer is lost, the invites API ends, and the successor cannot show it: nobody is invited a second time."""
    with a_world() as world:
        world.sandbox.faults.add(Fault("timeout", frozenset({"CreateInvite"}), seconds=40.0))
        world.run(32, lambda: world.cluster.create(ANN, spec()))
        world.sandbox.sunset.mode = "on"
        if killed:
            world.kill()
            world.start()
        world.run(200)
        assert world.reason(ANN) == "LegacyInvitation"
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1
        assert world.sandbox.calls.by_operation["AddUser"] == 0


def test_an_outage_that_outlives_the_challenge_ends() -> None:
    """Atlas cannot be reached until the challenge is stale: the first response is a 401, and work goes on."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.network.down = True
        world.run(700, lambda: world.cluster.edit(ANN, {"roles": ["GROUP_OWNER"]}))
        world.network.down = False
        world.run(310)  # the longest back-off
        assert world.reason(ANN) == "Invited"


def _uid(world: World, key: Key) -> str:
    resource = world.cluster.resource(key)
    return resource.uid if resource else ""


def test_who_comes_after_a_deleted_object_waits_for_what_it_may_have_sent() -> None:
    """A sending got no response, the operator died, the object is deleted, another is made: a minute passes first."""
    with a_world() as world:
        world.sandbox.faults.add(Fault("reset", frozenset({"CreateInvite"})))
        world.run(0.2, lambda: world.cluster.create(ANN, spec()))
        world.kill()
        world.start()
        world.run(0.0, lambda: world.cluster.delete(ANN))
        world.run(10, lambda: world.cluster.create(BOB, spec()))
        assert world.reason(BOB) == "ConfirmingInvitation"
        world.rest()
        assert world.reason(BOB) == "Invited"


def test_a_user_whom_a_read_shows_under_another_email_is_not_managed() -> None:
    """The list lags behind a change of the e-mail: the read right before the write shows somebody else."""
    with a_world() as world:
        state, project = world.sandbox.state, world.sandbox.state.project(PROJECT_ID)
        state.join_organization(EMAIL)
        state.activate(project, EMAIL, ("GROUP_READ_ONLY",))
        state.set_lag(Lag(seconds=300.0))
        state.rename_member(EMAIL, "ann.new@example.com")
        managed = spec(memberPolicy="Manage", roles=["GROUP_OWNER"])
        world.run(5, lambda: world.cluster.create(ANN, managed))
        assert world.reason(ANN) == "Conflict"
        assert world.sandbox.calls.by_operation["AddRole"] == 0


def test_an_object_of_a_project_that_is_gone_says_so() -> None:
    """Atlas says twice that the project does not exist: the object goes, and its event names the project."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        gone = Fault("status", status=404, error_code="GROUP_NOT_FOUND", project=PROJECT_ID, count=None)
        world.sandbox.faults.add(gone)
        world.run(10, lambda: world.cluster.delete(ANN))
        assert world.cluster.resource(ANN) is None
        assert [notice.reason for key, notice in world.cluster.notices if key == ANN][-1] == "ProjectNotFound"


def test_the_email_of_a_member_known_by_id_is_taken_whatever_it_was_before() -> None:
    """A member was removed, joined again and changed the e-mail to that of another object: the older one has it."""
    with a_world() as world:
        state, project = world.sandbox.state, world.sandbox.state.project(PROJECT_ID)
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        world.run(5, lambda: world.cluster.create(BOB, spec(username="bob@example.com", suspend=True)))
        world.run(1300, lambda: people.accept(state, project, EMAIL))
        world.run(1300, lambda: people.remove(state, project, EMAIL))
        assert world.reason(ANN) == "MemberRemoved"
        state.activate(project, EMAIL, ("GROUP_READ_ONLY",))
        state.rename_member(EMAIL, "bob@example.com")
        world.run(1300, lambda: world.cluster.edit(BOB, {"suspend": None}))
        assert (world.reason(ANN), world.reason(BOB)) == ("Accepted", "DuplicateInvite")


def test_an_object_whose_send_is_unconfirmed_is_remembered_for_a_minute() -> None:
    """It is deleted, another object has its invitation, and that one goes too: the next process must still know."""
    with a_world() as world:
        world.sandbox.faults.add(Fault("reset", frozenset({"CreateInvite"})))
        world.run(0.35, lambda: world.cluster.create(BOB, spec()))
        world.run(1, lambda: world.cluster.create(ANN, spec()))
        assert (world.reason(BOB), world.reason(ANN)) == ("AtlasUnavailable", "DuplicateInvite")
        world.run(2, lambda: world.cluster.delete(BOB))
        world.run(0.5, lambda: world.cluster.delete(ANN))
        world.kill()
        world.start()
        world.run(10, lambda: world.cluster.create(CARL, spec()))
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


def test_an_older_object_sends_nothing_over_what_the_users_api_does_not_show() -> None:
    """It was not ready when the younger one invited through the invites API, which has ended since: it is held."""
    with a_world() as world:
        by_reference = spec(groupId=None, projectRef={"name": "payments"})
        world.cluster.project_ids.clear()
        world.run(1, lambda: world.cluster.create(ANN, by_reference))
        world.run(5, lambda: world.cluster.create(BOB, spec()))
        assert (world.reason(ANN), world.reason(BOB)) == ("ProjectNotReady", "Invited")
        world.sandbox.sunset.mode = "on"
        world.run(130, lambda: world.cluster.project_ids.update({Key("team-a", "payments"): PROJECT_ID}))
        assert world.sandbox.calls.by_operation["AddUser"] == 0
        assert world.reason(ANN) == "LegacyInvitation"
