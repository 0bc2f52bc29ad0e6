"""What an object claims: the e-mails and ids that it names, their projects, and what proves the claim. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.email import email_key, same_email
from atlas_invites.invitation.model import State
from atlas_invites.invitation.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_invites.invitation.model import Spec, Status

_ANY_PROJECT = "?"

_NOT_ITS_OWN = frozenset({Reason.DUPLICATE_INVITE, Reason.IDENTITY_MISMATCH})
"""The reasons of an object whose status may show the invitation of another object or of another person."""


def qualified(group_id: str, name: str) -> str:
    """Return the claim of an e-mail or an id in a project, as text."""
    return f"{group_id}/{email_key(name)}"


def unplaced(name: str) -> str:
    """Return the claim of an e-mail or an id whose project is not known yet, as text."""
    return qualified(_ANY_PROJECT, name)


def claimed(spec: Spec | None, status: Status, *more_groups: str | None) -> frozenset[str]:
    """Return the claims of an object by spec and status, in all its known projects; none if no project is known.

    Args:
        spec: the spec of the object, or None if it cannot be read.
        status: the status of the object.
        more_groups: the ids of further projects that the object is known to refer to.
    """
    groups = {spec.group_id if spec else None, status.invitation.group_id if status.invitation else None, *more_groups}
    return frozenset(qualified(group, name) for group in groups if group for name in named(spec, status))


def named(spec: Spec | None, status: Status) -> set[str]:
    """Return the e-mails and ids that an object names, by spec and status."""
    known: Iterable[str | None] = (status.invitation.username, status.invitation.id) if status.invitation else ()
    asked: Iterable[str | None] = (spec.username, spec.invitation_id) if spec else ()
    return {name for name in (*known, *asked, status.member.id if status.member else None) if name}


def leads_elsewhere(spec: Spec | None, known: Status, group_id: str) -> bool:
    """Return whether ``projectRef`` leads to another project than that of the invitation on status."""
    by_reference = spec is not None and spec.group_id is None
    return by_reference and known.invitation is not None and known.invitation.group_id not in {None, group_id}


def is_proven_by(spec: Spec | None, status: Status) -> bool:
    """Return whether status proves that the credentials of the object have read its project.

    Only then status shows an API in use. A ``projectRef`` may lead to another project by now, so for one only an
    invitation is a proof, because it has the id of its project.
    """
    if spec is not None and spec.group_id is None:
        return status.invitation is not None
    return status.invitation is not None or status.member is not None or status.atlas is not None


DEPARTED = frozenset({State.EXPIRED, State.WITHDRAWN, State.REMOVED})
"""The states after an unaccepted invitation has ended or a member has left. The operator does not invite again."""

_INHERITED = DEPARTED | {State.PENDING, State.ACCEPTED}


def inherits(spec: Spec | None, known: Status, former: Spec | None, had: Status) -> bool:
    """Return whether an object without an invitation or member on status takes over those of another object.

    Args:
        spec: the spec of the object, or None if it cannot be read.
        known: the status of the object.
        former: the spec of the other object, or None if it cannot be read.
        had: the status of the other object.
    """
    if spec is None or known.invitation is not None or known.member is not None:
        return False
    ready = had.condition(READY)
    if had.state not in _INHERITED or (ready is not None and ready.reason in _NOT_ITS_OWN):
        return False
    entries = [entry for entry in (had.invitation, had.member) if entry is not None]
    emails = {former.username if former else None, *(entry.username for entry in entries)}
    by_email = spec.username is None or any(same_email(spec.username, email) for email in emails)
    return by_email and bool(entries) and spec.invitation_id in {None, *(entry.id for entry in entries)}
