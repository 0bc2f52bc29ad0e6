"""Every deletion ends, and removes access only if the policy says so (law 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.kstatus import kstatus, reason
from tests.e2e.world import FORCE_DELETE, OWNER, READ_ONLY, REQUESTED_AT
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World


@pytest.mark.parametrize("policy", [None, "Retain"])
def test_what_was_adopted_stays(world: World, policy: str | None) -> None:
    """Retain, and no policy for an adopted invitation, leave it unchanged: no Atlas call, one write."""
    policies = {"deletionPolicy": policy} if policy else {}
    invitation = world.adopt(**policies)["status"]["invitation"]
    world.delete("jane")
    world.until_gone("jane")
    assert world.calls() == []
    assert world.writes() == ["object"]
    assert [one["id"] for one in world.atlas["invitations"]] == [invitation["id"]]


@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
def test_what_is_pending_is_canceled(world: World, policy: str) -> None:
    """Cancel and Revoke cancel a pending invitation, by one call."""
    world.adopt(deletionPolicy=policy)
    world.adopt("other", deletionPolicy="Retain")
    world.delete("jane")
    world.until_gone("jane")
    assert world.calls() == ["CancelInvite 204"]
    assert world.writes() == ["object"]
    assert [one["username"] for one in world.atlas["invitations"]] == [world.email("other")]


def test_the_policy_of_the_last_spec_counts(world: World) -> None:
    """A policy that was changed right before the deletion counts."""
    world.adopt(deletionPolicy="Cancel")
    world.edit("jane", deletionPolicy="Retain")
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes() == []
    assert len(world.atlas["invitations"]) == 1


def test_a_missing_invitation_is_success(world: World) -> None:
    """A 404 on canceling is a success."""
    invitation = world.adopt(deletionPolicy="Cancel")["status"]["invitation"]
    world.sandbox.cancel(invitation["id"], world.project)
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes() == ["CancelInvite 404"]


@pytest.mark.parametrize("policy", ["Cancel", "Retain", None])
def test_a_member_keeps_access(world: World, policy: str | None) -> None:
    """A member stays a member with every policy except Revoke."""
    world.adopt(**({"deletionPolicy": policy} if policy else {}))
    world.happen("accept")
    world.handle("jane", "accepted")
    world.until("jane", "Accepted")
    world.mark()
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes() == []
    assert [(one["username"], one["roles"]) for one in world.atlas["users"]] == [(world.email("jane"), [READ_ONLY])]


def test_a_member_who_accepted_unseen_keeps_access(world: World) -> None:
    """With Cancel, a person who accepted right before the deletion stays a member."""
    world.adopt(deletionPolicy="Cancel")
    world.happen("accept")
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes() == ["CancelInvite 404"]
    assert len(world.atlas["users"]) == 1


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_revoke_removes_a_member(world: World, seen: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Revoke removes this member and no other, also if the acceptance had not been observed."""
    world.adopt(deletionPolicy="Revoke")
    world.adopt("other", deletionPolicy="Revoke")
    world.happen("accept")
    world.happen("accept", "other")
    if seen:
        world.handle("jane", "accepted")
        world.until("jane", "Accepted")
    world.mark()
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes()[-1] == "RemoveUser 204"
    assert [one["username"] for one in world.atlas["users"]] == [world.email("other")]


@pytest.mark.parametrize(("status", "why"), [(503, "AtlasUnavailable"), (429, "RateLimited"), (409, "Conflict")])
def test_the_finalizer_stays_until_atlas_has_canceled(world: World, status: int, why: str) -> None:
    """Atlas unavailable, rate limited or in conflict: the object stays and says why.

    Once the call succeeds, it is finalized.
    """
    world.adopt(deletionPolicy="Cancel")
    fault = world.fault("CancelInvite", status=status)
    world.delete("jane")
    item = world.until_it("jane", f"is {why}", lambda i: reason(i) == why)
    assert kstatus(item) == "Terminating"
    assert item["status"]["error"]["operation"] == "CancelInvite"
    wait_until("it is tried again", lambda: world.sandbox.struck(fault) >= 2)
    assert world.finalizers("jane") == ["atlasinvites.io/invitation"]
    world.sandbox.mend(fault)
    world.until_gone("jane")
    assert world.atlas_writes()[-1] == "CancelInvite 204"
    assert world.atlas["invitations"] == []


def test_a_forbidden_cancellation_is_repeated(world: World) -> None:
    """A 403 keeps the finalizer while the right may still be granted; then the cancellation succeeds."""
    world.adopt(deletionPolicy="Cancel")
    fault = world.fault("CancelInvite", status=403, errorCode="USER_UNAUTHORIZED")
    world.delete("jane")
    world.until_it("jane", "is Forbidden", lambda i: reason(i) == "Forbidden")
    world.sandbox.mend(fault)
    world.annotate("jane", "atlasinvites.io/reconcile-requested-at", "granted")
    world.until_gone("jane")
    assert world.atlas["invitations"] == []


