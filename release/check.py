"""Prepare a version, and check that it can be released."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from release import changelog, stamp
from release.project import read

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

CRD = "crds/atlasprojectinvites.yaml"
RELEASED = "tests/cluster/released"
"""The CRD of every release, ``VERSION.yaml``. The tests upgrade each of them, with objects, to the current CRD."""


def complaints(root: Path, version: str) -> Iterator[str]:
    """Yield what must be fixed before this version is released, each with what to do."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        yield f"VERSION is {version!r}: use three numbers, such as 0.2.0"
        return
    project = read(root)
    if project.version != version:
        yield f"pyproject.toml has version {project.version}, not {version}: run make release-prepare VERSION={version}"
        return
    yield from disagreements(root)
    if (
        unreleased := changelog.sections((root / "CHANGELOG.md").read_text()).get(changelog.UNRELEASED)
    ) and unreleased.body:
        yield f"CHANGELOG.md has changes below {changelog.UNRELEASED}: move them below {version}"
    released = root / RELEASED / f"{version}.yaml"
    if not released.exists() or released.read_bytes() != (root / CRD).read_bytes():
        yield f"{RELEASED}/{version}.yaml is not a copy of {CRD}: run cp {CRD} {RELEASED}/{version}.yaml"


def disagreements(root: Path) -> Iterator[str]:
    """Yield where the version differs from that of pyproject.toml or has no changes, each with what to do."""
    project = read(root)
    for path, text in stamp.files(project).items():
        if (root / path).read_text() != text:
            yield f"{path} differs from pyproject.toml in the version or the registry: run make generate"
    section = changelog.sections((root / "CHANGELOG.md").read_text()).get(project.version)
    if section is None or not section.date:
        yield f"CHANGELOG.md has no section '## {project.version} - YYYY-MM-DD': write one"
    elif not changelog.changes(section):
        yield f"CHANGELOG.md lists no changes below {project.version}: write them"


def prepare(root: Path, version: str, today: dt.date) -> None:
    """Make a version of the unreleased changes: update pyproject.toml, CHANGELOG.md and all copies, and store the CRD.

    Raises:
        ValueError: there are no unreleased changes, or the version was released already.
    """
    pyproject, log = root / "pyproject.toml", root / "CHANGELOG.md"
    log.write_text(changelog.release(log.read_text(), version, today.isoformat()))
    pyproject.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', pyproject.read_text(), count=1))
    shutil.copyfile(root / CRD, root / RELEASED / f"{version}.yaml")
    for path, text in stamp.files(read(root)).items():
        (root / path).write_text(text)
