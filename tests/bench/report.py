"""What was to be reached, what was reached, and the verdict: as a table for people and as JSON for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        objects: how many objects it was measured with.
        what: the work and the unit.
        reach: the most that it may take; None for a number that only informs.
        reached: what it took.
        note: what else there is to know.
    """

    objects: int
    what: str
    reach: float | None
    reached: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was reached."""
        return self.reach is None or self.reached <= self.reach


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a table."""
    rows = [("objects", "work", "to reach", "reached", "verdict", "")]
    for line in lines:
        reach = "" if line.reach is None else _number(line.reach)
        verdict = "" if line.reach is None else "ok" if line.ok else "MISSED"
        rows.append((f"{line.objects:,}", line.what, reach, _number(line.reached), verdict, line.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    numbers = {0, 2, 3}
    return "\n".join(
        "  ".join(
            [(row[i].rjust(w) if i in numbers else row[i].ljust(w)) for i, w in enumerate(widths)] + [row[5]]
        ).rstrip()
        for row in rows
    )


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the lines as JSON."""
    return [asdict(line) | {"ok": line.ok} for line in lines]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
