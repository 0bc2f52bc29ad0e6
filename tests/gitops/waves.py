"""Argo CD's sync waves and hooks: objects after the invitations wait until each invitation is Healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.world import REQUESTED_AT
from tests.gitops.scenario import scenario
from tests.gitops.stage import other

if TYPE_CHECKING:
    from tests.e2e.api import Object
    from tests.gitops.stage import Stage

_WAVE, _HOOK = {"argocd.argoproj.io/sync-wave": "1"}, {"argocd.argoproj.io/hook": "PostSync"}


@scenario("argocd")
def later_wave_waits_for_a_suspended_invitation(stage: Stage) -> None:
    """A later wave waits while an invitation is suspended. A change by hand can resume it, a commit cannot."""
    _waits_for_a_suspended_invitation(stage, _WAVE)


@scenario("argocd")
def hook_waits_for_a_suspended_invitation(stage: Stage) -> None:
    """A PostSync hook waits while an invitation is suspended. A change by hand can resume it, a commit cannot."""
    _waits_for_a_suspended_invitation(stage, _HOOK)


@scenario("argocd")
def later_wave_fails_with_a_stalled_invitation(stage: Stage) -> None:
    """A stalled invitation fails the sync before the later wave, which is applied once a commit removes it."""
    stage.begin()
    stage.world.happen("decline")
    stage.world.annotate("jane", REQUESTED_AT, "1")
    stage.until_reason("jane", "InvitationWithdrawn")
    stage.commit("Add a later wave", {"later": _later(stage, _WAVE)})
    said = stage.until_says("completed unsuccessfully")
    stage.note(f"the application says: {' '.join(said.message.split())[:300]}")
    assert not _exists(stage)
    stage.commit("Take Jane out", {"jane": None})
    stage.measure("removal committed to Healthy", stage.until)
    assert _exists(stage)


def _waits_for_a_suspended_invitation(stage: Stage, annotations: dict[str, str]) -> None:
    """Check that Argo CD starts no sync of a new commit while the sync of the old one waits."""
    stage.begin()
    stage.commit(
        "Suspend Jane, add what comes later",
        {"jane": stage.invitation(suspend=True), "later": _later(stage, annotations)},
    )
    said = stage.until_says("waiting for healthy state of atlasinvites.io/AtlasProjectInvite/jane")
    stage.note(f"the application says: {' '.join(said.message.split())[:200]}")
    assert not _exists(stage)
    resumption = stage.commit("Resume Jane", {"jane": stage.invitation()})
    stage.until_it("has compared the resumption with the cluster", lambda state: state.revision == resumption)
    for _ in range(2):
        stage.tool.refresh(stage.name)  # waits until the refresh before has finished
    jane = stage.world.get("jane")
    assert jane is not None
    assert jane["spec"]["suspend"] is True, "the running sync gave way to the commit"
    assert not _exists(stage)
    stage.world.edit("jane", suspend=False)
    stage.measure("resumed by hand to Healthy", stage.until)
    assert _exists(stage)


def _later(stage: Stage, annotations: dict[str, str]) -> Object:
    """Return a ConfigMap that comes after the invitations."""
    item = other(stage.world.namespace, "later")
    item["metadata"]["annotations"] = annotations
    return item


def _exists(stage: Stage) -> bool:
    path = f"api/v1/namespaces/{stage.world.namespace}/configmaps/later"
    return stage.rig.plane.api.ask("GET", path).is_success
