"""The files that repeat the version and the registry of pyproject.toml. ``make generate`` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from release import changelog

if TYPE_CHECKING:
    from collections.abc import Callable

    from release.project import Project

CHART = Path("deploy/chart")
WIDTH = 120


class Place(NamedTuple):
    """A place in a file.

    Attributes:
        path: of the file, from the root of the project.
        pattern: matches each place; its only group is replaced.
        value: returns the text for the place.
    """

    path: str
    pattern: str
    value: Callable[[Project], str]


def _version(project: Project) -> str:
    return project.version


def _image(project: Project) -> str:
    return project.image


def _source(project: Project) -> str:
    return project.source


def _urls(project: Project) -> str:
    """Return the table of URLs for pyproject.toml, empty without a registry."""
    if not project.source:
        return ""
    urls = {
        "Source": project.source,
        "Documentation": f"{project.source}/tree/main/docs",
        "Changelog": f"{project.source}/blob/main/CHANGELOG.md",
        "Issues": f"{project.source}/issues",
    }
    return "[project.urls]\n" + "".join(f'{name} = "{url}"\n' for name, url in urls.items())


def _chart_metadata(project: Project) -> str:
    """Return the rest of Chart.yaml: the source of the chart, and the annotations for Artifact Hub."""
    published = {
        "home": project.source,
        "sources": [project.source],
        "icon": f"{project.source}/raw/v{project.version}/docs/icon.svg",
    }
    section = changelog.sections((project.root / "CHANGELOG.md").read_text()).get(project.version)
    changes = [change._asdict() for change in changelog.changes(section)] if section else []
    example = yaml.safe_load((project.root / "deploy/examples/invitation.yaml").read_text())
    annotations: dict[str, object] = {
        "category": "security",
        "license": "Apache-2.0",
        "operator": "true",
        "operatorCapabilities": "Deep Insights",
        "prerelease": str(project.version.startswith("0.")).lower(),
        "images": [{"name": project.name, "image": f"{project.image}:{project.version}"}] if project.registry else [],
        "crds": [
            {
                "kind": "AtlasProjectInvite",
                "version": "v1alpha1",
                "name": "atlasprojectinvites.atlasinvites.io",
                "displayName": "Atlas project invitation",
                "description": "Who is invited to a MongoDB Atlas project, and with which roles.",
            }
        ],
        "crdsExamples": [example],
        "changes": changes,
    }
    written = {
        f"artifacthub.io/{name}": value if isinstance(value, str) else _yaml(value)
        for name, value in annotations.items()
        if value
    }
    return _yaml((published if project.source else {}) | {"annotations": written})


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Blocks, sort_keys=False, width=WIDTH)


class _Blocks(yaml.SafeDumper):
    """Write a text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _text)

_NAME, _TAG = r"^    newName: (\S+)", r"^    newTag: (\S+)$"
PLACES = (
    Place("pyproject.toml", r"^# From tool\.release, by make generate\.\n((?:.+\n)*)", _urls),
    Place("Dockerfile", r"^ARG VERSION=(.*)$", _version),
    Place("Dockerfile", r"^ARG SOURCE=(.*)$", _source),
    Place("deploy/kustomization.yaml", _NAME, _image),
    Place("deploy/kustomization.yaml", _TAG, _version),
    Place("deploy/overlays/one-namespace/kustomization.yaml", _NAME, _image),
    Place("deploy/overlays/one-namespace/kustomization.yaml", _TAG, _version),
    Place("deploy/overlays/credentials-namespace/kustomization.yaml", _NAME, _image),
    Place("deploy/overlays/credentials-namespace/kustomization.yaml", _TAG, _version),
    Place("deploy/examples/kustomization/kustomization.yaml", _TAG, _version),
    Place(f"{CHART}/Chart.yaml", r"^version: (.*)$", _version),
    Place(f"{CHART}/Chart.yaml", r"^appVersion: (.*)$", _version),
    Place(
        f"{CHART}/Chart.yaml", r"(?s:^# From pyproject\.toml and CHANGELOG\.md, by make gen.*?\n(.*))", _chart_metadata
    ),
    Place(f"{CHART}/README.md", r"^    version: (.*)$", _version),
    Place(f"{CHART}/README.md", r'`image\.repository` \| `"([^"]*)"`', _image),
    Place(f"{CHART}/values.yaml", r"^  repository: (\S+)$", _image),
    Place(f"{CHART}/files/values.yaml", r"^  repository: (\S+)$", _image),
    Place(f"{CHART}/values.schema.json", r'"default": \{"repository": "([^"]*)"', _image),
    Place("docs/install.md", r"platform/atlas-invites:(\S+)$", _version),
)


def stamped(path: Path, text: str, project: Project) -> str:
    """Return the text of a file with the version and the registry of a project.

    Args:
        path: of the file, from the root of the project.
        text: the text of the file.
        project: the project.

    Raises:
        ValueError: the text lacks a place.
    """
    for place in PLACES:
        if Path(place.path) == path:
            text = _replace(place, text, place.value(project))
    return text


def _replace(place: Place, text: str, value: str) -> str:
    matches = list(re.finditer(place.pattern, text, re.MULTILINE))
    if not matches:
        raise ValueError(f"{place.path} has no line like {place.pattern!r}, into which the release writes {value!r}")
    for match in reversed(matches):
        text = text[: match.start(1)] + value + text[match.end(1) :]
    return text


def files(project: Project) -> dict[Path, str]:
    """Return the wanted text of each file that has a place, by its path from the root of the project.

    Raises:
        ValueError: a file lacks a place.
    """
    names = dict.fromkeys(Path(place.path) for place in PLACES)
    return {name: stamped(name, (project.root / name).read_text(), project) for name in names}
