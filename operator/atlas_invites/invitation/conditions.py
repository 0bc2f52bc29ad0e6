"""Makes the whole status (conditions, reasons, state) from an outcome or a suspension.

The rules are those of kstatus and of Flux's checker. Ready is always present once an object was reconciled. Reconciling
and Stalled are present only if they are True, and never both. ``lastTransitionTime`` changes only if ``status`` does.
An object that was waiting or retrying when it was suspended has no Ready: kstatus (``checkReadyCondition`` of
sigs.k8s.io/cli-utils) waits for a Ready that is False or Unknown, but not for one that is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from atlas_invites.invitation.model import Condition, Status
from atlas_invites.invitation.outcome import Kind

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.invitation.model import ErrorBody, State
    from atlas_invites.invitation.outcome import Outcome

READY, RECONCILING, STALLED, ACCEPTED, SUSPENDED = "Ready", "Reconciling", "Stalled", "Accepted", "Suspended"

CONDITIONS: dict[Kind, dict[str, str]] = {
    Kind.SETTLED: {READY: "True"},
    Kind.WAITING: {READY: "False", RECONCILING: "True"},
    Kind.RETRYING: {READY: "False", RECONCILING: "True"},
    Kind.STALLED: {READY: "False", STALLED: "True"},
}
"""The conditions of each kind of outcome. All have the reason of the outcome; the others of the three are absent."""

_ACCEPTED_MESSAGES = {
    "Pending": "The invitation has not been accepted yet.",
    "Accepted": "The invitation was accepted.",
    "Expired": "The invitation expired before it was accepted.",
    "Withdrawn": "The invitee declined the invitation, or somebody canceled it in Atlas.",
    "Removed": "The invitation was accepted, but the member has left the project since.",
    "NotInvited": "Atlas has not shown an invitation for this object yet.",
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was evaluated: the generation of the object, the requested reconcile, if any, and the roles in its spec.

    If the spec cannot be read, there are no roles.
    """

    generation: int
    reconcile_requested_at: str | None
    roles: frozenset[str] = frozenset()


def next_status(
    previous: Status, evaluated: Evaluated, outcome: Outcome, now: datetime, *, renew: bool = False
) -> Status:
    """Return the whole status after an outcome. If status already shows the same failure, its message and error stay.

    Args:
        previous: the status that the object has.
        evaluated: what was evaluated.
        outcome: the outcome of the reconcile.
        now: the local time, UTC, for ``lastTransitionTime``.
        renew: show the message and error of this failure, even if status already shows the same failure.
    """
    state = outcome.state or previous.state
    message, error = outcome.message, outcome.error
    if not renew and _same_failure(previous, evaluated, outcome):
        message, error = previous.condition(READY).message, previous.error  # type: ignore[union-attr]
    wanted = {type_: (status, str(outcome.reason), message) for type_, status in CONDITIONS[outcome.kind].items()}
    wanted[ACCEPTED] = _accepted(state)
    return previous.model_copy(
        update={
            "observed_generation": evaluated.generation,
            "conditions": tuple(
                _condition(previous, type_, *wanted[type_], evaluated.generation, now) for type_ in wanted
            ),
            "roles_summary": summary_of(evaluated.roles),
            "state": state,
            "origin": outcome.origin or previous.origin,
            "invitation": previous.invitation
            if outcome.invitation is None
            else outcome.invitation.completed_by(previous.invitation),
            "member": previous.member if outcome.member is None else outcome.member.completed_by(previous.member),
            "error": error,
            "atlas": previous.atlas if outcome.atlas is None else outcome.atlas.completed_by(previous.atlas),
            "last_handled_reconcile_at": evaluated.reconcile_requested_at or previous.last_handled_reconcile_at,
        }
    )


def summary_of(roles: frozenset[str]) -> str | None:
    """Return ``status.rolesSummary`` for the roles in a spec, or None if there are none."""
    return ",".join(sorted(roles)) or None


def suspended_status(previous: Status, evaluated: Evaluated, now: datetime) -> Status:
    """Return the status of a suspended object: the previous one, marked as evaluated, with the condition Suspended.

    Nothing is in progress while an object is suspended, so Reconciling is removed together with its Ready. A requested
    reconcile stays unhandled.

    Args:
        previous: the status that the object has.
        evaluated: what was evaluated.
        now: the local time, UTC, for ``lastTransitionTime``.
    """
    generation = evaluated.generation
    removed = {SUSPENDED, RECONCILING} if _is_concluded(previous) else {SUSPENDED, RECONCILING, READY}
    kept = (
        condition.model_copy(update={"observed_generation": generation})
        for condition in previous.conditions
        if condition.type not in removed
    )
    message = "Reconciliation is suspended (spec.suspend is true). The operator does not call Atlas."
    suspended = _condition(previous, SUSPENDED, "True", SUSPENDED, message, generation, now)
    return previous.model_copy(
        update={
            "observed_generation": generation,
            "conditions": (*kept, suspended),
            "roles_summary": summary_of(evaluated.roles),
        }
    )


def _is_concluded(status: Status) -> bool:
    """Return whether status shows an object that is settled or stalled, and so waits for nothing."""
    ready = status.condition(READY)
    return (ready is not None and ready.status == "True") or status.condition(STALLED) is not None


def _accepted(state: State | None) -> tuple[str, str, str]:
    reason = "NotInvited" if state is None or state == "Unknown" else str(state)
    return ("True" if reason == "Accepted" else "False"), reason, _ACCEPTED_MESSAGES[reason]


def _same_failure(previous: Status, evaluated: Evaluated, outcome: Outcome) -> bool:
    """Return whether status already shows this failure for the same generation and requested reconcile.

    The same failure has the same reason, HTTP status and errorCode. An outage without an HTTP response has many
    messages (reset, timed out, refused), which count as one failure.
    """
    ready, kind = previous.condition(READY), outcome.kind
    return (
        kind is not Kind.SETTLED
        and ready is not None
        and ready.reason == outcome.reason
        and previous.observed_generation == evaluated.generation
        and evaluated.reconcile_requested_at in {None, previous.last_handled_reconcile_at}
        and _response_key(previous.error) == _response_key(outcome.error)
        and (outcome.error is not None or kind is Kind.RETRYING)
    )


def _response_key(error: ErrorBody | None) -> tuple[int, str] | None:
    return None if error is None else (error.error, error.error_code)


def _condition(  # noqa: PLR0913, PLR0917 - the fields of a condition
    previous: Status, type_: str, status: str, reason: str, message: str, generation: int, now: datetime
) -> Condition:
    known = previous.condition(type_)
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=known.last_transition_time
        if known is not None and known.status == status
        else now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
