"""Processes that end with the process that started them, and their temporary folder."""

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
    """A process of the control plane did not start: one line says which, then come the last lines of its log."""


class PortTakenError(StartError):
    """Another process took a port after it was chosen and before it was used."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running process and its log file."""

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
        """Kill it, and wait until it has ended."""
        self.popen.kill()
        self.popen.wait()


class ProcessGroup:
    """Processes and a temporary folder, which end when ``close`` is called or this Python process ends.

    Args:
        logs: the folder for the logs of the processes, which is not removed; by default the temporary folder.
    """

    def __init__(self, logs: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-invites-"))
        self._logs = logs or self.folder
        self._processes: list[Process] = []
        self._guard = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", str(_GUARD), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # its own, so that Ctrl-C in a terminal reaches only this process, which stops the others
        )

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Process:
        """Start a process that logs to ``<name>.log``, by default with the environment of this process."""
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
        """Wait until ``ready()`` is true; ``process``, and the processes that it needs, must run until then.

        Raises:
            StartError: one of the processes ended, or ``process`` was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            for one in (*needed, process):
                one.check()
            if time.monotonic() > deadline:
                raise StartError(f"{process.name} was not ready after {seconds:.0f} s:\n{tail(process.log)}")
            time.sleep(0.05)

    def close(self) -> None:
        """Kill every process, wait until they have ended, and remove the folder."""
        for process in reversed(self._processes):
            process.kill()
        self._guard.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)
