"""Read the documentation for the tests, and run its commands as a reader does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.control_plane.build import tool
from tests.stack import ROOT

if TYPE_CHECKING:
    from tests.control_plane.control_plane import ControlPlane

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "deploy" / "chart" / "README.md"])


def page(name: str) -> str:
    """Return the text of a page of docs/."""
    return (DOCS / f"{name}.md").read_text()


def blocks(text: str, language: str, after: str = "") -> list[str]:
    """Return the code blocks of a language, or only those that follow a line ``after``."""
    return re.findall(rf"^{re.escape(after)}\n?```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str, test: str) -> list[str]:
    """Return the blocks of a page's text that are marked as run by a test."""
    return blocks(text, "sh", f"<!-- run by {Path(test).relative_to(ROOT)} -->")


def section(text: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of its level."""
    level = heading.split(" ", maxsplit=1)[0]
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^{level} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def headings(text: str, level: int) -> list[str]:
    """Return the headings of a level."""
    return re.findall(rf"^{'#' * level} (.+)$", text, re.MULTILINE)


def first_cells(text: str) -> list[str]:
    """Return the code in the first cell of every row of every table."""
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", text, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]


def run(cluster: ControlPlane, block: str, folder: Path = ROOT, seconds: float = 90) -> str:
    """Run a block of commands as a reader does, for so many seconds at most, and return the output.

    Raises:
        AssertionError: a command failed.
    """
    tools = str(Path(tool("kubectl")).parent)
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig),
        "KUBECACHEDIR": str(cluster.folder / "kubectl-cache"),
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    done = subprocess.run(  # noqa: S603 - our own documentation
        ["/bin/bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout
