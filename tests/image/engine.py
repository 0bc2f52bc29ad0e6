"""Builds and runs images where there is no container engine and no registry: buildah, podman, runc, debootstrap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.stack import ROOT

BASE = "localhost/python:3.13-slim"
SUITE, PACKAGES = "trixie", "python3,python3-venv,python-is-python3,ca-certificates"
"""Debian 13, whose Python is 3.13."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
TOOLS = ("buildah", "podman", "runc")
NEEDS = """\
make image-test needs {missing}, and root. It builds and runs the image without Docker and without a container registry:
  apt-get install -y --no-install-recommends buildah podman runc debootstrap
It makes its own base image from Debian's packages. To use one of a registry instead, name it:
  make image-test PYTHON_IMAGE=docker.example.com/python:3.13-slim
Where Docker runs, `make image` builds the image too; this test is not for that engine."""
HARDENED = (
    *("--network", "host", "--no-healthcheck", "--read-only", "--read-only-tmpfs=false"),
    *("--cap-drop=ALL", "--security-opt", "no-new-privileges", "--user", "10001:10001"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)


class EngineError(Exception):
    """A tool is missing, or failed; the text says which and what it said."""


class Engine:
    """A container engine with a storage of its own, which is kept in the cache.

    Args:
        base: the base image, from a registry; None for one that is made here.

    Raises:
        EngineError: what it needs is not there.
    """

    def __init__(self, base: str | None) -> None:
        needed = (*TOOLS, *(() if base else ("debootstrap",)))
        missing = [name for name in needed if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            raise EngineError(NEEDS.format(missing=", ".join(missing) or "nothing more"))
        self._base = base
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atlas-invites" / "image"
        cache.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="atlas-invites-image-"))
        storage = self._folder / "storage.conf"
        lines = ["[storage]", 'driver = "overlay"', f'graphroot = "{cache}"', f'runroot = "{cache / "run"}"']
        storage.write_text("\n".join(lines) + "\n")
        self._environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(storage)}

    def close(self) -> None:
        """Remove what is not kept: what earlier builds left, and our folder."""
        self._podman("image", "prune", "--force")
        shutil.rmtree(self._folder, ignore_errors=True)

    def build(self, image: str) -> None:
        """Build the Dockerfile.

        Raises:
            EngineError: it cannot be built.
        """
        base = self._base or self._own_base()
        options = ["--isolation", "chroot", "--format", "docker"]
        if not self._base:
            options.append("--pull-never")
        if CERTIFICATES.exists():  # whom this machine trusts, the build trusts
            options += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        self._do("buildah", "build", *options, "--build-arg", f"PYTHON_IMAGE={base}", "--tag", image, str(ROOT))

    def inspect(self, image: str) -> dict[str, Any]:
        """Return what the image says of itself."""
        (found,) = json.loads(self._podman("image", "inspect", image))
        return dict(found)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a container as hardened as in the Deployment, and return what it, or podman, printed."""
        return self._podman("run", *HARDENED, *arguments, stdin=stdin)

    def pid(self, name: str) -> int:
        """Return the process of a running container."""
        return int(self._podman("inspect", "--format", "{{.State.Pid}}", name))

    def logs(self, name: str) -> str:
        """Return everything that a container has logged."""
        done = subprocess.run(  # noqa: S603 - our own command line
            ["podman", "logs", name],  # noqa: S607 - wherever it is
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def stop(self, name: str) -> int:
        """Send SIGTERM, and return the exit code."""
        self._podman("stop", "--time", "20", name)
        return int(self._podman("inspect", "--format", "{{.State.ExitCode}}", name))

    def remove(self, name: str) -> None:
        """Remove a container, running or not."""
        self._podman("rm", "--force", "--time", "5", name)

    def _own_base(self) -> str:
        """Return the name of a slim Python 3.13 that is made from Debian's packages, once."""
        if BASE in self._do("buildah", "images", "--format", "{{.Name}}:{{.Tag}}"):
            return BASE
        root = self._folder / "root"
        self._do("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root))
        container = self._do("buildah", "from", "scratch").strip()
        self._do("buildah", "add", "--quiet", container, str(root), "/")
        self._do("buildah", "commit", "--quiet", "--rm", "--format", "docker", container, BASE)
        shutil.rmtree(root)
        return BASE

    def _podman(self, *arguments: str, stdin: str | None = None) -> str:
        return self._do("podman", "--runtime", "runc", *arguments, stdin=stdin)

    def _do(self, *command: str, stdin: str | None = None) -> str:
        done = subprocess.run(  # noqa: S603 - our own command lines
            command, env=self._environment, input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-15:]
            raise EngineError(f"{' '.join(command[:4])} failed with exit code {done.returncode}:\n" + "\n".join(said))
        return done.stdout
