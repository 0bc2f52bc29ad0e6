"""Faults on chosen calls: what a test makes go wrong between a client and Atlas.

A fault strikes `before` the call is carried out (nothing happens in Atlas) or `after` it (the call is done, but its
response is lost or wrong), `count` times or for ever. It strikes only authenticated calls: a digest challenge does not
count, unless `challenges` is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from atlas_sandbox.model import email_key

FaultKind = Literal["status", "reset", "close", "timeout", "garbage", "html", "empty", "truncated"]

KINDS: tuple[FaultKind, ...] = ("status", "reset", "close", "timeout", "garbage", "html", "empty", "truncated")

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
GARBAGE = b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n"


class ConnectionFault(Exception):  # noqa: N818 - it is not the sandbox's error
    """The connection breaks as `kind` says; raised to the client if there is no socket to break."""

    def __init__(self, kind: FaultKind, sent: bytes = b"") -> None:
        self.kind = kind
        self.sent = sent
        """The bytes to send before the connection closes."""
        super().__init__(f"the sandbox breaks the connection: {kind}")


@dataclass(slots=True)
class Fault:
    """One fault; empty `operations`, `project`, `username` match all."""

    kind: FaultKind
    operations: frozenset[str] = frozenset()
    project: str = ""
    username: str = ""
    when: Literal["before", "after"] = "before"
    count: int | None = 1
    """How many calls it strikes; None for no limit."""
    skip: int = 0
    """How many calls it skips first."""
    seconds: float | None = None
    """How long a time-out holds the response, in seconds; None: until the client disconnects."""
    status: int | None = None
    """The HTTP status of `status` (500 if not given), `html` (502) and `empty` (200)."""
    error_code: str = "UNEXPECTED_ERROR"
    detail: str = "Unexpected error."
    parameters: list[object] = field(default_factory=list)
    body: str | None = None
    """The body of a `status` fault, sent unchanged; None for Atlas's JSON."""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    challenges: bool = False
    """Whether it also strikes calls that are not authenticated (401)."""
    id: str = ""
    struck: int = 0

    def matches(self, operation: str, project: str, username: str) -> bool:
        """Return whether the fault is for this call."""
        return (
            (not self.operations or operation in self.operations)
            and self.project in {"", project}
            and (not self.username or email_key(self.username) == email_key(username))
        )


class Faults:
    """The ordered faults."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._numbers = count(1)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Add a fault, and give it an id."""
        fault.id = f"fault-{next(self._numbers)}"
        self._faults[fault.id] = fault
        return fault

    def all(self) -> list[Fault]:
        """Return every fault, also those that are used up."""
        return list(self._faults.values())

    def remove(self, fault_id: str) -> bool:
        """Remove a fault, and return whether it existed."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Remove every fault."""
        self._faults.clear()

    def take(self, operation: str, project: str, username: str, *, authenticated: bool) -> Fault | None:
        """Return the first fault that strikes this call, if any, and count the strike."""
        for fault in self._faults.values():
            if (fault.count is not None and fault.struck >= fault.count) or not (authenticated or fault.challenges):
                continue
            if fault.matches(operation, project, username):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.struck += 1
                return fault
        return None
