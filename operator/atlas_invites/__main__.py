"""The entry of ``atlas-invites`` and ``python -m atlas_invites``."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the command line and return the exit code; see ``command_line``."""
    if sys.argv[1:2] == ["run"]:
        # Until the operator takes them. As the first process of a container Python is not ended by a signal before it
        # has a handler of its own, and nobody sends a second one: so it comes before everything that takes time.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))

    from atlas_invites.command_line import main as command_line  # noqa: PLC0415 - takes time

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
