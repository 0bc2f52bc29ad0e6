"""The bugs that the simulation has found, each with its shortest sequence."""

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
    """Begin a simulation; at its end everything must come to rest, and stay at rest."""
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


def test_an_object_that_is_deleted_during_its_first_reconcile_causes_no_error() -> None:
    """An object that is deleted before it got the finalizer causes no error, and nothing is sent for it."""
    with a_world() as world:
        world.run(0.03, lambda: world.cluster.create(ANN, spec()))
        world.run(1, lambda: world.cluster.delete(ANN))
        assert world.sandbox.calls.by_operation["CreateInvite"] == 0


def test_an_object_that_is_deleted_during_a_resync_does_not_end_the_operator() -> None:
    """If a duplicate is deleted during the resync of its project, the resyncs continue."""
    with a_world() as world:
        for key in (ANN, BOB):
            world.run(0, partial(world.cluster.create, key, spec()))
        world.run(70)
        world.kill()
        world.start()
        world.run(0.05)
        world.run(2, lambda: world.cluster.delete(max((ANN, BOB), key=lambda key: _uid(world, key))))


def test_two_objects_that_name_one_invitation_differently_do_not_share_it() -> None:
    """One object names the invitation by id, and one by e-mail, at the same moment: the older one has it."""
    with a_world() as world:
        project = world.sandbox.state.project(PROJECT_ID)
        invitation = invites.create(world.sandbox.state, project, EMAIL, ("GROUP_READ_ONLY",), "owner@example.com")
        by_id = spec(username=None, invitationId=invitation.id, roles=["GROUP_OWNER"])
        world.run(0, lambda: world.cluster.create(ANN, spec()))
        world.run(70, lambda: world.cluster.create(BOB, by_id))
        assert sorted(world.reason(key) for key in (ANN, BOB)) == ["DuplicateInvite", "Invited"]
        assert world.sandbox.calls.by_operation["UpdateInvite"] <= 1


def test_a_new_object_adopts_a_retained_invitation_although_the_lists_lag() -> None:
    """If the old object is pruned first and retains its invitation, the new one asks for the e-mail before it sends."""
    with a_world() as world:
        world.sandbox.state.set_lag(Lag(seconds=300))
        world.run(1, lambda: world.cluster.create(ANN, spec(deletionPolicy="Retain")))
        world.run(1, lambda: world.cluster.delete(ANN))
        world.run(1, lambda: world.cluster.create(BOB, spec()))
        assert world.reason(BOB) == "Invited"
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


def test_an_unconfirmed_send_holds_the_other_objects_of_the_person_too() -> None:
    """If the send of the younger object times out, the older one, suspended until then, waits a minute to send."""
    with a_world() as world:
        world.run(0, lambda: world.cluster.create(ANN, spec(suspend=True)))
        world.sandbox.faults.add(Fault("timeout", frozenset({"CreateInvite"}), seconds=40.0))
        world.run(30, lambda: world.cluster.create(BOB, spec()))
        world.run(90, lambda: world.cluster.edit(ANN, {"suspend": None}))
        assert world.reason(ANN) == "Invited"
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


def test_the_send_of_a_killed_process_for_a_deleted_object_holds_its_heir() -> None:
    """If the operator is killed during a send and the object is deleted, a new object waits a minute."""
    with a_world() as world:
        world.sandbox.faults.add(Fault("timeout", frozenset({"CreateInvite"}), seconds=20.0))
        world.run(0.2, lambda: world.cluster.create(ANN, spec(deletionPolicy="Cancel")))
        world.kill()
        world.start()
        world.run(1, lambda: world.cluster.delete(ANN))
        world.run(90, lambda: world.cluster.create(BOB, spec()))
        assert world.sandbox.calls.by_operation["CreateInvite"] == 1


@pytest.mark.parametrize("killed", [False, True])
def test_an_unconfirmed_send_before_the_end_of_the_invites_api_holds_the_users_api(killed: bool) -> None:  # noqa: FBT001
    """A send through the Invites API is unconfirmed when that API ends: nothing is sent through the Users API."""
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
    """After an outage that outlives the digest challenge, the first response is a 401, and the work continues."""
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


def test_a_new_object_waits_for_what_a_deleted_object_may_have_sent() -> None:
    """After an unconfirmed send, a restart and a deletion, a new object waits for a minute before it sends."""
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


def test_a_user_with_another_email_in_the_last_read_is_not_managed() -> None:
    """If the list lags behind a change of the e-mail, the read right before the write prevents the write."""
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


def test_the_deletion_of_an_object_whose_project_is_gone_reports_it() -> None:
    """If Atlas says twice that the project does not exist, the object is finalized with the event ProjectNotFound."""
    with a_world() as world:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        gone = Fault("status", status=404, error_code="GROUP_NOT_FOUND", project=PROJECT_ID, count=None)
        world.sandbox.faults.add(gone)
        world.run(10, lambda: world.cluster.delete(ANN))
        assert world.cluster.resource(ANN) is None
        assert [notice.reason for key, notice in world.cluster.notices if key == ANN][-1] == "ProjectNotFound"


def test_the_email_of_a_member_known_by_id_is_taken_whatever_it_was_before() -> None:
    """If a known member gets the e-mail of a younger object, the older object that knows the member has it."""
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
    """An object with an unconfirmed send and its duplicate are deleted: the next process still knows of the send."""
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


def test_an_older_object_sends_nothing_if_the_users_api_may_hide_an_invitation() -> None:
    """An older object that was not ready when the younger one sent is held after the end of the Invites API."""
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
