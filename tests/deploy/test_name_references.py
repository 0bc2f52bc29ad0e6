"""Names that kustomize changes are updated in the fields of an invitation that refer to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import yaml

from tests.deploy.manifests import DEPLOY, kustomized, load, of_kind
from tests.deploy.running import invite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.deploy.manifests import Object

COMPONENT = DEPLOY / "components" / "name-references"
EXAMPLE = DEPLOY / "examples" / "team"


def kustomization(folder: Path, **fields: object) -> Path:
    """Write a user's kustomization."""
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(fields))
    return folder


def base(folder: Path, *components: Path) -> Path:
    """Write a kustomization with an invitation, the Secret and the AtlasProject that it names."""
    invitation = invite("jane", "")
    invitation["spec"] |= {"projectRef": {"name": "my-project"}}
    project = {"apiVersion": "atlas.mongodb.com/v1", "kind": "AtlasProject", "metadata": {"name": "my-project"}}
    written = kustomization(
        folder,
        resources=["objects.yaml"],
        components=[os.path.relpath(path, folder.resolve()) for path in components],
        secretGenerator=[{"name": "atlas-credentials", "literals": ["publicApiKey=x", "privateApiKey=y"]}],
    )
    (written / "objects.yaml").write_text(yaml.safe_dump_all([invitation, project]))
    return written


def references(objects: list[Object]) -> tuple[str, str]:
    """Return the Secret and the AtlasProject that the invitation names."""
    (spec,) = [one["spec"] for one in of_kind(objects, "AtlasProjectInvite")]
    return spec["connectionSecretRef"]["name"], spec["projectRef"]["name"]


def names(objects: list[Object]) -> tuple[str, str]:
    """Return the names of the Secret and of the AtlasProject."""
    (secret,), (project,) = of_kind(objects, "Secret"), of_kind(objects, "AtlasProject")
    return secret["metadata"]["name"], project["metadata"]["name"]


def test_references_are_updated(tmp_path: Path) -> None:
    """With the component in a base, references are updated there, and in an overlay that adds a prefix and a suffix."""
    objects = kustomized(base(tmp_path / "base", COMPONENT))
    assert references(objects) == names(objects)
    assert names(objects)[0].startswith("atlas-credentials-"), "kustomize added a hash"
    overlay = kustomization(tmp_path / "overlay", resources=["../base"], namePrefix="a-", nameSuffix="-b")
    objects = kustomized(overlay)
    assert references(objects) == names(objects)
    assert names(objects)[1] == "a-my-project-b"


def test_the_component_is_needed(tmp_path: Path) -> None:
    """Without the component kustomize changes the names and not the references, as for any unknown resource."""
    assert references(kustomized(base(tmp_path / "base"))) == ("atlas-credentials", "my-project")


def test_a_secret_from_elsewhere_keeps_its_name(tmp_path: Path) -> None:
    """A reference to a Secret that is not part of the kustomization is unchanged."""
    folder = base(tmp_path / "base", COMPONENT)
    kept = load((folder / "kustomization.yaml").read_text())[0]
    del kept["secretGenerator"]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kept | {"namePrefix": "a-"}))
    assert references(kustomized(folder)) == ("atlas-credentials", "a-my-project")


def test_example(cluster: ControlPlane) -> None:
    """The example is accepted completely, and its invitation names the Secret that comes with it."""
    objects = kustomized(EXAMPLE)
    (secret,), (invitation,) = of_kind(objects, "Secret"), of_kind(objects, "AtlasProjectInvite")
    assert invitation["spec"]["connectionSecretRef"]["name"] == secret["metadata"]["name"]
    assert secret["metadata"]["name"].startswith("payments-atlas-credentials-")
    done = cluster.kubectl("apply", "-k", str(EXAMPLE), "--dry-run=server")
    assert done.stderr == ""
