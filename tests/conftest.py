"""Fixtures for tests that need a real API server: one control plane for a session, one namespace for each test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.control_plane.build import BuildError, binaries
from tests.control_plane.control_plane import ControlPlane
from tests.e2e.api import new_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

CRDS = Path(__file__).parent.parent / "crds"

# Random tests use fixed seeds, and no test measures time: a loaded machine must not fail one.
settings.register_profile("reproducible", derandomize=True, database=None, deadline=None)
settings.load_profile("reproducible")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane before the first test's time-out runs, and only if a collected test needs it."""
    needed = any("control_plane_binaries" in getattr(item, "fixturenames", ()) for item in session.items)
    if not needed or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    try:
        with capture.global_and_fixture_disabled():  # a first build takes minutes: show its progress
            binaries()
    except BuildError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def control_plane_binaries() -> Path:
    """Return the folder of the built binaries, for tests that start their own control plane."""
    return binaries()


@pytest.fixture(scope="session")
def control_plane(control_plane_binaries: Path) -> Iterator[ControlPlane]:
    """Run a control plane with an audit log, one for the session: tests must leave nothing cluster-wide behind."""
    assert control_plane_binaries.is_dir()
    with ControlPlane(audit=True) as running:
        yield running


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    """Apply the CRD as a user does, and wait until it is served."""
    control_plane.kubectl("apply", "--server-side", "-k", str(CRDS))
    name = "crd/atlasprojectinvites.atlasinvites.io"
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", name)


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Return the name of a new namespace, which is deleted afterwards without waiting for the end of the deletion."""
    with new_namespace(control_plane) as name:
        yield name
