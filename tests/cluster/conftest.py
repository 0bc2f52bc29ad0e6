"""What the tests on a real API server share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.cluster.life import Life, Mode, live
from tests.e2e.api import new_namespace

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tests.control_plane.control_plane import ControlPlane

BASE = Path(__file__).parents[2] / "deploy" / "base"


class Apply(Protocol):
    """Apply manifests to the test's namespace as a user does; do not raise if they are rejected."""

    def __call__(self, *manifests: dict[str, Any], options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def apply(control_plane: ControlPlane, namespace: str) -> Apply:
    """``kubectl apply`` into the test's namespace."""

    def run(*manifests: dict[str, Any], options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        return control_plane.kubectl(
            "apply", "--namespace", namespace, *options, "-f", "-", input=documents, check=False
        )

    return run


@pytest.fixture(scope="package")
def installed(control_plane: ControlPlane, crds: None) -> Path:  # noqa: ARG001 - it must be there first
    """The operator's ServiceAccount and its RBAC, as shipped; returns its kubeconfig."""
    control_plane.kubectl("apply", "--server-side", "-k", str(BASE))
    return control_plane.kubeconfig_for("atlas-invites", "atlas-invites")


@pytest.fixture
def api() -> Mode:
    """Which of Atlas's APIs the operator may use; a test that runs with several has it as a parameter."""
    return "auto"


@pytest.fixture
def grace() -> float:
    """Seconds that a deletion waits before it removes something in Atlas: 0, unless a test is about the wait."""
    return 0.0


@pytest.fixture
async def life(
    control_plane: ControlPlane, installed: Path, namespace: str, api: Mode, grace: float
) -> AsyncIterator[Life]:
    """A namespace, a sandbox and a running operator, with a clock that the test moves."""
    async with live(namespace, control_plane.kubeconfig, installed, api, grace) as running:
        yield running


@pytest.fixture
def namespace_b(control_plane: ControlPlane) -> Iterator[str]:
    """Name of a second new namespace."""
    with new_namespace(control_plane) as name:
        yield name
