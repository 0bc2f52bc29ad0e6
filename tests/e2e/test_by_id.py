"""An object that names an invitation by its id: adopted, kept in sync, reconciled through its whole life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.kstatus import condition, kstatus
from tests.e2e.world import CLUSTER, OWNER, READ_ONLY, REQUESTED_AT
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World


def test_adopts_what_is_pending_and_equal(world: World) -> None:
    """A pending invitation with the roles of spec is adopted with all fields.

    Two Kubernetes writes, two Atlas reads.
    """
    roles = [OWNER, READ_ONLY]
    invitation = world.invite(roles=roles)
    world.create("jane", invitation["id"], roles)
    item = world.until("jane", "Invited")
    status = item["status"]
    assert status["observedGeneration"] == item["metadata"]["generation"] == 1
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"Ready": "True", "Accepted": "False"}
    assert status["invitation"] == {**invitation, "roles": sorted(roles), "api": "Invites"}
    assert invitation.keys() >= {"id", "groupId", "groupName", "username", "inviterUsername", "createdAt", "expiresAt"}
    assert (status["state"], status["origin"]) == ("Pending", "Adopted")
    assert status["atlas"]["api"] == "Invites"
    assert status["atlas"]["sunset"].startswith("2027-07-01")
    assert status["atlas"]["deprecatedSince"].startswith("2023-10-04")
    assert not status.keys() & {"error", "member", "lastHandledReconcileAt"}
    assert kstatus(item) == "Current"
    assert world.calls() == ["ListInvites 200", "ListUsers 200"]
    assert world.writes() == ["object", "status"]


def test_sets_the_roles_of_spec(world: World) -> None:
    """A pending invitation with other roles gets those of spec, by one PATCH with its id: nothing is created."""
    invitation = world.invite(roles=[OWNER])
    world.create("jane", invitation["id"], [READ_ONLY, CLUSTER])
    item = world.until("jane", "Invited")
    assert world.calls() == ["ListInvites 200", "ListUsers 200", "UpdateInvite 200"]
    assert world.writes() == ["object", "status"]
    assert world.atlas["invitations"] == [{**invitation, "roles": [CLUSTER, READ_ONLY]}]
    assert item["status"]["invitation"]["roles"] == [CLUSTER, READ_ONLY]
    assert item["status"]["origin"] == "Adopted"


def test_the_finalizer_comes_first(world: World) -> None:
    """Before Atlas has responded to the first write, the finalizer is on the object already (law 2)."""
    invitation = world.invite(roles=[OWNER])
    held = world.fault("UpdateInvite", kind="timeout", seconds=2)
    world.create("jane", invitation["id"])
    wait_until("the PATCH is under way", lambda: world.sandbox.struck(held))
    assert world.writes() == ["object"]
    assert world.finalizers("jane") == ["atlasinvites.io/invitation"]
    world.sandbox.mend(held)
    world.until("jane", "Invited")


def test_a_change_of_roles_costs_one_call_and_one_write(world: World) -> None:
    """Other roles for a known pending invitation: one PATCH by id, one status write, and nothing else."""
    world.adopt()
    world.edit("jane", roles=[OWNER])
    item = world.until("jane", "Invited")
    assert world.calls() == ["UpdateInvite 200"]
    assert world.writes() == ["status"]
    assert item["status"]["observedGeneration"] == 2
    assert item["status"]["invitation"]["roles"] == world.atlas["invitations"][0]["roles"] == [OWNER]


def test_quiet_stays_quiet(world: World) -> None:
    """Labels, annotations, other finalizers and the order of roles cause neither Atlas calls nor writes (law 5)."""
    world.adopt(roles=[READ_ONLY, OWNER])
    world.adopt("other")
    path = f"apis/atlasinvites.io/v1alpha1/namespaces/{world.namespace}/atlasprojectinvites/jane"
    for number in range(5):
        world.annotate("jane", "kubectl.kubernetes.io/last-applied-configuration", str(number))
        world.plane.api.do("PATCH", path, {"metadata": {"labels": {"argocd.argoproj.io/instance": f"app-{number}"}}})
    world.plane.api.do(
        "PATCH", path, {"metadata": {"finalizers": [*world.finalizers("jane"), "example.com/of-somebody-else"]}}
    )
    world.handle("other", "now")  # by the same way, after all of this
    assert world.calls() == ["ListInvites 200", "ListUsers 200"]
    assert world.writes("jane") == []
    assert world.writes("other") == ["status"]
    world.plane.api.do("PATCH", path, {"metadata": {"finalizers": ["atlasinvites.io/invitation"]}})


def test_the_last_of_many_quick_edits_wins(world: World) -> None:
    """Of 20 edits in a row, Atlas ends with the last one, and status shows it as evaluated (law 7)."""
    world.adopt()
    every = [[OWNER], [CLUSTER], [OWNER, READ_ONLY], [READ_ONLY]]
    for number in range(19):
        world.edit("jane", roles=every[number % 4])
    world.edit("jane", roles=[CLUSTER, OWNER])
    item = world.until("jane", "Invited")
    assert item["status"]["observedGeneration"] == 21
    assert world.atlas["invitations"][0]["roles"] == item["status"]["invitation"]["roles"] == [CLUSTER, OWNER]
    assert set(world.atlas_writes()) == {"UpdateInvite 200"}
    world.mark()
    world.handle("jane", "still so")
    assert world.atlas["invitations"][0]["roles"] == [CLUSTER, OWNER]
    assert world.calls() == ["ListInvites 200", "ListUsers 200"]


def test_another_persons_invitation(world: World) -> None:
    """An id whose e-mail is not the spec's is left unchanged, with any roles, and nothing shows whose it is."""
    invitation = world.invite("joan", [OWNER])
    world.create("jane", invitation["id"], username=world.email("jane"), deletionPolicy="Revoke")
    item = world.until("jane", "IdentityMismatch")
    assert kstatus(item) == "Failed"
    assert "invitation" not in item["status"]
    assert "joan" not in str(item)
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes() == []
    assert world.atlas["invitations"] == [invitation]


