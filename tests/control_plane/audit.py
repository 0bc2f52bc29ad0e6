"""The API server's audit log, which grows while it is read: only whole lines count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AuditLog:
    """An audit log in a file, one request a line."""

    path: Path

    def mark(self) -> int:
        """Return where the last whole line ends: what comes from here on is later."""
        return self.path.read_bytes().rfind(b"\n") + 1

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests in the log since a ``mark``, oldest first."""
        with self.path.open("rb") as file:
            file.seek(since)
            *lines, _ = file.read().split(b"\n")
        return [json.loads(line) for line in lines]
