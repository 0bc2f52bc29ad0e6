"""Render deploy/ with the tools of a platform engineer: kustomize's manifests and the chart's, as objects."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import helm_python
import yaml

from tests.control_plane.build import tool
from tests.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Object = dict[str, Any]

DEPLOY = ROOT / "deploy"
CRD = "crd/atlasprojectinvites.atlasinvites.io"
CHART = DEPLOY / "chart"
COMPONENTS = ("network-policy", "monitoring", "dashboard", "role-guard")
EXTRA_ROLE = "GROUP_REPLACE_ME"
"""The role that the shipped component extra-roles adds."""
ALL_COMPONENTS = {name: {"enabled": True} for name in ("roleGuard", "networkPolicy", "monitoring", "dashboard")}
"""The chart's values that match kustomize's components."""
FIRST_VALUES: Object = {
    "image": {"repository": "atlas-invites", "tag": "", "digest": "", "pullPolicy": "IfNotPresent"},
    "imagePullSecrets": [],
    "replicas": 2,
    "scope": "cluster",
    "settings": {},
    "env": [],
    "volumes": [],
    "volumeMounts": [],
    "serviceAccount": {"annotations": {}},
    "fixedUser": True,
    "crd": {"create": True},
    "userRoles": {"create": True},
    "roleGuard": {"enabled": False},
    "networkPolicy": {"enabled": False, "prometheusNamespace": "monitoring", "ports": [443, 6443]},
    "monitoring": {"enabled": False, "labels": {}, "runbookUrl": "docs/runbook.md"},
    "resources": {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "512Mi"},
    },
    "podAnnotations": {},
    "nodeSelector": {},
    "tolerations": [],
    "affinity": {},
    "priorityClassName": "",
}
"""The values of the first release of the chart."""


def load(text: str) -> list[Object]:
    """Return the objects of a stream of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomized(folder: Path) -> list[Object]:
    """Return the objects of a kustomization."""
    done = subprocess.run(  # noqa: S603 - our own folders
        [tool("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, check=True
    )
    return load(done.stdout)


def kustomized_with(folder: Path, *components: str, scratch: Path, **fields: Any) -> list[Object]:  # noqa: ANN401 - YAML
    """Return the objects of one of our kustomizations with some of our components, as a user combines them.

    Args:
        folder: the kustomization.
        components: the names of the components.
        scratch: where the user's kustomization is written.
        fields: its other fields.
    """
    wanted = {"resources": [folder], "components": [DEPLOY / "components" / name for name in components]}
    relative = {
        field: [os.path.relpath(path, scratch.resolve()) for path in paths]  # kustomize accepts no other path
        for field, paths in wanted.items()
    }
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(relative | fields))
    return kustomized(scratch)


def chart(values: Object | None = None, namespace: str = "atlas-invites") -> list[Object]:
    """Return the objects of the chart for these values.

    Raises:
        helm_python.HelmValuesError: the values do not fit the schema.
    """
    return rendered(CHART, values, namespace)


def rendered(folder: Path, values: Object | None = None, namespace: str = "atlas-invites") -> list[Object]:
    """Return the objects of any chart for these values, without its notes.

    Raises:
        helm_python.HelmValuesError: the values do not fit the schema.
    """
    with helm_python.Chart.load(folder) as loaded:
        texts = loaded.render(values or {}, name="atlas-invites", namespace=namespace)
    return [one for name, text in texts.items() if name.endswith(".yaml") for one in load(text)]


def by_name(objects: Iterable[Object]) -> dict[str, Object]:
    """Return objects by kind, namespace and name."""
    named = {}
    for one in objects:
        meta = one["metadata"]
        name = "/".join(part for part in (one["kind"], meta.get("namespace"), meta["name"]) if part)
        assert name not in named, f"{name} is there twice"
        named[name] = one
    return named


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [one for one in objects if one["kind"] in kinds]