def test_the_case_of_an_e_mail_is_not_significant(world: World) -> None:
    """The e-mails of spec and of Atlas are equal in any case."""
    invitation = world.invite("Jane")
    world.create("jane", invitation["id"], username=world.email("jANE").replace("example.com", "Example.COM"))
    assert world.until("jane", "Invited")["status"]["invitation"]["username"] == world.email("Jane")


def test_an_unknown_id(world: World) -> None:
    """An id that Atlas does not know is InvitationNotFound, confirmed by a read by id, and creates nothing."""
    world.create("jane", "0123456789abcdef01234567")
    item = world.until("jane", "InvitationNotFound")
    assert item["status"]["state"] == "Unknown"
    assert kstatus(item) == "Failed"
    assert "ReadInvite 404" in world.calls()
    assert "error" not in item["status"]
    world.edit("jane", roles=[OWNER])
    world.until("jane", "InvitationNotFound")
    assert world.atlas_writes() == []
    assert world.atlas["invitations"] == world.atlas["users"] == []


def test_an_unknown_id_beside_an_e_mail(world: World) -> None:
    """With id and e-mail, an invitation pending for the e-mail is adopted if the id does not exist.

    Nothing is created.
    """
    invitation = world.invite()
    world.create("jane", "0123456789abcdef01234567", username=world.email("jane"))
    world.create("joan", "fedcba9876543210fedcba98", username=world.email("joan"))
    assert world.until("jane", "Invited")["status"]["invitation"]["id"] == invitation["id"]
    world.until("joan", "InvitationNotFound")
    assert world.atlas_writes() == []


