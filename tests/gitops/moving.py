"""Renames and moves of an object: the invitee notices nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gitops.scenario import scenario
from tests.gitops.stage import PATIENCE, other
from tests.gitops.tool import DEGRADED
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.gitops.stage import Stage


@scenario()
def rename_in_one_commit(stage: Stage) -> None:
    """Nothing is sent or canceled; the new object is an heir, so that a later prune cancels the invitation."""
    stage.begin()
    stage.commit("Rename Jane's object", {"jane": None, "jane-doe": stage.invitation("jane-doe", username="jane")})
    stage.measure("rename committed to Healthy", stage.until)
    _note_order(stage)
    _check_heir(stage)


@scenario("argocd")
def rename_with_a_secret_that_goes(stage: Stage) -> None:
    """A commit that also removes a Secret of an earlier wave makes Argo CD prune in two waves: Jane is invited again.

    Argo CD deletes the old object in the first wave, and waits until it is gone before it creates the new one.
    """
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "old-credentials", "annotations": {"argocd.argoproj.io/sync-wave": "-1"}},
        "stringData": {"publicApiKey": stage.world.public_key, "privateApiKey": stage.world.key},
    }
    stage.commit("Keep the Secret here", {"secret": secret})
    stage.begin(connectionSecretRef={"name": "old-credentials"})
    renamed = stage.invitation("jane-doe", username="jane")
    stage.commit("Rename Jane's object, take the Secret out", {"jane": None, "jane-doe": renamed, "secret": None})
    stage.measure("rename committed to Healthy", stage.until)
    _note_order(stage)
    stage.until_gone("jane")
    stage.until_reason("jane-doe", "Invited")
    assert stage.world.atlas_writes() == ["CancelInvite 204", "CreateInvite 200"], stage.world.atlas_writes()


@scenario()
def rename_in_two_commits(stage: Stage) -> None:
    """The new object waits as a duplicate while the old one exists; then the same holds as for one commit."""
    stage.begin()
    stage.commit("Add the new object", {"jane-doe": stage.invitation("jane-doe", username="jane")})
    stage.until_reason("jane-doe", "DuplicateInvite")
    stage.until(DEGRADED)
    stage.commit("Remove the old one", {"jane": None})
    stage.measure("removal committed to Healthy", lambda: stage.until(seconds=300))
    _check_heir(stage)


@scenario()
def move_to_another_namespace(stage: Stage) -> None:
    """An object that moves to another namespace in one commit keeps the invitation."""
    world = stage.world
    elsewhere = f"{world.namespace}-b"
    stage.rig.plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": elsewhere}})
    secret = {
        "metadata": {"name": "atlas-credentials"},
        "stringData": {"publicApiKey": world.public_key, "privateApiKey": world.key},
    }
    stage.rig.plane.api.do("POST", f"api/v1/namespaces/{elsewhere}/secrets", secret)
    stage.commit("Invite Jane", {"jane": stage.invitation(namespace=world.namespace)})
    changes = {"targetNamespace": None} if stage.tool.name == "flux" else {}
    stage.sync(**changes)
    stage.until()
    stage.until_reason("jane", "Invited")
    stage.mark()
    stage.commit("Move Jane", {"jane": stage.invitation(namespace=elsewhere)})
    stage.measure("move committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert not world.atlas_writes(), world.atlas_writes()


@scenario()
def move_to_another_application(stage: Stage) -> None:
    """An object is added to another application, and then removed from the first: nothing changes in Atlas."""
    stage.begin()
    second = stage.beside()
    second.commit("Begin", {"team": other(stage.world.namespace, "other-team")})
    second.sync()
    second.until()
    second.commit("Take Jane from the other team", {"jane-doe": stage.invitation("jane-doe", username="jane")})
    second.until_reason("jane-doe", "DuplicateInvite")
    stage.commit("Give Jane to the other team", {"jane": None})
    stage.measure("second commit to Healthy", lambda: second.until(seconds=300))
    _check_heir(second)
    stage.tool.delete(second.name)


def _check_heir(stage: Stage) -> None:
    world = stage.world
    stage.until_reason("jane-doe", "Invited")
    stage.until_gone("jane")
    assert not world.atlas_writes(), world.atlas_writes()
    heir = stage.until_reason("jane-doe", "Invited")
    assert heir["status"]["origin"] == "Created", heir["status"]["origin"]
    stage.commit("Take Jane out", {"jane-doe": None})
    stage.until()
    stage.until_gone("jane-doe")
    wait_until("the invitation is canceled", world.atlas_writes, PATIENCE)
    assert world.atlas_writes() == ["CancelInvite 204"]


def _note_order(stage: Stage) -> None:
    requests = sorted(stage.requests("create", "patch", "delete"), key=lambda one: one.time)
    tool = [one for one in requests if "atlas" not in one.agent.lower() and "python" not in one.agent.lower()]
    begun = tool[0].time
    steps = ", ".join(f"{one.verb} {one.name or '(new)'} +{one.time - begun:.3f} s" for one in tool)
    stage.note(f"order: {steps}")
