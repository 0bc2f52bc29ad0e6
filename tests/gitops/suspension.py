"""Suspensions by commit: none of them delays a later commit or a deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.world import CLUSTER
from tests.gitops.scenario import scenario
from tests.gitops.stage import PATIENCE
from tests.gitops.tool import HEALTHY, SUSPENDED
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.gitops.stage import Stage


@scenario()
def suspend_and_resume(stage: Stage) -> None:
    """A suspended invitation does not change in Atlas; the commit that resumes it is applied at once."""
    stage.begin()
    stage.commit("Suspend Jane", {"jane": stage.invitation(suspend=True, roles=[CLUSTER])})
    stage.measure("suspension committed to done", lambda: stage.until(_shown(stage)))
    assert not stage.world.atlas_writes()
    stage.commit("Resume Jane", {"jane": stage.invitation(roles=[CLUSTER])})
    stage.measure("resumption committed to Healthy", stage.until)
    wait_until("the role is in Atlas", lambda: stage.world.atlas_writes() == ["UpdateInvite 200"], PATIENCE)


@scenario()
def suspended_from_the_start(stage: Stage) -> None:
    """An invitation that is suspended from the start delays nothing, and is sent once it is resumed."""
    stage.commit("Invite Jane later", {"jane": stage.invitation(suspend=True)})
    stage.sync()
    stage.measure("application created to done", lambda: stage.until(_shown(stage)))
    assert not stage.world.calls()
    stage.commit("Resume Jane", {"jane": stage.invitation()})
    stage.measure("resumption committed to Healthy", stage.until)
    stage.until_reason("jane", "Invited")
    assert stage.world.atlas_writes() == ["CreateInvite 200"]


@scenario()
def prune_while_suspended(stage: Stage) -> None:
    """A suspended invitation that is removed from Git is deleted, and does not change in Atlas."""
    stage.begin()
    stage.commit("Suspend Jane", {"jane": stage.invitation(suspend=True)})
    stage.until(_shown(stage))
    stage.commit("Take Jane out", {"jane": None})
    stage.measure("removal committed to Healthy", stage.until)
    stage.until_gone("jane")
    assert not stage.world.atlas_writes()


@scenario()
def delete_application_while_suspended(stage: Stage) -> None:
    """An application with a suspended invitation is deleted; the invitation does not change in Atlas."""
    stage.begin()
    stage.commit("Suspend Jane", {"jane": stage.invitation(suspend=True)})
    stage.until_object("jane", "is suspended", lambda item: item["spec"].get("suspend"))
    stage.tool.delete(stage.name)
    stage.measure("deletion right after the suspension to gone", stage.until_deleted)
    stage.until_gone("jane")
    assert not stage.world.calls("DELETE")


@scenario()
def suspended_by_hand(stage: Stage) -> None:
    """Argo CD keeps a suspension with kubectl that Git does not name; Flux removes it."""
    stage.begin()
    stage.rig.plane.control_plane.kubectl(
        *("patch", "ainv", "jane", "--namespace", stage.world.namespace, "--type", "merge"),
        *("--patch", '{"spec": {"suspend": true}}'),
    )
    if stage.tool.name == "argocd":
        stage.measure("suspension by hand to Suspended", lambda: stage.until(SUSPENDED))
        stage.tool.refresh(stage.name)
        stage.until(SUSPENDED)
    else:
        stage.tool.refresh(stage.name)
        stage.until_object("jane", "is resumed", lambda item: "suspend" not in item["spec"])
        stage.until()


@scenario()
def suspended_by_hand_against_git(stage: Stage) -> None:
    """If Git has ``suspend: false``, a suspension with kubectl is undone."""
    stage.begin(suspend=False)
    stage.world.edit("jane", suspend=True)
    if stage.tool.name == "flux":
        stage.tool.refresh(stage.name)
    stage.measure(
        "suspension to resumed",
        lambda: stage.until_object("jane", "is resumed", lambda item: item["spec"]["suspend"] is False),
    )
    stage.until()


def _shown(stage: Stage) -> str:
    """Return what the tool shows for a suspended invitation."""
    return SUSPENDED if stage.tool.name == "argocd" else HEALTHY
