"""First syncs, in any order of CRD, operator, Secret and invitations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gitops.scenario import scenario
from tests.gitops.stage import PATIENCE
from tests.gitops.tool import PROGRESSING
from tests.stack import ROOT, wait_until

if TYPE_CHECKING:
    from tests.gitops.stage import Stage


@scenario()
def first_sync(stage: Stage) -> None:
    """The operator is there, then the Secret, then the invitation: sent once, and the application is healthy."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.measure("application created to Healthy", stage.until)
    _is_invited(stage)


@scenario(alone=True)
def first_sync_of_all_at_once(stage: Stage) -> None:
    """Both applications are created at the same time, the team's first: no CRD is there when its sync begins."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.tool.add_platform(stage.rig.platform)
    stage.measure("both applications created to Healthy", lambda: stage.until(seconds=300))
    _is_invited(stage)


@scenario(alone=True)
def first_sync_without_crd(stage: Stage) -> None:
    """The team's application waits for the CRD, which comes later, and needs nobody's help then."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    said = stage.until_it("says why it waits", lambda state: bool(state.message))
    stage.note(f"without a CRD the application says: {said.message}")
    stage.tool.add_platform(stage.rig.platform)
    stage.measure("platform created to the team's Healthy", lambda: stage.until(seconds=600))
    _is_invited(stage)


@scenario(alone=True)
def first_sync_without_operator(stage: Stage) -> None:
    """CRD, Secret and invitation are there before the operator: in progress until it is."""
    stage.rig.plane.control_plane.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    stage.rig.kubelet.take_away()
    stage.tool.add_platform(stage.rig.platform)
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.until_it("is in progress", lambda state: state.health == PROGRESSING)
    stage.rig.kubelet.bring_back()
    stage.measure("operator there to Healthy", lambda: stage.until(seconds=300))
    _is_invited(stage)


@scenario()
def first_sync_without_secret(stage: Stage) -> None:
    """The invitation is there before its Secret: in progress, with a message that says so; then it is sent."""
    stage.world.delete_secret()
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.until_reason("jane", "SecretNotFound")
    stage.until_it("is in progress", lambda state: state.health == PROGRESSING)
    stage.world.put_secret(publicApiKey=stage.world.public_key, privateApiKey=stage.world.key)
    stage.measure("Secret created to Healthy", stage.until)
    wait_until("the invitation is sent", lambda: stage.world.atlas["invitations"], PATIENCE)


def _is_invited(stage: Stage) -> None:
    stage.until_reason("jane", "Invited")
    assert stage.world.atlas_writes() == ["CreateInvite 200"]
