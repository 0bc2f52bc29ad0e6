"""The writes that Atlas refused. Such a write is not repeated while the request and the observation stay the same.

Reads are not affected.
"""

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
"""Seconds for which a refused write is not repeated, unless something changes or a user requests a reconcile."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an object requests: the generation of its spec, the credentials, and the annotations that request."""

    generation: int
    credentials: Credentials
    reconcile_requested_at: str | None
    resend_requested_at: str | None

    @classmethod
    def of(cls, resource: Resource, credentials: Credentials) -> Self:
        """Return what an object requests with these credentials."""
        return cls(resource.generation, credentials, resource.reconcile_requested_at, resource.resend_requested_at)


class Observed(NamedTuple):
    """What was observed when a write was decided.

    ``elsewhere`` are the ids of the users with the e-mail who are in the project through a team or the organization.
    They are read only after a 409, because they may be its cause.
    """

    action: Action
    presence: Presence
    entry_id: str | None
    roles: frozenset[str]
    elsewhere: frozenset[str]

    @classmethod
    def of(cls, decision: Decision, elsewhere: frozenset[str] = frozenset()) -> Self:
        """Return what a decision was based on."""
        case = decision.case
        there = case.member or case.invitation
        return cls(decision.row.action, case.presence, there.id if there else None, case.roles, elsewhere)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that Atlas refused: the request, the observation, the outcome, and the time (monotonic seconds)."""

    request: Request
    observed: Observed
    outcome: Outcome
    at: float

    def stands(self, request: Request, observed: Observed, now: float) -> bool:
        """Return whether the write is not to be repeated: Atlas refused it recently, and nothing has changed since."""
        is_same = (request, observed) == (self.request, self.observed)
        return is_same and now < self.at + REFUSED_FOR[self.outcome.reason]


def is_refused_write(reason: Reason, error: ErrorBody | None) -> bool:
    """Return whether a failure is a write that Atlas refused. The resync tries a refused read again."""
    is_write = error is not None and error.operation is not None and not error.operation.is_read
    return reason in REFUSED_FOR and is_write


def is_conflict(outcome: Outcome) -> bool:
    """Return whether Atlas refused to send because the person has access already."""
    return outcome.error is not None and outcome.error.error == HTTPStatus.CONFLICT


def refused_before(resource: Resource, known: Status) -> Outcome | None:
    """Return the outcome that status shows if it is a refused write for the current request. It survives a restart."""
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
