"""The report of the benchmark: targets, measurements and verdicts, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        objects: the number of objects in this measurement.
        what: the work and the unit.
        reach: the target, which is the largest allowed value; None for a number without a target.
        reached: the measured value.
        note: details.
    """

    objects: int
    what: str
    reach: float | None
    reached: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the target was met."""
        return self.reach is None or self.reached <= self.reach


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a table."""
    rows = [("objects", "work", "target", "measured", "verdict", "")]
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
