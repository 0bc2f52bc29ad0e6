"""``python -m tests.control_plane build`` builds the control plane if needed; ``... run`` runs one until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.control_plane.build import BuildError, binaries, say
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import StartError


def main() -> int:
    """Run a command, and return the exit code: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.control_plane", description="A real Kubernetes control plane."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "build", help="build it into the cache, unless it is built already, and print the folder of its binaries"
    )
    commands.add_parser("run", help="run one until Ctrl-C, and print its KUBECONFIG")
    try:
        if parser.parse_args().command == "build":
            sys.stdout.write(f"{binaries()}\n")
        else:
            _run()
    except (BuildError, StartError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # a job in the background may ignore Ctrl-C
        signal.signal(number, signal.default_int_handler)
    with ControlPlane() as control_plane:
        sys.stdout.write(f"export KUBECONFIG={control_plane.kubeconfig}\n")
        sys.stdout.flush()
        say("ready; Ctrl-C stops it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            say("stopping")


if __name__ == "__main__":
    sys.exit(main())
