"""A control plane for what is installed for a whole cluster, and the kinds of others that deploy/ names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup
from tests.deploy.foreign import definitions
from tests.stack import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def cluster(control_plane_binaries: Path) -> Iterator[ControlPlane]:
    """A running control plane with an audit log, and with the kinds of others that our manifests name."""
    assert control_plane_binaries.is_dir()
    with ControlPlane(audit=True) as running:
        running.kubectl(
            "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions()})
        )
        running.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        yield running


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessGroup]:
    """What the tests start, which ends with them."""
    group = ProcessGroup()
    yield group
    group.close()


@pytest.fixture(scope="session")
def sandbox(processes: ProcessGroup) -> Sandbox:
    """A sandbox for the session."""
    return Sandbox.start(processes)
