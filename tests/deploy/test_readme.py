"""The README's way to try the operator on any cluster works by its own commands."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.deploy.documents import commands, run
from tests.stack import ROOT, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane

NEEDED = ("operator", "crds", "deploy", "pyproject.toml", "README.md", "LICENSE")
STOP_ALL = "trap 'kill $(jobs -p) 2> /dev/null || :' EXIT\n"
"""Also stops what the commands have started when one of them fails."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the commands need of the repository: they write into it."""
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.timeout(600)  # pip downloads and unpacks the Kubernetes client
def test_try_it_on_any_cluster(bare: ControlPlane, checkout: Path) -> None:
    """Jane is invited, then a member; nothing is left in the cluster."""
    blocks = commands((ROOT / "README.md").read_text(), __file__)
    printed = run(bare, STOP_ALL + "".join(blocks).replace("8081", str(free_port())), checkout, seconds=540)
    states = [line.split()[1:3] for line in printed.splitlines() if line.startswith("jane ")]
    assert states == [["True", "Pending"], ["True", "Accepted"]]
    left = bare.kubectl("get", "crd,secret", "-n", "default", "-o", "name").stdout
    assert "atlasinvites" not in left
    assert "atlas-credentials" not in left
