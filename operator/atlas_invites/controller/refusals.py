"""What Atlas refused, and is not asked again while all that was asked is the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.outcome import Outcome, Reason

if TYPE_CHECKING:
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Resource

REFUSED_FOR = {Reason.INVALID_REQUEST: math.inf, Reason.FORBIDDEN: 3600.0, Reason.PROJECT_NOT_FOUND: 3600.0}
"""Seconds for which Atlas is not asked again what it refused, unless spec or Secret change, or somebody asks."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of Atlas: by which generation of the spec, which credentials, which request to reconcile."""

    generation: int
    credentials: Credentials
    reconcile_requested_at: str | None

    @classmethod
    def of(cls, resource: Resource, credentials: Credentials) -> Self:
        """Return what an object asks for with these credentials."""
        return cls(resource.generation, credentials, resource.reconcile_requested_at)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Atlas refused, the outcome that it led to, and when that was (monotonic seconds)."""

    request: Request
    outcome: Outcome
    at: float

    def stands(self, request: Request, now: float) -> bool:
        """Tell whether Atlas need not be asked for this: it refused just that, and not too long ago."""
        return request == self.request and now < self.at + REFUSED_FOR[self.outcome.reason]


def refused_before(resource: Resource, known: Status) -> Outcome | None:
    """Return the outcome that status shows, where that is InvalidRequest for all that is asked now."""
    ready = known.condition(READY)
    if ready is None or ready.reason != Reason.INVALID_REQUEST or not resource.is_evaluated_by(known):
        return None
    return Outcome(Reason.INVALID_REQUEST, ready.message, error=known.error)
