"""Prunes and deletions of whole applications."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.api import INVITES, PLURAL
from tests.e2e.world import CLUSTER, REQUESTED_AT
from tests.gitops.scenario import scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gitops.stage import Stage


@scenario()
def prune(stage: Stage) -> None:
    """An invitation that is removed from Git is deleted, and canceled in Atlas."""
    stage.begin()
    stage.commit("Take Jane out", {"jane": None})
    stage.measure("removal committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert stage.world.atlas_writes() == ["CancelInvite 204"]


@scenario("argocd")
def prune_the_last(stage: Stage) -> None:
    """If nothing is left in Git, Argo CD prunes only with ``allowEmpty``, and otherwise reports it."""
    stage.commit("Keep nothing but Jane", {"jane": stage.invitation(), "team": None})
    stage.sync()
    stage.until()
    stage.until_reason("jane", "Invited")
    stage.mark()
    stage.commit("Take Jane out", {"jane": None})
    said = stage.until_says("auto-sync will wipe out all resources")
    stage.note(f"the application says: {said.message[:200]}")
    kept = stage.world.get("jane")
    assert kept is not None
    assert "deletionTimestamp" not in kept["metadata"]
    stage.tool.change(stage.name, {"syncPolicy": {"automated": {"allowEmpty": True}}})
    stage.tool.refresh(stage.name)
    stage.until_gone("jane")
    assert stage.world.atlas_writes() == ["CancelInvite 204"]


@scenario()
def prune_retained(stage: Stage) -> None:
    """With ``deletionPolicy: Retain``, an invitation that is removed from Git stays in Atlas."""
    stage.begin(deletionPolicy="Retain")
    stage.commit("Take Jane out", {"jane": None})
    stage.measure("removal committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert not stage.world.atlas_writes()


@scenario()
def prune_a_member(stage: Stage) -> None:
    """A member whose invitation is removed from Git stays a member."""
    stage.begin()
    stage.world.happen("accept")
    stage.commit("Take Jane out", {"jane": None})
    stage.measure("removal committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert [user["username"] for user in stage.world.atlas["users"]] == [stage.world.email("jane")]


@scenario("argocd")
def prune_while_operator_is_away(stage: Stage) -> None:
    """A prune waits while no operator runs, and the invitation is canceled when the operator runs again."""
    stage.begin()
    with _without_operator(stage):
        stage.commit("Take Jane out", {"jane": None})
        stage.until_object("jane", "is being deleted", lambda item: "deletionTimestamp" in item["metadata"])
        said = stage.tool.state(stage.name)
        stage.note(f"with the operator away: {said.health}, done: {said.done}, {said.message[:200]!r}")
        assert not stage.world.atlas_writes()
    stage.measure("operator back to Healthy", stage.until)
    stage.until_gone("jane")
    assert stage.world.atlas_writes() == ["CancelInvite 204"]


@scenario("flux")
def prune_after_operator_is_back(stage: Stage) -> None:
    """Because of ``dependsOn``, Flux applies no commit while no operator runs: it prunes when the operator is back."""
    stage.begin()
    with _without_operator(stage):
        stage.commit("Take Jane out", {"jane": None})
        said = stage.until_says("not ready")
        stage.note(f"with the operator away: {said.message[:200]!r}")
        kept = stage.world.get("jane")
        assert kept is not None
        assert "deletionTimestamp" not in kept["metadata"]
    stage.measure("operator back to Healthy", lambda: stage.until(seconds=300))
    stage.until_gone("jane")
    assert stage.world.atlas_writes() == ["CancelInvite 204"]


@scenario()
def delete_application(stage: Stage) -> None:
    """If an application is deleted, its invitations are deleted too; those that are pending are canceled."""
    stage.begin()
    stage.commit("Invite John", {"john": stage.invitation("john")})
    stage.until()
    stage.until_reason("john", "Invited")
    stage.mark()
    stage.tool.delete(stage.name)
    stage.measure("deletion to gone", stage.until_deleted)
    assert not _left(stage), "an invitation is left when the application is gone"
    assert stage.world.atlas_writes() == ["CancelInvite 204"] * 2


@scenario()
def delete_application_while_operator_is_away(stage: Stage) -> None:
    """An application that is deleted stays until the operator has finalized its invitations."""
    stage.begin()
    with _without_operator(stage):
        stage.tool.delete(stage.name)
        stage.until_object("jane", "is being deleted", lambda item: "deletionTimestamp" in item["metadata"])
        assert stage.tool.exists(stage.name), "the application went before its invitations"
    stage.measure("operator back to gone", stage.until_deleted)
    assert not _left(stage)
    assert stage.world.atlas_writes() == ["CancelInvite 204"]


@scenario("argocd")
def prune_is_disabled(stage: Stage) -> None:
    """An invitation with the annotation ``Prune=false`` stays when it is removed from Git."""
    item = stage.invitation()
    item["metadata"]["annotations"] = {"argocd.argoproj.io/sync-options": "Prune=false"}
    stage.commit("Invite Jane for good, and John", {"jane": item, "john": stage.invitation("john")})
    stage.sync()
    stage.until()
    stage.until_reason("john", "Invited")
    stage.mark()
    stage.commit("Take both out", {"jane": None, "john": None})
    stage.until_gone("john")
    said = stage.until_says("no prune")
    stage.note(f"the application is {said.health}, done: {said.done}")
    kept = stage.world.get("jane")
    assert kept is not None
    assert "deletionTimestamp" not in kept["metadata"]
    assert stage.world.atlas_writes() == ["CancelInvite 204"]


@scenario("argocd")
def prune_last_with_a_suspended_invitation(stage: Stage) -> None:
    """With ``PruneLast=true`` and a suspended invitation the sync does not end, and nothing is pruned."""
    _begin_prune_last(stage)
    stage.commit("Suspend John, take Jane out", {"john": stage.invitation("john", suspend=True), "jane": None})
    said = stage.until_says("waiting for healthy state of")
    stage.note(f"with PruneLast the application says: {' '.join(said.message.split())[:200]}")
    kept = stage.world.get("jane")
    assert kept is not None
    assert "deletionTimestamp" not in kept["metadata"]
    stage.commit("Resume John", {"john": stage.invitation("john")})


@scenario("argocd")
def prune_last_with_a_stalled_invitation(stage: Stage) -> None:
    """With ``PruneLast=true`` and an invitation that stalls the sync fails, and nothing is pruned."""
    _begin_prune_last(stage)
    stage.world.happen("decline", "john")
    stage.world.annotate("john", REQUESTED_AT, "1")
    stage.until_reason("john", "InvitationWithdrawn")
    stage.commit("Change John, take Jane out", {"john": stage.invitation("john", roles=[CLUSTER]), "jane": None})
    said = stage.until_says("completed unsuccessfully")
    stage.note(f"with PruneLast the application says: {' '.join(said.message.split())[:300]}")
    kept = stage.world.get("jane")
    assert kept is not None
    assert "deletionTimestamp" not in kept["metadata"]


@scenario()
def secret_goes_after_invitations(stage: Stage) -> None:
    """A Secret in an earlier wave of the same repository is created before the invitation, and deleted after it."""
    stage.world.delete_secret()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "atlas-credentials", "annotations": {"argocd.argoproj.io/sync-wave": "-1"}},
        "stringData": {"publicApiKey": stage.world.public_key, "privateApiKey": stage.world.key},
    }
    stage.commit("Invite Jane", {"jane": stage.invitation(), "secret": secret})
    stage.sync()
    stage.until()
    stage.until_reason("jane", "Invited")
    reasons = [one["conditions"][0]["reason"] for one in stage.world.statuses("jane") if one.get("conditions")]
    assert "SecretNotFound" not in reasons, reasons
    stage.mark()
    stage.commit("Take all out", {"jane": None, "secret": None})
    stage.measure("removal committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert stage.world.atlas_writes() == ["CancelInvite 204"]
    (invitation,) = stage.requests("delete")
    (gone,) = stage.requests("delete", resource="secrets")
    stage.note(f"the Secret's deletion follows the invitation's by {gone.time - invitation.time:.2f} s")


def _begin_prune_last(stage: Stage) -> None:
    options = ["SkipDryRunOnMissingResource=true", "ServerSideApply=true", "PruneLast=true"]
    people = {name: stage.invitation(name) for name in ("jane", "john")}
    stage.commit("Invite Jane and John", people)
    stage.sync(syncPolicy={"automated": {"prune": True, "selfHeal": True}, "syncOptions": options})
    stage.until()
    stage.until_reason("john", "Invited")
    stage.mark()


@contextmanager
def _without_operator(stage: Stage) -> Iterator[None]:
    """Keep the operator from running in the ``with`` block."""
    stage.rig.kubelet.stop_operator()
    try:
        yield
    finally:
        stage.rig.kubelet.allow_operator()


def _left(stage: Stage) -> list[object]:
    path = f"{INVITES}/namespaces/{stage.world.namespace}/{PLURAL}"
    return list(stage.rig.plane.api.do("GET", path)["items"])
