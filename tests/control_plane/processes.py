"""Processes that end with the one that started them, and the temporary folder that they share."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.control_plane.build import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")


class StartError(Exception):
    """A process of the control plane did not come up: one line that says which, then its log's last lines."""


class PortTakenError(StartError):
    """Another process took a port between our choosing it and our using it."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running process and where it logs to."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise StartError if it has ended."""
        code = self.popen.poll()
        if code is not None:
            kind = PortTakenError if "address already in use" in self.log.read_text(errors="replace") else StartError
            raise kind(f"{self.name} ended with exit code {code}:\n{tail(self.log)}")

    def kill(self) -> None:
        """End it at once, and wait until it has ended."""
        self.popen.kill()
        self.popen.wait()


class ProcessGroup:
    """A temporary folder and processes which all go when ``close`` is called or this Python process is gone.

    Args:
        logs: the folder for the logs of the processes, which stay there; by default the temporary folder.
    """

    def __init__(self, logs: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-invites-"))
        self._logs = logs or self.folder
        self._processes: list[Process] = []
        self._guard = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", str(_GUARD), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # its own, so that Ctrl-C in a terminal is only for us, who then end things in order
        )

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Process:
        """Start a process that logs to ``<name>.log``, with this Python's environment unless one is given."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=self._guard.pid,
                env=environment,
            )
        process = Process(name, popen, log)
        self._processes.append(process)
        return process

    def wait_until(self, ready: Callable[[], bool], process: Process, *needed: Process, seconds: float = 60.0) -> None:
        """Wait until ``ready()``, which is up to ``process``, which needs others.

        Raises:
            StartError: one of the processes ended, or it was not ready after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            for one in (*needed, process):
                one.check()
            if time.monotonic() > deadline:
                raise StartError(f"{process.name} was not ready after {seconds:.0f} s:\n{tail(process.log)}")
            time.sleep(0.05)

    def close(self) -> None:
        """End every process at once, wait until they have ended, and remove the folder."""
        for process in reversed(self._processes):
            process.kill()
        self._guard.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)
