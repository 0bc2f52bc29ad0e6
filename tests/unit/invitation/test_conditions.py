"""From an outcome to the status, checked by the rules of kstatus and of Flux, for every outcome after every other."""

# ruff: noqa: ANN401 - fields are whatever an outcome holds

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from atlas_invites.invitation.conditions import Evaluated, next_status, suspended_status
from atlas_invites.invitation.model import (
    AtlasInfo,
    DeparturePolicy,
    ErrorBody,
    Invitation,
    Member,
    Origin,
    State,
    Status,
)
from atlas_invites.invitation.outcome import Kind, Outcome, Reason
from tests.unit.builders import OTHER_EMAIL, OTHER_ID, OWNER, READER, error, invitation, member, status
from tests.unit.invitation.test_outcome import KIND_OF

FIRST = datetime(2026, 8, 11, 12, 0, 0, 999, tzinfo=UTC)
LATER = FIRST + timedelta(hours=1)
FIRST_TEXT, LATER_TEXT = "2026-08-11T12:00:00Z", "2026-08-11T13:00:00Z"

READY_RECONCILING_STALLED = {
    "Settled": {"Ready": "True"},
    "Waiting": {"Ready": "False", "Reconciling": "True"},
    "Retrying": {"Ready": "False", "Reconciling": "True"},
    "Stalled": {"Ready": "False", "Stalled": "True"},
}
ACCEPTED = {
    None: ("False", "NotInvited"),
    State.UNKNOWN: ("False", "NotInvited"),
    State.PENDING: ("False", "Pending"),
    State.ACCEPTED: ("True", "Accepted"),
    State.EXPIRED: ("False", "Expired"),
    State.WITHDRAWN: ("False", "Withdrawn"),
    State.REMOVED: ("False", "Removed"),
}


def after(previous: Status, outcome: Outcome, *, generation: int = 1, asked: str | None = None) -> Status:
    return next_status(previous, Evaluated(generation, asked), outcome, LATER)


def first(reason: Reason, **fields: Any) -> Status:
    """Return the status after a first reconcile with this outcome, an hour ago."""
    return next_status(status(), Evaluated(1, None), Outcome(reason, "first", **fields), FIRST)


def conditions(of: Status) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in of.conditions}


def transitions(of: Status) -> dict[str, str]:
    return {c.type: c.last_transition_time for c in of.conditions}


# The rules of the tools that read status.


def kstatus(of: Status, generation: int) -> str:
    """Return the result of kstatus for a live object, by its order of rules. It does not wait for an absent Ready."""
    flags = {c.type: c.status for c in of.conditions}
    if of.observed_generation != generation or flags.get("Reconciling") == "True":
        return "InProgress"
    if flags.get("Stalled") == "True":
        return "Failed"
    return "Current" if flags.get("Ready", "True") == "True" else "InProgress"


def broken_rules_of_flux(of: Status) -> list[str]:
    """Return what Flux's checker would report."""
    by_type = {c.type: c for c in of.conditions}
    ready = by_type.get("Ready")
    if ready is None:
        return ["Ready is always there"]
    true = {type_ for type_, c in by_type.items() if c.status == "True"}
    rules = {
        "Ready is False while Stalled": "Stalled" not in true or ready.status == "False",
        "never Reconciling and Stalled": not {"Reconciling", "Stalled"} <= true,
        "Ready True is of this generation, as is every other": ready.status != "True"
        or {c.observed_generation for c in of.conditions} == {of.observed_generation},
        "Ready Unknown only while Reconciling": ready.status != "Unknown" or "Reconciling" in true,
        "False is said by absence": {"Reconciling", "Stalled"} & by_type.keys() <= true,
        "each type once": len(by_type) == len(of.conditions),
        "a reason and a message each": all(c.reason and c.message for c in of.conditions),
    }
    return [rule for rule, holds in rules.items() if not holds]


PREVIOUS = {
    "new": status(),
    **{str(reason): first(reason) for reason in Reason},
    "Suspended": suspended_status(first(Reason.INVITED), Evaluated(1, None), FIRST),
    "suspended-in-progress": suspended_status(first(Reason.CONFLICT), Evaluated(1, None), FIRST),
    "suspended-at-birth": suspended_status(status(), Evaluated(1, None), FIRST),
}


@pytest.mark.parametrize("previous", PREVIOUS.values(), ids=PREVIOUS.keys())
def test_every_outcome_after_every_other_reads_well(previous: Status) -> None:
    """Whatever was there, status then shows only the new outcome, and no tool misreads it."""
    for reason, state in product(Reason, [None, *State]):
        then = after(previous, Outcome(reason, "now", state=state), generation=2)
        kind = KIND_OF[reason]
        said = conditions(then)
        assert {t: s for t, (s, _) in said.items() if t != "Accepted"} == READY_RECONCILING_STALLED[kind]
        assert {r for t, (_, r) in said.items() if t != "Accepted"} == {str(reason)}
        assert said["Accepted"] == ACCEPTED[state or previous.state]
        assert broken_rules_of_flux(then) == []
        assert kstatus(then, 2) == {"Settled": "Current", "Stalled": "Failed"}.get(kind, "InProgress")
        assert kstatus(then, 3) == "InProgress"
        assert {c.observed_generation for c in then.conditions} == {then.observed_generation} == {2}


@pytest.mark.parametrize("previous", PREVIOUS.values(), ids=PREVIOUS.keys())
def test_a_transition_time_moves_only_with_its_status(previous: Status) -> None:
    """LastTransitionTime stays if the condition's status stays, and is now if it changes."""
    for reason, state in product(Reason, [None, *State]):
        then = after(previous, Outcome(reason, "now", state=state))
        for condition in then.conditions:
            old = previous.condition(condition.type)
            kept = old is not None and old.status == condition.status
            assert condition.last_transition_time == (FIRST_TEXT if kept else LATER_TEXT)


@pytest.mark.parametrize("reason", Reason)
def test_the_same_outcome_again_changes_nothing(reason: Reason) -> None:
    """The same outcome an hour later is the same status, so nothing is written."""
    failure = error(500, "UNEXPECTED_ERROR") if reason.kind is not Kind.SETTLED else None
    outcome = Outcome(reason, "first", State.PENDING, Origin.ADOPTED, invitation(), member(), AtlasInfo(), failure)
    before = next_status(status(), Evaluated(1, "asked"), outcome, FIRST)
    assert next_status(before, Evaluated(1, "asked"), outcome, LATER) == before
    assert next_status(before, Evaluated(1, None), outcome, LATER) == before


def test_times_are_whole_seconds_in_utc() -> None:
    """LastTransitionTime is RFC 3339 as Kubernetes writes it, in any zone of the clock."""
    elsewhere = FIRST.astimezone(timezone(timedelta(hours=-7)))
    then = next_status(status(), Evaluated(1, None), Outcome(Reason.INVITED, "m"), elsewhere)
    assert set(transitions(then).values()) == {FIRST_TEXT}


# Failures that repeat.

UNAVAILABLE = error(503, "SERVICE_UNAVAILABLE", operation="ListInvites")


@pytest.mark.parametrize(
    ("reason", "old", "new"),
    [
        (
            Reason.ATLAS_UNAVAILABLE,
            UNAVAILABLE,
            error(503, "SERVICE_UNAVAILABLE", operation="ListUsers", detail="other"),
        ),
        (Reason.FORBIDDEN, error(403, "X", parameters=["1"]), error(403, "X", parameters=["2"])),
        (Reason.ATLAS_UNAVAILABLE, None, None),
        (Reason.RATE_LIMITED, None, None),
    ],
    ids=["another-operation", "other-parameters", "no-answer", "held-back"],
)
def test_the_same_failure_writes_nothing_more(reason: Reason, old: ErrorBody | None, new: ErrorBody | None) -> None:
    """Same reason, HTTP status and errorCode: the text of the first failure stays."""
    before = first(reason, error=old)
    assert after(before, Outcome(reason, "in other words", error=new)) == before


@pytest.mark.parametrize(
    ("outcome", "generation"),
    [
        (Outcome(Reason.ATLAS_UNAVAILABLE, "second", error=error(500, "SERVICE_UNAVAILABLE")), 1),
        (Outcome(Reason.ATLAS_UNAVAILABLE, "second", error=error(503, "OTHER")), 1),
        (Outcome(Reason.ATLAS_UNAVAILABLE, "second"), 1),
        (Outcome(Reason.RATE_LIMITED, "second", error=UNAVAILABLE), 1),
        (Outcome(Reason.ATLAS_UNAVAILABLE, "second", error=UNAVAILABLE), 2),
    ],
    ids=["another-http-status", "another-code", "no-answer", "another-reason", "another-generation"],
)
def test_another_failure_is_reported(outcome: Outcome, generation: int) -> None:
    """If reason, HTTP status, errorCode or generation differ, status shows the new failure."""
    then = after(first(Reason.ATLAS_UNAVAILABLE, error=UNAVAILABLE), outcome, generation=generation)
    ready = then.condition("Ready")
    assert ready is not None
    assert (ready.message, ready.reason, then.error) == ("second", outcome.reason, outcome.error)


