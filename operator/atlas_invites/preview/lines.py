"""The plan as text and as JSON: a line for each object, and a summary."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from atlas_invites.invitation.model import Operation
from atlas_invites.invitation.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from atlas_invites.invitation.model import ErrorBody
    from atlas_invites.invitation.resource import Key
    from atlas_invites.preview.documents import Source
    from atlas_invites.preview.rehearsal import Write

SENDS = frozenset({Operation.CREATE_INVITE, Operation.ADD_USER})


class Action(StrEnum):
    """What the operator would do for an object."""

    SEND = "send"
    SET_ROLES = "set roles"
    NO_CHANGE = "no change"
    NEEDS_ATTENTION = "needs attention"
    CANCEL = "cancel"
    REMOVE_MEMBER = "remove member"
    NOTHING = "nothing"


_STYLES: dict[Action, tuple[str, int]] = {
    Action.SEND: ("+", 32),
    Action.SET_ROLES: ("~", 33),
    Action.NO_CHANGE: ("=", 0),
    Action.NEEDS_ATTENTION: ("!", 31),
    Action.CANCEL: ("-", 31),
    Action.REMOVE_MEMBER: ("-", 31),
    Action.NOTHING: ("-", 0),
}
"""The sign of each action, and its color on a terminal (ANSI; 0: none)."""

_COUNTED: dict[Action, str] = {
    Action.SEND: "to send",
    Action.SET_ROLES: "to set roles",
    Action.NO_CHANGE: "without change",
    Action.NEEDS_ATTENTION: "needing attention",
    Action.CANCEL: "to cancel",
    Action.REMOVE_MEMBER: "to remove as a member",
    Action.NOTHING: "to delete without effect in Atlas",
}


@dataclass(frozen=True, slots=True)
class Line:
    """What the operator would do for one object.

    Attributes:
        action: the action.
        key: the object.
        source: where its manifest is; None for an object that is only in the cluster.
        reason: the reason of its condition Ready, or ``Suspended``; None if the object is gone.
        message: the explanation.
        username: the e-mail of the invitee, if it is known.
        project: the id of the Atlas project, if it is known.
        writes: the writes to Atlas.
        error: the full error of Atlas, if it returned one.
        failed: whether the action is unknown, because something could not be read.
    """

    action: Action
    key: Key
    source: Source | None
    reason: str | None
    message: str
    username: str | None = None
    project: str | None = None
    writes: Sequence[Write] = field(default=())
    error: ErrorBody | None = None
    failed: bool = False

    @property
    def emails(self) -> int:
        """How many e-mails Atlas would send."""
        return sum(write.operation in SENDS for write in self.writes)

    @property
    def added(self) -> list[str]:
        """The roles that the invitee or member gets in addition."""
        return sorted({role for write in self._role_changes for role in write.roles - write.before})

    @property
    def removed(self) -> list[str]:
        """The roles that the invitee or member loses."""
        return sorted({role for write in self._role_changes for role in write.before - write.roles})

    @property
    def _role_changes(self) -> Iterable[Write]:
        changes = {Operation.UPDATE_INVITE, Operation.ADD_ROLE, Operation.REMOVE_ROLE}
        return (write for write in self.writes if write.operation in changes)

    def text(self, width: int, *, color: bool) -> str:
        """Return this as one line, with the name of the object padded to ``width``."""
        sign, code = _STYLES[self.action]
        head = f"{sign} {self.action:15}"
        head = f"\033[{code}m{head}\033[0m" if color and code else head
        said = "".join(filter(str.isprintable, " ".join(self._said().split())))  # Atlas may have sent anything
        return f"{head} {self.key!s:{width}} {said}".rstrip()

    def _said(self) -> str:
        match self.action:
            case Action.SEND:
                roles = sorted({role for write in self.writes if write.operation in SENDS for role in write.roles})
                first = any(write.operation not in SENDS for write in self.writes)
                canceled = " (the pending invitation is canceled first)" if first else ""
                return f"{self.username}: {', '.join(roles)}{canceled}"
            case Action.SET_ROLES:
                changes = [*(f"+{role}" for role in self.added), *(f"-{role}" for role in self.removed)]
                return f"{self.username or ''} {' '.join(changes)} ({self.reason})"
            case Action.NO_CHANGE if self.reason in {Reason.INVITED, Reason.ACCEPTED}:
                return f"{self.reason}"
            case Action.NO_CHANGE | Action.NEEDS_ATTENTION:
                response = f" {json.dumps(self.error.to_wire(), ensure_ascii=False)}" if self.error else ""
                return f"{self.reason}: {self.message}{response}"
            case _:
                return self.message

    def json(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        return {
            "namespace": self.key.namespace,
            "name": self.key.name,
            "source": None if self.source is None else self.source._asdict(),
            "action": self.action,
            "reason": self.reason,
            "message": self.message,
            "project": self.project,
            "username": self.username,
            "rolesAdded": self.added,
            "rolesRemoved": self.removed,
            "emails": self.emails,
            "atlasWrites": [write.operation for write in self.writes],
            "error": None if self.error is None else self.error.to_wire(),
            "failed": self.failed,
        }


def as_text(lines: Sequence[Line], *, color: bool, compared: Sequence[str] = ()) -> str:
    """Return a plan as text: the lines, and a summary with the namespaces that were compared for pruning."""
    width = max((len(str(line.key)) for line in lines), default=0)
    shown = "".join(f"{line.text(width, color=color)}\n" for line in lines)
    names = f"namespace{'s' if len(compared) > 1 else ''} {', '.join(compared)}"
    return f"{shown}{_summary(lines)}{f' Compared for pruning: {names}.' if compared else ''}\n"


def as_json(lines: Sequence[Line], *, compared: Sequence[str] = ()) -> str:
    """Return a plan as one JSON document."""
    counts = Counter(line.action for line in lines)
    summary: dict[str, Any] = {
        "objects": len(lines),
        "failed": _failed(lines),
        "emails": sum(line.emails for line in lines),
    }
    summary |= {"comparedNamespaces": list(compared)}
    plan = {
        "objects": [line.json() for line in lines],
        "summary": summary | {"actions": {action: counts[action] for action in Action}},
    }
    return json.dumps(plan, indent=2, ensure_ascii=False) + "\n"


def _summary(lines: Sequence[Line]) -> str:
    if not lines:
        return "No AtlasProjectInvite found: nothing would change."
    counts, emails = Counter(line.action for line in lines), sum(line.emails for line in lines)
    parts = ", ".join(f"{counts[action]} {words}" for action, words in _COUNTED.items() if counts[action])
    sent = "Atlas sends no e-mail" if emails == 0 else f"Atlas sends {_of(emails, 'e-mail')}"
    if failed := _failed(lines):
        sent = f"{_of(failed, 'object')} could not be planned; Atlas sends at least {_of(emails, 'e-mail')}"
    return f"{_of(len(lines), 'object')}: {parts}. {sent}."


def _failed(lines: Sequence[Line]) -> int:
    return sum(line.failed for line in lines)


def _of(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
