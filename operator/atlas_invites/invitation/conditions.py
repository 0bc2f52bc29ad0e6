"""From an outcome, or a suspension, to the whole status: conditions, reasons, state.

The rules are those of kstatus and of Flux's checker: Ready is always there once an object was reconciled, Reconciling
and Stalled only when True and never together, ``lastTransitionTime`` moves only when ``status`` does. An object whose
suspension ended a wait has no Ready: kstatus (``checkReadyCondition`` of sigs.k8s.io/cli-utils) waits for one that is
False or Unknown, and not for one that is absent.
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
"""The conditions of each kind of outcome, all with the outcome's reason; the others of the three are absent."""

_ACCEPTED_MESSAGES = {
    "Pending": "The invitation has not been accepted yet.",
    "Accepted": "The invitation was accepted.",
    "Expired": "The invitation expired before it was accepted.",
    "Withdrawn": "The invitation was declined, or cancelled elsewhere.",
    "Removed": "The invitation was accepted; the member has left the project since.",
    "NotInvited": "Atlas has shown no invitation for this object yet.",
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was evaluated: the object's generation, its request to reconcile, if any, and the roles of its spec.

    An unreadable spec has no roles.
    """

    generation: int
    reconcile_requested_at: str | None
    roles: frozenset[str] = frozenset()


def next_status(
    previous: Status, evaluated: Evaluated, outcome: Outcome, now: datetime, *, renew: bool = False
) -> Status:
    """Return the whole status that an outcome leads to. The failure that status shows already keeps its words there.

    Args:
        previous: the status that the object has.
        evaluated: what was looked at.
        outcome: how the reconcile ended.
        now: the local time, UTC, for ``lastTransitionTime``.
        renew: show the words of this failure, even if it is the one that status shows.
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
    """Return ``status.rolesSummary`` for the roles of a spec, or None if there are none."""
    return ",".join(sorted(roles)) or None


def suspended_status(previous: Status, evaluated: Evaluated, now: datetime) -> Status:
    """Return the status of a suspended object: what it was, evaluated, with the condition Suspended.

    Nothing is in progress while an object is suspended: Reconciling is removed, with the Ready that it went with. A
    request to reconcile stays unhandled.

    Args:
        previous: the status that the object has.
        evaluated: what was looked at.
        now: the local time, UTC, for ``lastTransitionTime``.
    """
    generation = evaluated.generation
    removed = {SUSPENDED, RECONCILING} if _is_concluded(previous) else {SUSPENDED, RECONCILING, READY}
    kept = (
        condition.model_copy(update={"observed_generation": generation})
        for condition in previous.conditions
        if condition.type not in removed
    )
    message = "Reconciliation is suspended (spec.suspend); Atlas is not called."
    suspended = _condition(previous, SUSPENDED, "True", SUSPENDED, message, generation, now)
    return previous.model_copy(
        update={
            "observed_generation": generation,
            "conditions": (*kept, suspended),
            "roles_summary": summary_of(evaluated.roles),
        }
    )


def _is_concluded(status: Status) -> bool:
    """Return whether status shows the end of a reconcile that waits for nothing: settled, or stalled."""
    ready = status.condition(READY)
    return (ready is not None and ready.status == "True") or status.condition(STALLED) is not None


def _accepted(state: State | None) -> tuple[str, str, str]:
    reason = "NotInvited" if state is None or state == "Unknown" else str(state)
    return ("True" if reason == "Accepted" else "False"), reason, _ACCEPTED_MESSAGES[reason]


def _same_failure(previous: Status, evaluated: Evaluated, outcome: Outcome) -> bool:
    """Return whether this failure is the one that status shows for what is asked: reason, HTTP status, errorCode.

    An outage without an HTTP answer has many words (reset, timed out, refused): they are one failure.
    """
    ready, kind = previous.condition(READY), outcome.kind
    return (
        kind is not Kind.SETTLED
        and ready is not None
        and ready.reason == outcome.reason
        and previous.observed_generation == evaluated.generation
        and evaluated.reconcile_requested_at in {None, previous.last_handled_reconcile_at}
        and _answer(previous.error) == _answer(outcome.error)
        and (outcome.error is not None or kind is Kind.RETRYING)
    )


def _answer(error: ErrorBody | None) -> tuple[int, str] | None:
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