def test_force_delete(world: World) -> None:
    """With force-delete the object is finalized after one more try, with a warning of what may be left in Atlas."""
    world.adopt(deletionPolicy="Cancel")
    world.fault("CancelInvite", status=503)
    world.delete("jane")
    world.until_it("jane", "is AtlasUnavailable", lambda i: reason(i) == "AtlasUnavailable")
    world.annotate("jane", FORCE_DELETE, "true")
    world.until_gone("jane")
    assert len(world.atlas["invitations"]) == 1
    assert f"[{world.namespace}/jane] OrphanedInvitation" in world.operators[0].log


def test_force_delete_still_tries(world: World) -> None:
    """If force-delete was set before, a call that succeeds at once is still made."""
    world.adopt(deletionPolicy="Cancel")
    world.annotate("jane", FORCE_DELETE, "true")
    world.delete("jane")
    world.until_gone("jane")
    assert world.atlas_writes() == ["CancelInvite 204"]
    assert world.atlas["invitations"] == []


def test_a_suspended_object_leaves_atlas_unchanged(world: World) -> None:
    """Deleting a suspended object changes nothing in Atlas, with any policy."""
    world.adopt(deletionPolicy="Revoke")
    world.edit("jane", suspend=True)
    world.delete("jane")
    world.until_gone("jane")
    assert world.calls() == []
    assert len(world.atlas["invitations"]) == 1


def test_a_project_that_is_gone(world: World) -> None:
    """If reading the project says that it is gone, there is nothing to cancel: the object is finalized."""
    world.adopt(deletionPolicy="Cancel")
    world.sandbox.control("DELETE", f"/projects/{world.project}")
    world.delete("jane")
    world.until_gone("jane")
    assert world.calls() == ["CancelInvite 404", "ReadProject 404"]


def test_a_project_that_is_reported_gone_once(world: World) -> None:
    """A wrong GROUP_NOT_FOUND does not orphan the invitation: the project can be read, and the next try cancels."""
    world.adopt(deletionPolicy="Cancel")
    world.fault("CancelInvite", status=404, errorCode="GROUP_NOT_FOUND", count=1)
    world.delete("jane")
    item = world.until_it("jane", "is ProjectNotFound", lambda i: reason(i) == "ProjectNotFound")
    assert item["metadata"]["finalizers"] == ["atlasinvites.io/invitation"]
    world.annotate("jane", REQUESTED_AT, "again")
    world.until_gone("jane")
    assert world.calls() == ["CancelInvite 404", "ReadProject 200", "CancelInvite 204"]
    assert world.atlas["invitations"] == []


def test_a_namespace_whose_secret_went_first(world: World) -> None:
    """A namespace is deleted although its Secret is gone.

    A pending invitation is canceled with the credentials last used.
    """
    world.adopt("kept", deletionPolicy="Retain")
    world.adopt("canceled", deletionPolicy="Cancel")
    world.delete_secret()
    path = f"api/v1/namespaces/{world.namespace}"
    world.plane.api.do("DELETE", path)
    wait_until("the namespace is gone", lambda: world.plane.api.ask("GET", path).status_code == 404)
    assert [one["username"] for one in world.atlas["invitations"]] == [world.email("kept")]
    world.plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": world.namespace}})  # the fixture deletes it


def test_a_deletion_while_the_operator_is_down(own: World, start_operator: StartOperator) -> None:
    """An object that was deleted while no operator ran is finalized when one runs."""
    first = start_operator()
    own.adopt(deletionPolicy="Cancel", roles=[OWNER])
    assert first.stop() == 0
    own.delete("jane")
    assert own.finalizers("jane") == ["atlasinvites.io/invitation"]
    start_operator()
    own.until_gone("jane")
    assert own.calls() == ["CancelInvite 204"]


def test_a_rename_in_one_commit_keeps_the_invitation(own: World, start_operator: StartOperator) -> None:
    """With the default grace the old object is deleted first, the new one is created, and nothing changes in Atlas."""
    start_operator("--deletion-grace", "5s")
    invitation = own.adopt(deletionPolicy="Cancel")["status"]["invitation"]
    own.delete("jane")
    own.create("renamed", invitation["id"], deletionPolicy="Cancel")
    renamed = own.until("renamed", "Invited")
    own.until_gone("jane")
    assert renamed["status"]["invitation"]["id"] == invitation["id"]
    assert own.atlas_writes() == []
