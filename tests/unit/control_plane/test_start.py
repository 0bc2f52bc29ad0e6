"""How a control plane fails to start, with replacements for its binaries."""

from __future__ import annotations

import stat
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import StartError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of replacement binaries; temporary files go to ``files`` below it."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
    return tmp_path


def stand_in(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(("dead", "alive"), [("etcd", "kube-apiserver"), ("kube-apiserver", "etcd")])
def test_a_process_that_dies(assets: Path, dead: str, alive: str) -> None:
    """A process that ends while it starts is named, with the last lines of its log, and the others end too."""
    stand_in(assets / dead, "echo 'no luck today' >&2; exit 7")
    stand_in(assets / alive, "exec sleep 600")
    with pytest.raises(StartError) as failed:
        ControlPlane().start()
    assert str(failed.value) == f"{dead} ended with exit code 7:\n  no luck today"
    assert list((assets / "files").iterdir()) == []


@pytest.mark.parametrize("written", [None, "", "-----BEGIN CERTIFICATE-----\nMIIC"])
def test_a_certificate_that_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str | None
) -> None:
    """An API server whose certificate is missing or incomplete is not ready yet."""
    certificate = tmp_path / "apiserver.crt"
    if written is not None:
        certificate.write_text(written)
    monkeypatch.setattr(ControlPlane, "_certificate", certificate)
    assert not ControlPlane()._responds("/readyz")  # noqa: SLF001 - a moment that no test could hit


def test_missing_binaries(assets: Path) -> None:
    """A folder without the binaries leaves nothing running."""
    with pytest.raises(FileNotFoundError, match="etcd"):
        ControlPlane().start()
    assert list((assets / "files").iterdir()) == []


def test_not_started() -> None:
    """A call that needs a running control plane says that it is not running."""
    with pytest.raises(RuntimeError, match="not running: start it first"):
        ControlPlane().start_api_server()