def test_accepted_before(world: World) -> None:
    """A person who had accepted before the object was created is Accepted, found by the e-mail.

    No roles are changed.
    """
    invitation = world.invite(roles=[OWNER])
    world.happen("accept")
    world.create("jane", invitation["id"], [OWNER], username=world.email("jane"))
    item = world.until("jane", "Accepted")
    member = world.atlas["users"][0]
    assert item["status"]["member"] == {
        "id": member["id"],
        "username": member["username"],
        "roles": [OWNER],
        "orgMembershipStatus": "ACTIVE",
    }
    assert item["status"]["state"] == "Accepted"
    accepted = condition(item, "Accepted")
    assert accepted is not None
    assert accepted["status"] == "True"
    assert world.atlas_writes() == []


def test_accepted_meanwhile(world: World) -> None:
    """Acceptance is observed; different roles are reported by name and not changed until memberPolicy is Manage."""
    world.adopt(roles=[READ_ONLY])
    world.happen("accept")
    item = world.handle("jane", "accepted")
    assert condition(item, "Accepted")["status"] == "True"  # type: ignore[index]
    assert item["status"]["invitation"]["username"] == world.email("jane")
    assert item["status"]["member"]["roles"] == [READ_ONLY]

    world.edit("jane", roles=[OWNER])
    item = world.until("jane", "RolesDiffer")
    assert kstatus(item) == "Current"
    message = condition(item, "Ready")["message"]  # type: ignore[index]
    assert OWNER in message
    assert READ_ONLY in message
    assert [call for call in world.atlas_writes() if call != "UpdateInvite 404"] == []
    assert world.atlas["users"][0]["roles"] == [READ_ONLY]

    world.mark()
    world.edit("jane", memberPolicy="Manage")
    item = world.until("jane", "Accepted")
    assert world.atlas_writes() == ["AddRole 200", "RemoveRole 200"]
    assert item["status"]["member"]["roles"] == world.atlas["users"][0]["roles"] == [OWNER]


def test_accepted_right_before_a_change_of_roles(world: World) -> None:
    """A PATCH that finds the invitation accepted is not a failure: the object becomes Accepted or RolesDiffer."""
    world.adopt()
    world.happen("accept")
    world.edit("jane", roles=[OWNER])
    item = world.until("jane", "RolesDiffer")
    assert world.calls()[0] == "UpdateInvite 404"
    assert item["status"]["state"] == "Accepted"
    assert "error" not in item["status"]


def test_a_member_who_left(world: World) -> None:
    """A member who was removed stays removed with every policy: MemberRemoved, and status keeps what was known."""
    world.adopt()
    world.happen("accept")
    world.handle("jane", "accepted")
    world.happen("remove")
    world.handle("jane", "removed")
    item = world.until("jane", "MemberRemoved")
    assert item["status"]["state"] == "Removed"
    assert item["status"]["member"]["roles"] == [READ_ONLY]
    world.edit("jane", memberPolicy="Manage", roles=[OWNER])
    world.until("jane", "MemberRemoved")
    assert [call for call in world.atlas_writes() if call != "UpdateInvite 404"] == []


@pytest.mark.parametrize("how", ["cancel", "decline"])
def test_gone_before_its_time(world: World, how: str) -> None:
    """Canceled elsewhere or declined is always InvitationWithdrawn: nothing is sent, also if the spec changes."""
    invitation = world.adopt(username=world.email("jane"))["status"]["invitation"]
    if how == "cancel":
        world.sandbox.cancel(invitation["id"], world.project)
    else:
        world.happen(how)
    world.mark()
    world.handle("jane", "look")
    item = world.until("jane", "InvitationWithdrawn")
    assert (item["status"]["state"], kstatus(item)) == ("Withdrawn", "Failed")
    assert item["status"]["invitation"] == invitation
    assert "ReadInvite 404" in world.calls()
    world.edit("jane", roles=[OWNER])
    world.until("jane", "InvitationWithdrawn")
    assert world.atlas_writes() == []
    assert world.atlas["invitations"] == world.atlas["users"] == []


