"""Build and run images without Docker and without a registry, with buildah, podman, runc and debootstrap."""

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
make image-test must run as root, and needs {missing}. It builds and runs the image without Docker and without a
container registry. Install its tools:
  apt-get install -y --no-install-recommends buildah podman runc debootstrap
It makes its own base image from Debian's packages. To use an image from a registry instead, name it:
  make image-test PYTHON_IMAGE=docker.example.com/python:3.13-slim
With Docker, `make image` builds the image; this test does not use Docker."""
HARDENED = (
    *("--network", "host", "--no-healthcheck", "--read-only", "--read-only-tmpfs=false"),
    *("--cap-drop=ALL", "--security-opt", "no-new-privileges", "--user", "10001:10001"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)


class EngineError(Exception):
    """A tool is missing, or failed; the text has its name and its output."""


class Engine:
    """A container engine with its own storage, which is kept in the cache.

    Args:
        base: the base image, from a registry; None to make one.

    Raises:
        EngineError: a tool is missing, or the user is not root.
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
        """Remove the leftovers of earlier builds, and the temporary folder."""
        self._podman("image", "prune", "--force")
        shutil.rmtree(self._folder, ignore_errors=True)

    def build(self, image: str) -> None:
        """Build the Dockerfile.

        Raises:
            EngineError: the build failed.
        """
        base = self._base or self._own_base()
        options = ["--isolation", "chroot", "--format", "docker"]
        if not self._base:
            options.append("--pull-never")
        if CERTIFICATES.exists():  # the build trusts the CAs of this machine
            options += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        self._do("buildah", "build", *options, "--build-arg", f"PYTHON_IMAGE={base}", "--tag", image, str(ROOT))

    def inspect(self, image: str) -> dict[str, Any]:
        """Return the metadata of an image."""
        (found,) = json.loads(self._podman("image", "inspect", image))
        return dict(found)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a container with the security settings of the Deployment, and return the output."""
        return self._podman("run", *HARDENED, *arguments, stdin=stdin)

    def pid(self, name: str) -> int:
        """Return the process id of a running container."""
        return int(self._podman("inspect", "--format", "{{.State.Pid}}", name))

    def logs(self, name: str) -> str:
        """Return the log of a container."""
        done = subprocess.run(  # noqa: S603 - our own command line
            ["podman", "logs", name],  # noqa: S607 - from PATH
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
        """Return the name of a slim Python 3.13 image, made once from Debian's packages."""
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
            output = (done.stderr or done.stdout).strip().splitlines()[-15:]
            raise EngineError(f"{' '.join(command[:4])} failed with exit code {done.returncode}:\n" + "\n".join(output))
        return done.stdout
