"""``make bench``: measure calls, writes, seconds and memory against targets, on a real control plane and sandbox.

Atlas calls come from the log of the sandbox. The operator's writes and all times come from the API server's audit log.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.bench.calls import of_one_change
from tests.bench.measures import of_size
from tests.bench.plan import of_plan
from tests.bench.report import Line, as_json, table
from tests.control_plane.build import BuildError, binaries
from tests.control_plane.control_plane import KubectlError
from tests.control_plane.processes import StartError

PROJECTS = 10


def main() -> int:
    """Measure, and return 0 if every target was met, else 1."""
    options = _options()
    sizes, outage = ([1, 100], 10.0) if options.quick else (options.sizes, 60.0)
    lines: list[Line] = []
    try:
        lines += of_one_change()
        lines += of_plan(PROJECTS)
        binaries()
        for size in sizes:
            lines += of_size(size, PROJECTS, outage, _say)
    except (BuildError, StartError, KubectlError, AssertionError) as error:
        _say(str(error))
        return 1
    finally:
        sys.stdout.write(f"{table(lines)}\n")
        if options.json is not None:
            options.json.write_text(json.dumps(as_json(lines), indent=1) + "\n")
    return 0 if all(line.ok for line in lines) else 1


def _say(text: str) -> None:
    sys.stderr.write(f"[bench] {text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 and 100 objects, a short outage: about five minutes")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 1000, 10_000], help="numbers of objects")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
