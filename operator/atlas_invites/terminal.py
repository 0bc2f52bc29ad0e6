"""What the user of a command sees: output, errors, progress, and explanations of Atlas failures."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from atlas_invites.invitation.outcome import Reason
from atlas_invites.stopping import FAILED

if TYPE_CHECKING:
    from atlas_invites.atlas.errors import AtlasFailure

CLOSED_PIPE = 128 + signal.SIGPIPE
MANY_PROJECTS = 5
"""The number of projects from which the commands show progress."""

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
        "Atlas did not find the project",
        "Correct the id of the project, or use credentials of the project's organization.",
    ),
    Reason.INVALID_REQUEST: ("Atlas rejected the request", "Correct the id of the project."),
}
"""By reason: what happened, and what to do. Status has other messages: they are about the operator."""


def explained(failure: AtlasFailure) -> str:
    """Return what happened, what Atlas said, and what to do before the command is run again."""
    happened, advice = _MESSAGES[failure.reason]
    detail = failure.error.detail if failure.error else None
    said = f" Atlas says: {detail.rstrip('.')}." if detail else ""
    return f"{happened} ({failure.operation}: {failure.what}).{said} {advice}"


def print_error(message: str) -> None:
    """Print one line to standard error, with ``?`` for control characters of a manifest or a response.

    Do nothing if standard error is closed or cannot be written.
    """
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"atlas-invites: {line}\n")


def show(text: str) -> None:
    """Print to standard output, or exit if that fails: a reader such as ``head`` has closed it, or the disk is full.

    Raises:
        SystemExit: 141 if the reader has closed it, as for SIGPIPE; else 1, after one line on standard error.
    """
    if not text:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.exit(CLOSED_PIPE)
    except (OSError, AttributeError) as error:  # None: closed before the process started
        why = error.strerror if isinstance(error, OSError) else "it is closed"
        print_error(f"cannot write to standard output: {why}")
        sys.exit(FAILED)


def show_progress(done: int, projects: int) -> None:
    """Show how many projects were read, if there are many: on a terminal in place, elsewhere once at the end."""
    if projects < MANY_PROJECTS:
        return
    with suppress(OSError, AttributeError):
        if sys.stderr.isatty():
            sys.stderr.write(f"\rread {done} of {projects} projects{chr(10) if done == projects else ''}")
            sys.stderr.flush()
        elif done == projects:
            sys.stderr.write(f"atlas-invites: read {projects} projects\n")
