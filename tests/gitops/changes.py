"""Changes of an invitation: in Git, by hand, invalid changes, and changes in Atlas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.world import CLUSTER, OWNER, READ_ONLY, REQUESTED_AT
from tests.gitops.scenario import scenario
from tests.gitops.stage import PATIENCE
from tests.gitops.tool import DEGRADED
from tests.stack import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.api import Object
    from tests.gitops.stage import Stage


@scenario()
def role_change(stage: Stage) -> None:
    """A role that changes in Git changes in Atlas with one call, and the application is healthy again."""
    stage.begin(roles=[READ_ONLY])
    stage.commit("Let Jane manage clusters", {"jane": stage.invitation(roles=[CLUSTER])})
    stage.measure("commit to Healthy", stage.until)
    stage.until_reason("jane", "Invited")
    assert stage.world.atlas_writes() == ["UpdateInvite 200"]
    assert [one["roles"] for one in stage.world.atlas["invitations"]] == [[CLUSTER]]


@scenario()
def role_added_by_hand(stage: Stage) -> None:
    """A role that a user adds with kubectl is removed again, in Kubernetes and in Atlas."""
    stage.begin(roles=[READ_ONLY])
    _edit(stage, {"roles": [READ_ONLY, OWNER]})
    _until_put_back(stage, "role added", lambda spec: spec["roles"] == [READ_ONLY])
    _until_in_atlas(stage, [READ_ONLY])


@scenario()
def role_removed_by_hand(stage: Stage) -> None:
    """A role that a user removes with kubectl is added again, in Kubernetes and in Atlas."""
    stage.begin(roles=[READ_ONLY, CLUSTER])
    _edit(stage, {"roles": [READ_ONLY]})
    _until_put_back(stage, "role removed", lambda spec: spec["roles"] == [READ_ONLY, CLUSTER])
    _until_in_atlas(stage, [CLUSTER, READ_ONLY])


@scenario()
def policy_changed_by_hand(stage: Stage) -> None:
    """A policy of Git that a user changes with kubectl is restored."""
    stage.begin(deletionPolicy="Retain")
    _edit(stage, {"deletionPolicy": "Revoke"})
    _until_put_back(stage, "policy changed", lambda spec: spec["deletionPolicy"] == "Retain")
    assert not stage.world.atlas_writes()


@scenario("flux")
def fields_added_by_hand(stage: Stage) -> None:
    """Flux removes what a user sets with kubectl and Git does not name: a policy, and an annotation."""
    stage.begin()
    _edit(stage, {"deletionPolicy": "Revoke"})
    _annotate(stage)
    _until_put_back(stage, "policy added", lambda spec: "deletionPolicy" not in spec)
    assert REQUESTED_AT not in _annotations(stage)
    assert not stage.world.atlas_writes()


@scenario("argocd")
def fields_added_by_hand_stay(stage: Stage) -> None:
    """Argo CD keeps what a user sets with kubectl and Git does not name: a policy, and an annotation."""
    stage.begin()
    _edit(stage, {"deletionPolicy": "Revoke"})
    _annotate(stage)
    stage.commit("Let Jane manage clusters", {"jane": stage.invitation(roles=[CLUSTER])})
    stage.until()
    item = stage.until_reason("jane", "Invited")
    assert item["spec"]["roles"] == [CLUSTER]
    assert item["spec"]["deletionPolicy"] == "Revoke"
    assert REQUESTED_AT in _annotations(stage)


@scenario()
def wrong_role(stage: Stage) -> None:
    """A typo in a role is rejected at apply, the application reports it, and nothing is sent until it is corrected."""
    wrong = "GROUP_READ_ONY"
    stage.begin(roles=[READ_ONLY])
    stage.commit("Misspell a role", {"jane": stage.invitation(roles=[wrong])})
    said = stage.until_says(wrong)
    stage.note(f"the application says: {' '.join(said.message.split())[:400]}")
    item = stage.world.get("jane")
    assert item is not None
    assert item["spec"]["roles"] == [READ_ONLY]
    assert not stage.world.atlas_writes()
    stage.commit("Spell it right", {"jane": stage.invitation(roles=[CLUSTER])})
    stage.measure("right role committed to Healthy", lambda: stage.until(seconds=300))
    assert stage.world.atlas_writes() == ["UpdateInvite 200"]


@scenario()
def stalled(stage: Stage) -> None:
    """If the invitee declines, the application is degraded; without the invitation in Git it is healthy again."""
    stage.begin()
    _decline(stage)
    stage.until_reason("jane", "InvitationWithdrawn")
    stage.tool.refresh(stage.name)
    said = stage.measure("stalled to Degraded", lambda: stage.until(DEGRADED))
    stage.note(f"the application says: {' '.join(said.message.split())[:400]}")
    stage.commit("Take Jane out", {"jane": None})
    stage.measure("removal committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert not stage.world.atlas_writes()


@scenario()
def departure_settles(stage: Stage) -> None:
    """With ``departurePolicy: Settle`` the application stays healthy if the invitee declines."""
    stage.begin(departurePolicy="Settle")
    _decline(stage)
    stage.until_reason("jane", "InvitationWithdrawn")
    stage.tool.refresh(stage.name)
    stage.until()
    stage.commit("Change nothing", {})
    stage.until()
    assert not stage.world.atlas_writes()


def _edit(stage: Stage, spec: Object) -> None:
    stage.rig.plane.control_plane.kubectl(
        *("patch", "ainv", "jane", "--namespace", stage.world.namespace, "--type", "merge"),
        *("--patch", json.dumps({"spec": spec})),
    )


def _annotate(stage: Stage) -> None:
    stage.rig.plane.control_plane.kubectl(
        "annotate", "ainv", "jane", "--namespace", stage.world.namespace, f"{REQUESTED_AT}=1"
    )
    stage.until_object("jane", "handles it", lambda item: item["status"].get("lastHandledReconcileAt") == "1")


def _annotations(stage: Stage) -> Object:
    item = stage.world.get("jane")
    assert item is not None
    found: Object = item["metadata"].get("annotations", {})
    return found


def _until_put_back(stage: Stage, what: str, holds: Callable[[Object], bool]) -> None:
    """Wait until the tool has undone an edit; Flux undoes it at its next reconcile."""
    if stage.tool.name == "flux":
        stage.tool.refresh(stage.name)
    stage.measure(
        f"{what} to restored", lambda: stage.until_object("jane", "is restored", lambda item: holds(item["spec"]))
    )
    stage.until()


def _until_in_atlas(stage: Stage, roles: list[str]) -> None:
    stage.until_reason("jane", "Invited")
    wait_until("Atlas has the roles", lambda: _roles(stage) == roles, PATIENCE)
    writes = stage.world.atlas_writes()
    stage.note(f"Atlas writes: {writes}")
    assert set(writes) <= {"UpdateInvite 200"}, writes


def _roles(stage: Stage) -> list[str]:
    (invitation,) = stage.world.atlas["invitations"]
    return sorted(invitation["roles"])


def _decline(stage: Stage) -> None:
    stage.world.happen("decline")
    stage.world.annotate("jane", REQUESTED_AT, "1")
