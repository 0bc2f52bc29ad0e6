"""The platform's application: its image, and what stays when it is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gitops.scenario import scenario
from tests.gitops.stage import PATIENCE
from tests.stack import OPERATOR_NAMESPACE, wait_until

if TYPE_CHECKING:
    from tests.gitops.stage import Stage

PLATFORM = "atlas-invites"
_CRD = "apis/apiextensions.k8s.io/v1/customresourcedefinitions/atlasprojectinvites.atlasinvites.io"
_DEPLOYMENT = f"apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/atlas-invites"
_IMAGE = "registry.example.com/platform/atlas-invites"


@scenario()
def image_of_the_operator(stage: Stage) -> None:
    """The operator's Deployment has the image of the shipped application, not the one in ``deploy/``."""
    kustomization = (stage.rig.platform.folder / "deploy" / "kustomization.yaml").read_text()
    assert f"newName: {_IMAGE}" not in kustomization

    def image() -> str:
        found = stage.rig.plane.api.ask("GET", _DEPLOYMENT)
        return str(found.json()["spec"]["template"]["spec"]["containers"][0]["image"]) if found.is_success else ""

    found = wait_until("the Deployment is there", image, PATIENCE)
    stage.note(f"image of the Deployment: {found}")
    assert found.rpartition(":")[0] == _IMAGE, found


@scenario(alone=True)
def crd_stays(stage: Stage) -> None:
    """The CRD and every invitation stay when the CRD is removed from Git, and when its application is deleted."""
    tool, rig = stage.tool, stage.rig
    tool.add_platform(rig.platform)
    stage.begin()
    before = stage.world.get("jane")
    assert before is not None
    kustomization = rig.platform.folder / "deploy" / "kustomization.yaml"
    revision = rig.platform.commit(
        "Take the CRD out", {"deploy/kustomization.yaml": kustomization.read_text().replace("  - ../crds\n", "")}
    )
    tool.refresh(PLATFORM)
    wait_until("the platform has applied it", lambda: tool.state(PLATFORM).revision == revision, 120)
    stage.note(f"the CRD out of Git: the application is {tool.state(PLATFORM).health}, {tool.state(PLATFORM).done=}")
    tool.delete(PLATFORM)
    wait_until("the platform's application is gone", lambda: not tool.exists(PLATFORM), 120)
    wait_until("the operator is gone", lambda: not rig.plane.api.ask("GET", _DEPLOYMENT).is_success, 120)
    assert "deletionTimestamp" not in rig.plane.api.do("GET", _CRD)["metadata"]
    after = stage.world.get("jane")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]
    assert not stage.world.atlas_writes()
