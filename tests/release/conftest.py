"""A copy of the files that a release reads and writes, for tests that change them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from release.check import CRD, RELEASED
from release.stamp import PLACES
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "registry.example.com/owner"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Root of a copy of the project."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "deploy", root / "deploy")
    shutil.copytree(ROOT / "crds", root / "crds")
    shutil.copytree(ROOT / RELEASED, root / RELEASED)
    for name in {place.path for place in PLACES} | {"CHANGELOG.md", CRD}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    return root


def publish_to(root: Path, registry: str) -> None:
    """Set the one variable of whoever publishes."""
    path = root / "pyproject.toml"
    path.write_text(path.read_text().replace('registry = ""\n', f'registry = "{registry}"\n'))
