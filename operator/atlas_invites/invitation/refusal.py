"""The writes that Atlas refused. They are not repeated while all that is asked and seen is the same; looks go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Self

from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.outcome import Outcome, Reason

if TYPE_CHECKING:
    from atlas_invites.invitation.case import Presence
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import ErrorBody, Status
    from atlas_invites.invitation.plan import Action, Decision
    from atlas_invites.invitation.resource import Resource

REFUSED_FOR = {Reason.INVALID_REQUEST: math.inf, Reason.FORBIDDEN: 3600.0, Reason.PROJECT_NOT_FOUND: 3600.0}
"""Seconds for which a refused write is not repeated, unless something changes, or a user requests it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an object asks: by which generation of the spec, which credentials, which requests (annotations)."""

    generation: int
    credentials: Credentials
    reconcile_requested_at: str | None
    resend_requested_at: str | None

    @classmethod
    def of(cls, resource: Resource, credentials: Credentials) -> Self:
        """Return what an object asks for with these credentials."""
        return cls(resource.generation, credentials, resource.reconcile_requested_at, resource.resend_requested_at)


class Observed(NamedTuple):
    """What was seen when a write was decided on.

    ``elsewhere``: ids of those with the e-mail who are in the project through a team or the organization; looked at
    only after a 409, of which they may be the cause.
    """

    action: Action
    presence: Presence
    entry_id: str | None
    roles: frozenset[str]
    elsewhere: frozenset[str]

    @classmethod
    def of(cls, decision: Decision, elsewhere: frozenset[str] = frozenset()) -> Self:
        """Return what a decision was decided on."""
        case = decision.case
        there = case.member or case.invitation
        return cls(decision.row.action, case.presence, there.id if there else None, case.roles, elsewhere)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that Atlas refused: what was asked and seen, the outcome, and when that was (monotonic seconds)."""

    request: Request
    observed: Observed
    outcome: Outcome
    at: float

    def stands(self, request: Request, observed: Observed, now: float) -> bool:
        """Return whether the write need not be tried: nothing has changed since Atlas refused it, not too long ago."""
        is_same = (request, observed) == (self.request, self.observed)
        return is_same and now < self.at + REFUSED_FOR[self.outcome.reason]


def is_refused_write(reason: Reason, error: ErrorBody | None) -> bool:
    """Return whether a failure is one of a write that Atlas refused. A refused read is tried again by the resync."""
    is_write = error is not None and error.operation is not None and not error.operation.is_read
    return reason in REFUSED_FOR and is_write


def is_conflict(outcome: Outcome) -> bool:
    """Return whether Atlas refused to send because the person has access already."""
    return outcome.error is not None and outcome.error.error == HTTPStatus.CONFLICT


def refused_before(resource: Resource, known: Status) -> Outcome | None:
    """Return the outcome that status shows, if it is a refused write of what is asked now. Status outlives memory."""
    ready = known.condition(READY)
    if (
        resource.asks_to_resend(known)
        or ready is None
        or ready.reason not in REFUSED_FOR
        or not resource.is_evaluated_by(known)
    ):
        return None
    reason = Reason(ready.reason)
    return Outcome(reason, ready.message, error=known.error) if is_refused_write(reason, known.error) else None