def test_suspend_and_resume(world: World) -> None:
    """While suspended, Atlas is not called and the spec counts as evaluated; then the last spec is set."""
    world.adopt()
    before = world.statuses("jane")[-1]
    world.edit("jane", suspend=True, roles=[OWNER])
    item = world.until_it("jane", "is suspended", lambda i: condition(i, "Suspended") is not None)
    suspended = condition(item, "Suspended")
    assert suspended is not None
    assert (suspended["status"], suspended["reason"]) == ("True", "Suspended")
    assert kstatus(item) == "Current"
    for field in ("state", "origin", "invitation", "atlas"):
        assert item["status"][field] == before[field]
    assert [c["type"] for c in item["status"]["conditions"]] == ["Ready", "Accepted", "Suspended"]
    world.edit("jane", roles=[CLUSTER])
    world.annotate("jane", REQUESTED_AT, "in vain")
    world.adopt("other")
    assert [call for call in world.calls() if "Update" in call] == []
    assert world.atlas["invitations"][0]["roles"] == [READ_ONLY]

    world.mark()
    world.edit("jane", suspend=False)
    item = world.until("jane", "Invited")
    assert condition(item, "Suspended") is None
    assert world.atlas["invitations"][0]["roles"] == [CLUSTER]
    assert world.atlas_writes() == ["UpdateInvite 200"]


def test_suspended_from_the_start(world: World) -> None:
    """An object that is suspended at its creation gets no finalizer and causes no calls."""
    invitation = world.invite(roles=[OWNER])
    world.create("jane", invitation["id"], suspend=True)
    item = world.until_it("jane", "is suspended", lambda i: condition(i, "Suspended") is not None)
    assert item["status"]["observedGeneration"] == 1
    assert kstatus(item) == "Current"
    assert world.finalizers("jane") == []
    world.delete("jane")
    world.until_gone("jane")
    assert world.calls() == []


def test_a_request_to_reconcile(world: World) -> None:
    """A new value of the annotation is one reconcile, and is echoed; the same value again does nothing."""
    world.adopt()
    world.adopt("other")
    world.handle("jane", "2026-11-24T10:00:00Z")
    assert world.calls() == ["ListInvites 200", "ListUsers 200"]
    assert world.writes("jane") == ["status"]
    world.mark()
    world.annotate("jane", REQUESTED_AT, "2026-11-24T10:00:00Z")
    world.annotate("jane", "example.com/touched", "true")
    world.handle("other", "after that")
    assert world.writes("jane") == []
    assert world.calls() == ["ListInvites 200", "ListUsers 200"]


def test_drift_in_atlas_is_corrected(own: World, start_operator: StartOperator) -> None:
    """The resync finds roles that were changed in Atlas and sets those of spec; objects in sync cost only reads."""
    start_operator("--resync-interval", "1")
    own.adopt()
    own.adopt("other")
    own.sandbox.control("DELETE", "/calls")
    own.mark()
    own.change_in_atlas("jane", [OWNER])
    wait_until("it is corrected", lambda: own.atlas["invitations"][0]["roles"] == [READ_ONLY])
    resyncs = own.calls().count("ListInvites 200")
    wait_until("three more resyncs", lambda: own.calls().count("ListInvites 200") >= resyncs + 3)
    assert own.atlas_writes() == ["UpdateInvite 200"]
    assert own.writes("other") == []
    assert len(own.writes("jane")) <= 1
    own.happen("accept")
    item = own.until("jane", "Accepted")
    assert item["status"]["state"] == "Accepted"
    own.happen("decline", "other")
    own.until("other", "InvitationWithdrawn")


def test_a_restart_is_quiet(own: World, start_operator: StartOperator) -> None:
    """After a restart nothing in sync is written; changes from meanwhile are made (law 5)."""
    first = start_operator()
    for name in ("jane", "joan", "john"):
        own.adopt(name)
    assert first.stop() == 0
    own.edit("john", roles=[OWNER])
    own.mark()
    start_operator()
    own.until_it("john", "is evaluated again", lambda i: i["status"]["observedGeneration"] == 2)
    own.handle("jane", "after the restart")
    own.handle("joan", "after the restart")
    assert own.atlas_writes() == ["UpdateInvite 200"]
    assert [own.writes(name) for name in ("jane", "joan", "john")] == [["status"], ["status"], ["status"]]
