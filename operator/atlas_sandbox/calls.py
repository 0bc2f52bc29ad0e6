"""The log of calls: the request and the status of its response, never a key, a token or a body."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_sandbox.auth import AuthKind

KEPT = 100_000
"""How many calls are kept as entries. The counts include all calls."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call; `status` is 0 if no response was sent, `fault` names the fault that struck the call."""

    number: int
    time: datetime
    operation: str
    method: str
    path: str
    status: int
    auth: AuthKind
    credential: str
    fault: str


class Calls:
    """The last calls, and counts of all calls."""

    def __init__(self) -> None:
        self.clear()

    def add(self, record: CallRecord) -> None:
        """Record one call."""
        self.total += 1
        self.by_operation[record.operation] += 1
        self.by_status[f"{record.operation} {record.status}"] += 1
        self._ring.append(record)

    def clear(self) -> None:
        """Delete all entries and counts."""
        self.total = 0
        self.by_operation: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self._ring: deque[CallRecord] = deque(maxlen=KEPT)

    def latest(self, limit: int, operation: str = "") -> list[CallRecord]:
        """Return the last calls (of one operation), oldest first."""
        found = [record for record in self._ring if not operation or record.operation == operation]
        return found[-limit:] if limit else []
