"""The guard of a send: Table G of docs/architecture.md, as data. The first row that matches wins.

An invitation must never be sent twice. The operator sends only if no earlier send can be pending that Atlas does not
show yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.invitation.conditions import READY, STALLED
from atlas_invites.invitation.model import INVITATION_LIFETIME, Api, AtlasInfo
from atlas_invites.invitation.outcome import Kind, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.invitation.case import Case

CONFIRM_AFTER = 60.0
"""Seconds after which Atlas shows every send that it has carried out."""

_UNDER_WAY = frozenset(reason for reason in Reason if reason.kind is Kind.RETRYING)


class Verdict(Enum):
    """What the guard decides about a send."""

    SEND_NOW = auto()
    WAIT_AND_CONFIRM = auto()
    HOLD_UNTIL_EXPIRY = auto()
    REFUSE = auto()


class SendCase(NamedTuple):
    """Everything that a row may use.

    Attributes:
        is_refused: Atlas has refused this send, and nothing has changed since.
        is_hidden: an earlier send through the Invites API may be pending, and only the Users API is available.
        unconfirmed_for: seconds from the last send that may be pending to the observation; None if none is known.
        is_first: no other process can have sent: this process added the first finalizer, or sent the last invitation.
    """

    is_refused: bool
    is_hidden: bool
    unconfirmed_for: float | None
    is_first: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row: if ``when`` holds, the verdict is ``then``, which keeps these ``laws`` of docs/architecture.md."""

    condition: str
    when: Callable[[SendCase], bool]
    then: Verdict
    laws: tuple[int, ...]


TABLE_G: tuple[Row, ...] = (
    Row("Atlas has refused this send", lambda c: c.is_refused, Verdict.REFUSE, (5,)),
    Row(
        "a send through the ended Invites API may be pending",
        lambda c: c.is_hidden,
        Verdict.HOLD_UNTIL_EXPIRY,
        (1, 3),
    ),
    Row(
        "a send less than a minute before the observation is unconfirmed",
        lambda c: c.unconfirmed_for is not None and c.unconfirmed_for < CONFIRM_AFTER,
        Verdict.WAIT_AND_CONFIRM,
        (1, 3),
    ),
    Row(
        "a send of an earlier process may be unconfirmed",
        lambda c: c.unconfirmed_for is None and not c.is_first,
        Verdict.WAIT_AND_CONFIRM,
        (1, 3),
    ),
    Row("otherwise", lambda _: True, Verdict.SEND_NOW, (6,)),
)


def guard(case: SendCase) -> Verdict:
    """Return the verdict of the first row of Table G that matches."""
    return next(row.then for row in TABLE_G if row.when(case))


def wait_outcome(seconds: float) -> Outcome:
    """Return the outcome of an object that waits so many seconds, then observes Atlas again before it sends."""
    message = (
        "An invitation may already have been sent. The operator checks Atlas again in a minute before it sends one; "
        "no action is needed."
    )
    return Outcome(Reason.CONFIRMING_INVITATION, message, requeue_after=seconds)


def hold_outcome(known: AtlasInfo | None) -> Outcome:
    """Return the outcome of an object that sends nothing until a hidden invitation would have expired.

    Args:
        known: ``status.atlas``.
    """
    message = (
        "An invitation may have been sent through the Invites API. That API has ended, so the operator cannot read the "
        "invitation. The operator sends no other one until that invitation would have expired; no action is needed."
    )
    return Outcome(Reason.LEGACY_INVITATION, message, atlas=_as_of_invites(known))


def recall_hidden_send(case: Case) -> datetime | None:
    """Return when an earlier process may have sent an invitation that the Users API does not show, or None.

    Such a send is possible if status was written while the Invites API was in use, and shows no invitation, no reason
    (a suspension removes it), or a reason with which a send may be under way. Status keeps showing the Invites API
    until the invitation would have expired.
    """
    known = case.known
    if known.atlas is None or known.atlas != _as_of_invites(known.atlas):
        return None
    ready, stalled = known.condition(READY), known.condition(STALLED)
    if ready is not None and ready.reason == Reason.LEGACY_INVITATION and stalled is not None:
        return datetime.fromisoformat(stalled.last_transition_time)
    if not case.had_one or ready is None or ready.reason in _UNDER_WAY:
        return case.now
    return None


def is_hidden(case: Case, sent: datetime | None) -> bool:
    """Return whether an invitation that was sent then may be pending although the Users API does not show it."""
    return case.api is Api.USERS and sent is not None and case.now < sent + INVITATION_LIFETIME


def _as_of_invites(known: AtlasInfo | None) -> AtlasInfo:
    """Return ``status.atlas`` with the Invites API as the one in use. It stays so while an invitation may be hidden."""
    return (known or AtlasInfo()).model_copy(update={"api": Api.INVITES})
