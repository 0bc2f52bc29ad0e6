"""First syncs, in several orders of CRD, operator, Secret and invitations."""

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
    """The operator exists before the Secret, and the Secret before the invitation: it is sent once."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.measure("application created to Healthy", stage.until)
    _is_invited(stage)


@scenario(alone=True)
def first_sync_of_all_at_once(stage: Stage) -> None:
    """Both applications are created together, the team's first: there is no CRD when its sync begins."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.tool.add_platform(stage.rig.platform)
    stage.measure("both applications created to Healthy", lambda: stage.until(seconds=300))
    _is_invited(stage)


@scenario(alone=True)
def first_sync_without_crd(stage: Stage) -> None:
    """The team's application waits for a CRD that comes later, and then continues without help."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    said = stage.until_it("says why it waits", lambda state: bool(state.message))
    stage.note(f"without a CRD the application says: {said.message}")
    stage.tool.add_platform(stage.rig.platform)
    stage.measure("platform created to the team's Healthy", lambda: stage.until(seconds=600))
    _is_invited(stage)


@scenario(alone=True)
def first_sync_without_operator(stage: Stage) -> None:
    """CRD, Secret and invitation exist before the operator: the application is in progress until it runs."""
    stage.rig.plane.control_plane.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    stage.rig.kubelet.stop_operator()
    stage.tool.add_platform(stage.rig.platform)
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync()
    stage.until_it("is in progress", lambda state: state.health == PROGRESSING)
    stage.rig.kubelet.allow_operator()
    stage.measure("operator allowed to Healthy", lambda: stage.until(seconds=300))
    _is_invited(stage)


@scenario()
def first_sync_without_secret(stage: Stage) -> None:
    """The invitation exists before its Secret: in progress, with a message that says why; then it is sent."""
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
