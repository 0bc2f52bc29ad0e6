"""Show commands as a user types them with their real output, and check the output."""

# ruff: noqa: T201 - it prints to a terminal

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.stack import PRIVATE_KEY, PUBLIC_KEY, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence


class Terminal:
    """A terminal that uses the ``kubectl`` of the project.

    Attributes:
        environment: the environment of every command.
    """

    def __init__(self) -> None:
        tools = str(Path(sys.executable).parent)
        self.environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        self._failures = 0
        self._colors = sys.stdout.isatty()

    def title(self, text: str) -> None:
        """Print the title of a part of the demo."""
        print(f"\n{self._color(1, f'== {text}')}", flush=True)

    def say(self, text: str) -> None:
        """Print a line."""
        print(f"   {text}", flush=True)

    def fail(self, text: str) -> None:
        """Print and count a failure."""
        self._failures += 1
        print(self._color(31, f"!! {text}"), flush=True)

    def check(self, holds: bool, text: str) -> None:  # noqa: FBT001 - reads well at its calls
        """Print a line, as a failure if the condition does not hold."""
        (self.say if holds else self.fail)(text)

    def run(self, command: str, *, shows: Sequence[str], fails: bool = False) -> None:
        """Run a command and show its output; check that it succeeds (or fails), and prints each text of ``shows``."""
        print(self._color(36, f"$ {command}"), flush=True)
        if command.startswith("curl ") and shutil.which("curl", path=self.environment["PATH"]) is None:
            code, output = _like_curl(command)
        else:
            done = subprocess.run(  # noqa: S602 - the demo's own command lines
                command, shell=True, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
            )
            code, output = done.returncode, done.stdout + done.stderr
        print(output.rstrip(), flush=True)
        if (code != 0) != fails:
            self.fail(f"exit code {code}")
        for text in shows:
            if text not in output:
                self.fail(f"the output should contain {text!r}")

    def conclude(self) -> int:
        """Print the result and return the exit code."""
        self.title("Every step had the expected output" if not self._failures else f"{self._failures} checks failed")
        return 1 if self._failures else 0

    def _color(self, code: int, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colors else text


def _like_curl(command: str) -> tuple[int, str]:
    """Send the demo's GET if this machine has no curl."""
    *_, accept, url = shlex.split(command)
    name, _, value = accept.partition(": ")
    response = httpx.get(url, headers={name: value}, auth=httpx.DigestAuth(PUBLIC_KEY, PRIVATE_KEY))
    return 0, response.text
