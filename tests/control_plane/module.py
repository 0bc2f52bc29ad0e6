"""The Go module of the control plane: the one in this folder, or one that is generated for another Kubernetes version.

The environment variable ``KUBERNETES_VERSION`` selects another version. A generated module requires what that version's
own go.mod requires, and starts with its go.sum. So Go checks every third-party module against the checksums of the
Kubernetes project, and the modules of Kubernetes against the checksum database that Go is configured with.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MODULE = Path(__file__).parent
"""The folder with the committed go.mod and go.sum, and with main.go."""
KUBERNETES = "k8s.io/kubernetes"


def default_version() -> str:
    """Return the Kubernetes version of the committed go.mod, such as ``1.37.2``.

    Raises:
        ValueError: go.mod requires no version of Kubernetes.
    """
    required = re.search(rf"{KUBERNETES} v(\d+\.\d+\.\S+)", (MODULE / "go.mod").read_text())
    if required is None:
        raise ValueError(f"go.mod does not require {KUBERNETES}")
    return required[1]


def selected_version(environment: Mapping[str, str]) -> str:
    """Return the Kubernetes version to build: that of ``KUBERNETES_VERSION``, else the default.

    Raises:
        ValueError: ``KUBERNETES_VERSION`` is not a full version.
    """
    version = environment.get("KUBERNETES_VERSION", "").removeprefix("v")
    if not version:
        return default_version()
    if not re.fullmatch(r"1\.\d+\.\d+", version):
        raise ValueError(f"KUBERNETES_VERSION is {version!r}: set it to a full version such as 1.34.4")
    return version


def generated(kubernetes: Mapping[str, Any], version: str) -> str:
    """Return the go.mod for a Kubernetes version.

    Args:
        kubernetes: the go.mod of that version of Kubernetes, as ``go mod edit -json`` prints it.
        version: that version, such as ``1.34.4``.
    """
    staging = f"v0.{version.removeprefix('1.')}"  # Kubernetes replaces these modules by folders of its repository
    names = [one["Old"]["Path"] for one in kubernetes["Replace"] if one["New"]["Path"].startswith("./staging/")]
    return "\n".join(
        [
            "module control-plane",
            f"go {kubernetes['Go']}",
            f"require {KUBERNETES} v{version}",
            *(f"replace {name} => {name} {staging}" for name in names),
            "",
        ]
    )
