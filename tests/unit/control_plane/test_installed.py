"""Which control plane the demo uses, with replacements for its binaries."""

from __future__ import annotations

import platform
import re
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from tests.control_plane import installed
from tests.control_plane.installed import NEEDED, OLDEST_MINOR, find
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "built", lambda **_: None)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")


def store(folder: Path, *names: str, binaries: tuple[str, ...] = NEEDED) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        for binary in binaries:
            (folder / name / binary).touch(mode=stat.S_IRWXU)


def test_nothing_is_installed(tmp_path: Path) -> None:
    """Without binaries, the demo has to build them."""
    assert find({"HOME": str(tmp_path)}) is None


def test_the_newest_of_setup_envtest(tmp_path: Path) -> None:
    """The newest version for this machine that is complete and not too old is used."""
    k8s = tmp_path / ".local" / "share" / "kubebuilder-envtest" / "k8s"
    store(k8s, "1.34.9-linux-amd64", "1.34.10-linux-amd64", "1.36.0-linux-arm64", "1.32.9-linux-amd64")
    store(k8s, "1.37.0-linux-amd64", binaries=("etcd",))
    found = find({"HOME": str(tmp_path)})
    assert found == (k8s / "1.34.10-linux-amd64", "installed by setup-envtest")
    assert find({"HOME": str(tmp_path), "KUBERNETES_VERSION": "1.35.1"}) is None


@pytest.mark.parametrize(
    ("system", "environment", "folder"),
    [
        ("linux", {"XDG_DATA_HOME": "{}/data"}, "data/kubebuilder-envtest"),
        ("darwin", {"HOME": "{}"}, "Library/Application Support/io.kubebuilder.envtest"),
    ],
)
def test_where_setup_envtest_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, environment: dict[str, str], folder: str
) -> None:
    """The folder follows the rules of setup-envtest for the system."""
    monkeypatch.setattr(sys, "platform", system)
    store(tmp_path / folder / "k8s", f"1.37.0-{system}-amd64")
    found = find({name: value.format(tmp_path) for name, value in environment.items()})
    assert found is not None
    assert found.folder.parent == tmp_path / folder / "k8s"


def test_order_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the user names comes first, then a built one, then those of setup-envtest."""
    environment = {"XDG_DATA_HOME": str(tmp_path)}
    store(tmp_path / "kubebuilder-envtest" / "k8s", "1.37.0-linux-amd64")
    monkeypatch.setattr(installed, "built", lambda **_: tmp_path / "built")
    assert find(environment) == (tmp_path / "built", "built here before")
    assert find(environment | {"KUBEBUILDER_ASSETS": "/named"}) is not None
    assert str(find(environment | {"KUBEBUILDER_ASSETS": "/named"})[0]) == "/named"  # type: ignore[index]


def test_the_oldest_version() -> None:
    """The oldest supported version is the one that the tests run on."""
    assert re.search(rf"^OLDEST_KUBERNETES := 1\.{OLDEST_MINOR}\.", (ROOT / "Makefile").read_text(), re.MULTILINE)