@pytest.mark.parametrize("reason", [Reason.SECRET_INVALID, Reason.PROJECT_NOT_READY, Reason.INVITATION_NOT_FOUND])
def test_instructions_are_always_current(reason: Reason) -> None:
    """If the cluster or a row of the table gives the message, another text is another thing to do."""
    ready = after(first(reason), Outcome(reason, "the next thing to do")).condition("Ready")
    assert ready is not None
    assert ready.message == "the next thing to do"


@pytest.mark.parametrize("reason", Reason)
def test_error_is_absent_unless_this_outcome_has_one(reason: Reason) -> None:
    """status.error is the error of this reconcile; a success, and a failure without a response, have none."""
    before = first(Reason.FORBIDDEN, error=error(403, "X"))
    assert after(before, Outcome(reason, "now")).error is None
    assert after(before, Outcome(reason, "now", error=UNAVAILABLE)).error == UNAVAILABLE


# What is kept.


@pytest.mark.parametrize("reason", Reason)
def test_an_outcome_without_a_field_keeps_it(reason: Reason) -> None:
    """State, origin, invitation, member, atlas and the handled request stay until something else is known."""
    kept: dict[str, Any] = {
        "state": State.PENDING,
        "origin": Origin.CREATED,
        "invitation": invitation(),
        "member": member(),
        "atlas": AtlasInfo(sunset="2027-07-01"),
    }
    before = next_status(status(), Evaluated(1, "asked"), Outcome(Reason.INVITED, "first", **kept), FIRST)
    then = after(before, Outcome(reason, "now"))
    assert {name: getattr(then, name) for name in kept} == kept
    assert then.last_handled_reconcile_at == "asked"


def test_the_roles_of_the_spec_are_one_text() -> None:
    """A column can show a text but not a list; a spec that cannot be read has none."""
    asked = Evaluated(1, None, frozenset({OWNER, READER}))
    told = next_status(status(), asked, Outcome(Reason.INVITED, "m"), FIRST)
    assert told.roles_summary == "GROUP_OWNER,GROUP_READ_ONLY"
    assert next_status(told, Evaluated(2, None), Outcome(Reason.INVALID_REQUEST, "m"), FIRST).roles_summary is None


@pytest.mark.parametrize(
    ("known", "answer", "then"),
    [
        (member(), member(username=None), member()),
        (member(), member(username=OTHER_EMAIL), member(username=OTHER_EMAIL)),
        (member(), member(id=OTHER_ID, username=None), member(id=OTHER_ID, username=None)),
        (member(username=None), member(), member()),
        (None, member(), member()),
    ],
    ids=["left out", "changed", "of another person", "of an earlier version", "first"],
)
def test_the_email_of_a_member_is_kept(known: Member | None, answer: Member, then: Member) -> None:
    """A response without the e-mail does not remove it: otherwise it would be written again and again."""
    before = first(Reason.ACCEPTED, member=known)
    assert after(before, Outcome(Reason.ACCEPTED, "now", member=answer)).member == then


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.INVITATION_EXPIRED, State.EXPIRED),
        (Reason.INVITATION_WITHDRAWN, State.WITHDRAWN),
        (Reason.ACCEPTED, State.ACCEPTED),
        (Reason.MEMBER_REMOVED, State.REMOVED),
    ],
)
def test_the_invitation_and_the_member_are_kept_after_they_ended(reason: Reason, state: State) -> None:
    """Status still shows the earlier invitation and member."""
    before = first(Reason.INVITED, state=State.PENDING, invitation=invitation(), member=member())
    then = after(before, Outcome(reason, "now", state=state))
    assert (then.invitation, then.member, then.state) == (invitation(), member(), state)


