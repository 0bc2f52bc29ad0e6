"""docs/architecture.md shows the phases of a reconcile and the guard of a send as they are in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas_invites.controller.reconcile import CONVERGE, FINALIZE
from atlas_invites.invitation.guard import TABLE_G

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, each a list of cells."""
    _, _, below = PAGE.partition(f"\n{heading}\n")
    _, _, table = below.partition("| --- |")
    lines = table.split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize(("heading", "phases"), [("a live object", CONVERGE), ("a deleted object", FINALIZE)])
def test_phases(heading: str, phases: tuple[object, ...]) -> None:
    """Each phase has its row, in order."""
    ours = [f"`{phase.__name__}`" for phase in phases]  # type: ignore[attr-defined]
    assert [row[0] for row in rows(f"### The phases of {heading}")] == ours


def test_guard() -> None:
    """Each row of Table G is a row of the page, in order, with its verdict and its laws."""
    ours = [[row.condition, row.then.name.replace("_", " ").lower(), ", ".join(map(str, row.laws))] for row in TABLE_G]
    assert rows("## The guard of a send") == ours
