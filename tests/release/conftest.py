"""A fixture with a copy of the files that a release reads and writes, for tests that change them."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from release.check import CRD, RELEASED
from release.project import read
from release.stamp import PLACES, files
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "registry.example.com/owner"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return the root of a copy of the project without a registry, whatever this project's registry is."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "deploy", root / "deploy")
    shutil.copytree(ROOT / "crds", root / "crds")
    shutil.copytree(ROOT / RELEASED, root / RELEASED)
    for name in {place.path for place in PLACES} | {"CHANGELOG.md", CRD}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    publish_to(root, "")
    for path, text in files(read(root)).items():
        (root / path).write_text(text)
    return root


def publish_to(root: Path, registry: str) -> None:
    """Set the registry, the only variable that a publisher has to set."""
    path = root / "pyproject.toml"
    path.write_text(re.sub(r'(?m)^registry = ".*"$', f'registry = "{registry}"', path.read_text()))
