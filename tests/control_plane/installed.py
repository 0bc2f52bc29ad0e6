"""Find a control plane on this machine, so that the demo need not build one."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.control_plane.build import built
from tests.control_plane.module import selected_version

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST_MINOR = 33
"""The minor version of Kubernetes 1: an older API server lacks what the CRD needs."""
NEEDED = ("etcd", "kube-apiserver")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Found(NamedTuple):
    """The folder of a control plane, and a text about its origin."""

    folder: Path
    origin: str


def find(environment: Mapping[str, str]) -> Found | None:
    """Return a control plane that needs no build, or None.

    The first of these: the one that ``KUBEBUILDER_ASSETS`` names, the one that was built here, the newest of
    setup-envtest. With ``KUBERNETES_VERSION`` those of setup-envtest do not count, because they have no controller
    manager and may have another version.

    Raises:
        BuildError: Go is not installed.
        ValueError: ``KUBERNETES_VERSION`` is not a full version.
    """
    if assets := environment.get("KUBEBUILDER_ASSETS"):
        return Found(Path(assets), "KUBEBUILDER_ASSETS")
    if folder := built(version=selected_version(environment)):
        return Found(folder, "built here before")
    if not environment.get("KUBERNETES_VERSION") and (folder := _newest(_store(environment))):
        return Found(folder, "installed by setup-envtest")
    return None


def _store(environment: Mapping[str, str]) -> Path:
    """Return the folder in which setup-envtest installs (``k8s`` below DefaultStoreDir of its store/helpers.go)."""
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "io.kubebuilder.envtest" / "k8s"
    return Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "kubebuilder-envtest" / "k8s"


def _newest(store: Path) -> Path | None:
    """Return the folder of the newest usable version for this machine, such as ``1.37.2-linux-amd64``."""
    machine = platform.machine()
    name = re.compile(rf"1\.(\d+)\.(\d+)-{sys.platform}-{_ARCHITECTURES.get(machine, machine)}")
    found = {}
    for folder in store.glob("1.*"):
        match = name.fullmatch(folder.name)
        usable = all(os.access(folder / needed, os.X_OK) for needed in NEEDED)
        if match and usable and int(match[1]) >= OLDEST_MINOR:
            found[int(match[1]), int(match[2])] = folder
    return found[max(found)] if found else None
