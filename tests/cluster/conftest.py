"""What the tests on a real API server share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.control_plane.control_plane import ControlPlane


class Apply(Protocol):
    """Applies manifests to the test's namespace as a user does; does not raise when they are refused."""

    def __call__(self, *manifests: dict[str, Any], server_side: bool = False) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def apply(control_plane: ControlPlane, namespace: str) -> Apply:
    """``kubectl apply`` into the test's namespace."""

    def run(*manifests: dict[str, Any], server_side: bool = False) -> subprocess.CompletedProcess[str]:
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        options = ["--server-side"] if server_side else []
        return control_plane.kubectl(
            "apply", "--namespace", namespace, *options, "-f", "-", input=documents, check=False
        )

    return run
