"""``python -m tests.workflows``: lint the workflows of GitHub with actionlint, from the Go module in this folder.

``go tool`` builds actionlint at first use (about a minute), and keeps it in Go's build cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.control_plane.build import GO_SETTINGS, tool
from tests.stack import ROOT

MODULE = Path(__file__).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def main() -> int:
    """Run actionlint, which prints what is wrong, and return its exit code."""
    tools = ["-shellcheck=", "-pyflakes="]  # tools that happen to be installed must not change the result
    command = [tool("go"), "-C", str(MODULE), "tool", "actionlint", *tools, *map(str, WORKFLOWS)]
    return subprocess.run(command, env=os.environ | GO_SETTINGS, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
