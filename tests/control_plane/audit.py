"""The API server's audit log. It grows while it is read, so only complete lines count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AuditLog:
    """An audit log in a file, with one request on each line."""

    path: Path

    def mark(self) -> int:
        """Return the position after the last complete line; requests from there on are later."""
        return self.path.read_bytes().rfind(b"\n") + 1

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests in the log since a ``mark``, oldest first."""
        with self.path.open("rb") as file:
            file.seek(since)
            *lines, _ = file.read().split(b"\n")
        return [json.loads(line) for line in lines]