def test_a_sparse_response_completes_what_is_known() -> None:
    """What a PATCH leaves out stays; a new id starts from nothing."""
    before = first(Reason.INVITED, invitation=invitation(), atlas=AtlasInfo(deprecated_since="2023-10-04"))
    sparse = Invitation(id=invitation().id, roles=(OWNER,))
    then = after(before, Outcome(Reason.INVITED, "now", invitation=sparse, atlas=AtlasInfo(sunset="2027-07-01")))
    assert then.invitation == invitation(roles=[OWNER])
    assert then.atlas == AtlasInfo(deprecated_since="2023-10-04", sunset="2027-07-01")
    new = Invitation(id=OTHER_ID)
    assert after(before, Outcome(Reason.INVITED, "now", invitation=new)).invitation == new


def test_the_request_to_reconcile_is_echoed() -> None:
    """LastHandledReconcileAt is the request that existed when this reconcile began."""
    assert after(status(), Outcome(Reason.INVITED, "m"), asked="now").last_handled_reconcile_at == "now"
    assert (
        after(status(last_handled_reconcile_at="old"), Outcome(Reason.INVITED, "m")).last_handled_reconcile_at == "old"
    )


# Suspended.


SUSPENDED = Evaluated(2, None, frozenset({OWNER}))
KEPT = ("state", "origin", "invitation", "member", "error", "atlas", "last_handled_reconcile_at")


@pytest.mark.parametrize("reason", Reason)
def test_suspended_keeps_what_was(reason: Reason) -> None:
    """All that status says about Atlas stays, and so do a Ready that is True and a Stalled; Suspended is added."""
    before = first(reason, state=State.PENDING, invitation=invitation(), error=UNAVAILABLE)
    then = suspended_status(before, SUSPENDED, LATER)
    for field in KEPT:
        assert getattr(then, field) == getattr(before, field)
    said, kind = conditions(then), KIND_OF[reason]
    assert said.pop("Suspended") == ("True", "Suspended")
    kept = {"Accepted"} if kind in {"Waiting", "Retrying"} else conditions(before).keys()
    assert said == {type_: conditions(before)[type_] for type_ in kept}
    assert transitions(then) == dict.fromkeys(kept, FIRST_TEXT) | {"Suspended": LATER_TEXT}
    assert {c.message for c in then.conditions if c.type in kept} == {
        c.message for c in before.conditions if c.type in kept
    }


@pytest.mark.parametrize("previous", [PREVIOUS["new"], *map(first, Reason)], ids=["new", *Reason])
def test_a_suspension_is_evaluated(previous: Status) -> None:
    """No tool waits: every generation is observed, nothing is in progress. A repeat changes nothing."""
    then = suspended_status(previous, SUSPENDED, LATER)
    assert {c.observed_generation for c in then.conditions} == {then.observed_generation} == {2}
    assert kstatus(then, 2) == ("Failed" if previous.condition("Stalled") else "Current")
    assert then.roles_summary == OWNER
    assert broken_rules_of_flux(then) == ([] if then.condition("Ready") else ["Ready is always there"])
    assert suspended_status(then, SUSPENDED, LATER + timedelta(days=1)) == then


def test_a_suspension_handles_no_request() -> None:
    """A request to reconcile that comes during a suspension is handled after it."""
    before = first(Reason.INVITED)
    assert suspended_status(before, Evaluated(2, "asked"), LATER).last_handled_reconcile_at is None


def test_suspended_ends_with_the_next_outcome() -> None:
    """The condition is absent while the object is not suspended, and comes back with a new time."""
    suspended = suspended_status(first(Reason.INVITED), Evaluated(1, None), FIRST)
    then = after(suspended, Outcome(Reason.INVITED, "first"))
    assert then == first(Reason.INVITED)
    assert transitions(suspended_status(then, SUSPENDED, LATER))["Suspended"] == LATER_TEXT


# Departures.


@pytest.mark.parametrize("reason", Reason)
def test_settle_settles_departures_and_nothing_else(reason: Reason) -> None:
    """With Settle, a departure is Ready with its reason; Accepted and state are the same as with Stall."""
    state = {Reason.INVITATION_EXPIRED: State.EXPIRED, Reason.MEMBER_REMOVED: State.REMOVED}.get(reason)
    stall, settle = (
        after(status(), Outcome(reason, "m", state=state, departure_policy=policy)) for policy in DeparturePolicy
    )
    if reason not in {"InvitationExpired", "InvitationWithdrawn", "MemberRemoved"}:
        assert settle == stall
        return
    assert conditions(settle) == {"Ready": ("True", reason), "Accepted": conditions(stall)["Accepted"]}
    assert kstatus(settle, 1) == "Current"
    assert settle.model_copy(update={"conditions": stall.conditions}) == stall
