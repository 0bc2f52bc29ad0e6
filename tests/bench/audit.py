"""Read the writes from the API server's audit log: user, object, time and result."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OPERATOR = "system:serviceaccount:atlas-invites:atlas-invites"
_WRITES = frozenset({"create", "update", "patch", "delete"})
_INVITES, _EVENTS = "atlasprojectinvites", "events"
_FAILED = 400


@dataclass(frozen=True, slots=True)
class Write:
    """One write of an object; ``began`` and ``ended`` are the times of request and response (Unix seconds)."""

    user: str
    kind: str
    name: str
    began: float
    ended: float
    code: int

    @property
    def by_operator(self) -> bool:
        """Whether the operator made the write."""
        return self.user == OPERATOR


@dataclass(slots=True)
class Audit:
    """Read a growing audit log incrementally; ``writes`` has the writes since ``forget``."""

    path: Path
    writes: list[Write] = field(default_factory=list)
    _offset: int = 0
    _rest: bytes = b""

    def read(self) -> list[Write]:
        """Read new lines, and return every write since ``forget``."""
        with self.path.open("rb") as log:
            log.seek(self._offset)
            new = log.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        self.writes += [write for line in lines if (write := _write(line)) is not None]
        return self.writes

    def forget(self) -> None:
        """Drop the writes so far."""
        self.read()
        self.writes = []

    def counts(self) -> Counter[str]:
        """Return the operator's writes by kind: ``finalizer``, ``status``, ``event``, and ``stale`` for rejected ones.

        Rejected writes of events count as ``event``: an event that exists already is rejected, and then patched.
        """
        ours = (w for w in self.read() if w.by_operator)
        return Counter("stale" if w.code >= _FAILED and w.kind != "event" else w.kind for w in ours)


def _write(line: bytes) -> Write | None:
    if not any(word in line for word in (b"atlasprojectinvites", b"events.k8s.io")):
        return None
    entry: dict[str, Any] = json.loads(line)
    what: dict[str, Any] = entry.get("objectRef") or {}
    if entry["verb"] not in _WRITES or what.get("resource") not in {_INVITES, _EVENTS}:
        return None
    if what["resource"] == _EVENTS:
        kind = "event"
    elif entry["user"]["username"] == OPERATOR:
        kind = "status" if what.get("subresource") == "status" else "finalizer"
    else:
        kind = str(entry["verb"])
    return Write(
        user=entry["user"]["username"],
        kind=kind,
        name=what.get("name", ""),
        began=_seconds(entry["requestReceivedTimestamp"]),
        ended=_seconds(entry["stageTimestamp"]),
        code=entry.get("responseStatus", {}).get("code", 0),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def last(writes: Iterable[Write], kind: str) -> float:
    """Return the time of the response to the operator's last successful write of a kind."""
    return max(w.ended for w in writes if w.kind == kind and w.by_operator and w.code < _FAILED)
