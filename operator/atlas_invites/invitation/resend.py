"""A requested resend: Table R of docs/behavior.md, as data. The first row that matches wins.

A user sets the annotation ``atlasinvites.io/resend-requested-at`` to a new value. The operator then removes the earlier
invitation or member from status, so that Table A sends an invitation, under the guard (``invitation.guard``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.conditions import READY, next_status
from atlas_invites.invitation.outcome import Kind, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.conditions import Evaluated
    from atlas_invites.invitation.model import Status

_RESENDING = "A resend was requested. The operator is sending a new invitation; no action is needed."

MAY_HAVE_SENT = {*(reason for reason in Reason if reason.kind is Kind.RETRYING), Reason.LEGACY_INVITATION}
"""The reasons of an object for which a send may be under way."""


class Step(Enum):
    """What the operator does about a requested resend."""

    NOTHING = auto()
    """Nothing was ever sent or found for the object, so the object sends as a new one does."""
    REFUSE = auto()
    CANCEL_FIRST = auto()
    """Cancel the pending invitation, then send."""
    SEND = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: if ``when`` holds, the operator does ``step``. ``why`` is the reason of a refusal."""

    condition: str
    when: Callable[[Case], bool]
    step: Step
    why: str | None = None


def _has_history(case: Case) -> bool:
    return case.had_one or case.was_accepted or case.known.state is not None


TABLE_R: tuple[Row, ...] = (
    Row(
        "invitationId given",
        lambda c: c.spec.invitation_id is not None or c.spec.username is None,
        Step.REFUSE,
        "the object has spec.invitationId, and the operator never sends an invitation for such an object",
    ),
    Row("status shows no earlier invitation or member", lambda c: not _has_history(c), Step.NOTHING),
    Row("member", lambda c: c.presence is Presence.MEMBER, Step.REFUSE, "the person is a member of the project"),
    Row(
        "the known member is gone, another person has the e-mail",
        lambda c: c.presence is Presence.ANOTHER_PERSON,
        Step.REFUSE,
        "another person, who is a member of the project, now uses this e-mail address",
    ),
    Row(
        "pending, its e-mail is not the spec's",
        lambda c: c.presence is Presence.PENDING and c.is_for_another_email,
        Step.REFUSE,
        "the invitation belongs to a different e-mail address",
    ),
    Row("pending", lambda c: c.presence is Presence.PENDING, Step.CANCEL_FIRST),
    Row(
        "cannot be seen in users mode",
        lambda c: c.is_legacy,
        Step.REFUSE,
        "the earlier invitation was sent through the Invites API, which has ended, so it can be neither read nor "
        "canceled. Request the resend again once that invitation has expired",
    ),
    Row("otherwise", lambda _: True, Step.SEND),
)


def row_of(case: Case) -> Row:
    """Return the first row of Table R that matches a case."""
    return next(row for row in TABLE_R if row.when(case))


def is_only_sender(case: Case) -> bool:
    """Return whether no send for the object can be under way when a resend is requested.

    If status shows an earlier invitation or member, Table A sends only once that invitation has expired. From then on
    an earlier process may have sent and ended before status showed it, whatever the policy is now. A send may also be
    under way with some reasons on status.
    """
    ready = case.known.condition(READY)
    may_be_under_way = ready is None or ready.reason in MAY_HAVE_SENT
    has_expired = case.is_expired or case.presence is Presence.EXPIRED or case.may_send_now
    return (case.had_one or case.was_accepted) and not has_expired and not may_be_under_way


def handled_status(step: Step, known: Status, evaluated: Evaluated, value: str, now: datetime) -> Status:
    """Return the status that shows a request as handled. It must be stored before anything is sent.

    This is why each value leads to one send at most: a process that reads this status knows that the value was handled,
    and that a send may be unconfirmed. The earlier invitation or member stays on status only if the request is refused.

    Args:
        step: the step of Table R.
        known: the status before.
        evaluated: what is evaluated.
        value: the value of the annotation.
        now: the local time, UTC.
    """
    known = known.model_copy(update={"last_handled_resend_at": value})
    if step is Step.REFUSE:
        return known
    forgotten: dict[str, None] = dict.fromkeys(("state", "origin", "invitation", "member", "error"))
    outcome = Outcome(Reason.CONFIRMING_INVITATION, _RESENDING)
    return next_status(known.model_copy(update=forgotten), evaluated, outcome, now)
