"""A control plane for cluster-wide installations, with the CRDs of other projects that deploy/ names."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup
from tests.deploy.foreign import definitions
from tests.deploy.manifests import COMPONENTS, CRD, DEPLOY
from tests.e2e.api import new_namespace
from tests.stack import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def _plane(folder: Path) -> Iterator[ControlPlane]:
    """Run a control plane with an audit log, and with the foreign CRDs that our manifests name."""
    assert folder.is_dir()
    kinds = json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions()})
    with ControlPlane(audit=True) as running:
        running.kubectl("apply", "-f", "-", input=kinds)
        running.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        yield running


@pytest.fixture(scope="package")
def bare(control_plane_binaries: Path) -> Iterator[ControlPlane]:
    """A control plane on which each test installs, and cleans up."""
    with _plane(control_plane_binaries) as running:
        yield running


@pytest.fixture(scope="package")
def cluster(control_plane_binaries: Path) -> Iterator[ControlPlane]:
    """A control plane on which everything is installed: with all components, and once more for namespace team-a."""
    with _plane(control_plane_binaries) as running:
        running.kubectl("create", "namespace", "team-a")
        running.kubectl("create", "namespace", "atlas-credentials", "--save-config")  # an example applies it again
        running.kubectl("apply", "-k", str(DEPLOY))
        running.kubectl("apply", *(f"--filename={DEPLOY}/components/{name}/{name}.yaml" for name in COMPONENTS))
        running.kubectl("apply", "-k", str(DEPLOY / "overlays" / "one-namespace"))
        running.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
        yield running


@pytest.fixture
def team(cluster: ControlPlane) -> Iterator[str]:
    """Name of a new namespace on the cluster, which is deleted afterwards without a wait."""
    with new_namespace(cluster) as name:
        yield name


@pytest.fixture(scope="package")
def processes() -> Iterator[ProcessGroup]:
    """The processes that the tests start; they end with the tests."""
    group = ProcessGroup()
    yield group
    group.close()


@pytest.fixture(scope="package")
def sandbox(processes: ProcessGroup) -> Sandbox:
    """A sandbox for the session."""
    return Sandbox.start(processes)
