"""What a failure of Atlas means to someone who runs a command. Status has its own words, for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.invitation.outcome import Reason

if TYPE_CHECKING:
    from atlas_invites.atlas.errors import AtlasFailure

_LATER = "Run the command again later."
_MESSAGES = {
    Reason.CREDENTIALS_REJECTED: ("Atlas rejected the credentials", "Correct the variables that hold them."),
    Reason.RATE_LIMITED: ("Atlas rate-limited the request", _LATER),
    Reason.ATLAS_UNAVAILABLE: ("Atlas is unavailable", "Check the connection, and run the command again later."),
    Reason.CONFLICT: ("Atlas reported a conflict", _LATER),
    Reason.FORBIDDEN: (
        "The credentials may not read the invitations of the project",
        "Grant them Project Owner, and add the IP address of this machine to their API access list.",
    ),
    Reason.PROJECT_NOT_FOUND: (
        "Atlas found no such project",
        "Correct the id of the project, or use credentials of the project's organization.",
    ),
    Reason.INVALID_REQUEST: ("Atlas rejected the request", "Correct the id of the project."),
}


def explained(failure: AtlasFailure) -> str:
    """Return what happened, what Atlas said, and what to do before the command is run again."""
    happened, advice = _MESSAGES[failure.reason]
    detail = failure.error.detail if failure.error else None
    said = f" Atlas says: {detail.rstrip('.')}." if detail else ""
    return f"{happened} ({failure.operation}: {failure.what}).{said} {advice}"
