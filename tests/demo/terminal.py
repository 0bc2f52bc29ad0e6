"""Shows commands as a user types them and their real output, and keeps account of what they should have shown."""

# ruff: noqa: T201 - it is a terminal

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
    """A terminal whose ``kubectl`` is the project's own.

    Attributes:
        environment: the environment of every command.
    """

    def __init__(self) -> None:
        tools = str(Path(sys.executable).parent)
        self.environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        self._failures = 0
        self._colours = sys.stdout.isatty()

    def title(self, text: str) -> None:
        """Begin a part of the demo."""
        print(f"\n{self._colour(1, f'== {text}')}", flush=True)

    def say(self, text: str) -> None:
        """Print a line."""
        print(f"   {text}", flush=True)

    def fail(self, text: str) -> None:
        """Print what did not show what it should."""
        self._failures += 1
        print(self._colour(31, f"!! {text}"), flush=True)

    def check(self, holds: bool, text: str) -> None:  # noqa: FBT001 - reads as it is meant
        """Print a line, as a failure where it does not hold."""
        (self.say if holds else self.fail)(text)

    def run(self, command: str, *, shows: Sequence[str], fails: bool = False) -> None:
        """Show a command and its output; it must exit as told, and print every text of ``shows``."""
        print(self._colour(36, f"$ {command}"), flush=True)
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
                self.fail(f"{text!r} should be there")

    def conclude(self) -> int:
        """Say how it went and return the exit code."""
        self.title("Every step showed what it should" if not self._failures else f"{self._failures} things are wrong")
        return 1 if self._failures else 0

    def _colour(self, code: int, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colours else text


def _like_curl(command: str) -> tuple[int, str]:
    """Send the demo's GET where there is no curl on this machine."""
    *_, accept, url = shlex.split(command)
    name, _, value = accept.partition(": ")
    answer = httpx.get(url, headers={name: value}, auth=httpx.DigestAuth(PUBLIC_KEY, PRIVATE_KEY))
    return 0, answer.text
