"""Every status that the operator can write: each reason in each state, the API's errors, suspended or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from atlas_invites.invitation.conditions import Evaluated, next_status, suspended_status
from atlas_invites.invitation.model import AtlasInfo, DeparturePolicy, Origin, State, Status
from atlas_invites.invitation.outcome import DEPARTURES, Kind, Outcome, Reason
from tests.unit.builders import NOW, READER, body, error, invitation, member, wire_spec

if TYPE_CHECKING:
    from atlas_invites.invitation.model import ErrorBody

Object = dict[str, Any]

MESSAGE = "A sentence for people."
FROM_BIRTH = "suspended from birth"
IN_PROGRESS = "suspended while in progress"


@dataclass(frozen=True, slots=True)
class Case:
    """An object as the API server stores it, and the kind of outcome that its status shows (None for none).

    ``evaluated``: whether its generation was.
    """

    group: str
    item: Object
    kind: Kind | None
    suspended: bool = False
    evaluated: bool = True


def settled(  # noqa: PLR0913 - the fields of an outcome
    reason: Reason,
    state: State | None,
    message: str = MESSAGE,
    previous: Status | None = None,
    answer: ErrorBody | None = None,
    *,
    departure_policy: DeparturePolicy = DeparturePolicy.STALL,
) -> Status:
    """Return the status of an outcome with this reason, with an error if Atlas returned one."""
    outcome = Outcome(
        reason,
        message,
        state=state,
        origin=Origin.ADOPTED,
        invitation=invitation(),
        member=member() if state in {State.ACCEPTED, State.REMOVED} else None,
        atlas=AtlasInfo(),
        error=answer,
        departure_policy=departure_policy,
    )
    return next_status(previous or Status(), Evaluated(1, None, frozenset({READER})), outcome, NOW)


def cases() -> list[Case]:
    """Return every case."""
    found = [
        Case("new", body(status={"observedGeneration": -1}), None, evaluated=False),
        Case("new", {key: value for key, value in body().items() if key != "status"}, None, evaluated=False),
        Case(FROM_BIRTH, suspended(Status(), generation=1), None, suspended=True),
    ]
    for reason in Reason:
        for state in (None, *State):
            status = settled(reason, state, answer=error() if reason.kind is Kind.STALLED else None)
            found.append(Case(reason, body(status=status.to_wire()), reason.kind))
            # After another outcome nothing of the earlier conditions may remain.
            for before in (Reason.INVITED, Reason.ATLAS_UNAVAILABLE, Reason.INVALID_REQUEST):
                after = settled(reason, state, previous=settled(before, State.PENDING))
                found.append(Case(reason, body(status=after.to_wire()), reason.kind))
            is_concluded = reason.kind in {Kind.SETTLED, Kind.STALLED}
            found.append(
                Case(
                    reason if is_concluded else IN_PROGRESS,
                    suspended(status, generation=2),
                    reason.kind if is_concluded else None,
                    suspended=True,
                )
            )
            found.append(Case(reason, body(status=status.to_wire(), generation=2), reason.kind, evaluated=False))
    for reason in DEPARTURES:
        status = settled(reason, State.REMOVED, departure_policy=DeparturePolicy.SETTLE)
        found.append(Case(reason, body(status=status.to_wire()), Kind.SETTLED))
    return found


def suspended(status: Status, *, generation: int) -> Object:
    """Return a suspended object that had this status before."""
    held = suspended_status(status, Evaluated(generation, None, frozenset({READER})), NOW + timedelta(hours=1))
    return body(status=held.to_wire(), spec=wire_spec(suspend=True), generation=generation)
