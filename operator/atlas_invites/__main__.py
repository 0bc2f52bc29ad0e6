"""The entry point of ``atlas-invites`` and ``python -m atlas_invites``."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit; see ``command_line``."""
    # These handlers serve until the operator installs its own. As process 1 of a container, Python ignores a signal
    # that has no handler, and nobody sends it again. So this comes before everything that takes time.
    runs = sys.argv[1:2] == ["run"]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(0 if runs else 128 + number))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None: closed before the process started
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")

    from atlas_invites.command_line import main as command_line  # noqa: PLC0415 - takes time
    from atlas_invites.stopping import end  # noqa: PLC0415

    try:
        code = command_line()
    except SystemExit as exited:
        code = int(exited.code or 0)
    end(code)


if __name__ == "__main__":
    main()
