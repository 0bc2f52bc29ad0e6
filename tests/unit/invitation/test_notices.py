"""What causes an event: transitions and actions, but never an unchanged state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from atlas_invites.invitation.conditions import Evaluated, next_status
from atlas_invites.invitation.model import Api, AtlasInfo, DeparturePolicy, Origin, State, Status
from atlas_invites.invitation.notices import SUNSET_NEAR, notices, sunset_notice
from atlas_invites.invitation.outcome import Did, Kind, Outcome, Reason
from tests.unit.builders import NOW, invitation, member

SETTLED = Outcome(Reason.INVITED, "said", state=State.PENDING, origin=Origin.ADOPTED, invitation=invitation())
SUNSET = datetime(2027, 7, 1, tzinfo=UTC)


def after(known: Status, outcome: Outcome) -> Status:
    return next_status(known, Evaluated(1, None), outcome, NOW)


def said(known: Status, outcome: Outcome) -> list[tuple[str, str]]:
    return [(str(n.type), str(n.reason)) for n in notices(known, after(known, outcome), outcome)]


def test_adopted_and_sent() -> None:
    """The first invitation of an object either existed or was sent."""
    assert said(Status(), SETTLED) == [("Normal", "InvitationAdopted")]
    sent = Outcome(
        Reason.INVITED, "said", state=State.PENDING, origin=Origin.CREATED, invitation=invitation(), did=Did.SEND
    )
    assert said(Status(), sent) == [("Normal", "InvitationSent")]


def test_a_person_who_joined_at_once_was_not_invited() -> None:
    """A person of the organization becomes a member by the send itself: no invitation, and no e-mail."""
    let_in = Outcome(
        Reason.ACCEPTED, "said", state=State.ACCEPTED, origin=Origin.CREATED, member=member(), did=Did.SEND
    )
    assert said(Status(), let_in) == [("Normal", "Accepted")]
    expired = after(Status(), Outcome(Reason.INVITATION_EXPIRED, "said", state=State.EXPIRED, invitation=invitation()))
    assert said(expired, let_in) == [("Normal", "Accepted")]


def test_what_was_adopted_is_named() -> None:
    """Several may have existed: the event names the one that is managed."""
    (notice,) = notices(Status(), after(Status(), SETTLED), SETTLED)
    assert notice.note == f"Adopted the existing invitation {invitation().id}."


@pytest.mark.parametrize("state", [State.PENDING, State.ACCEPTED])
def test_what_is_taken_over_was_neither_sent_nor_accepted_now(state: State) -> None:
    """An object inherits an invitation from another one: the event says that, and does not repeat earlier events."""
    outcome = Outcome(Reason.CONFIRMING_INVITATION, "said", state=state, origin=Origin.CREATED, invitation=invitation())
    assert said(Status(), outcome) == [("Normal", "InvitationAdopted"), ("Warning", "ConfirmingInvitation")]


@pytest.mark.parametrize("reason", list(Reason))
def test_a_repeat_is_no_event(reason: Reason) -> None:
    """A repeated outcome causes no event."""
    outcome = Outcome(reason, "said")
    assert said(after(Status(), outcome), outcome) == []


@pytest.mark.parametrize("reason", [r for r in Reason if r.kind is not Kind.SETTLED])
def test_a_new_problem_is_a_warning(reason: Reason) -> None:
    """Each new reason to wait, retry or stall is one Warning of that name."""
    assert ("Warning", str(reason)) in said(after(Status(), SETTLED), Outcome(reason, "said"))


@pytest.mark.parametrize(
    ("state", "reason", "event"),
    [
        (State.ACCEPTED, Reason.ACCEPTED, "Accepted"),
        (State.EXPIRED, Reason.INVITATION_EXPIRED, "Expired"),
        (State.WITHDRAWN, Reason.INVITATION_WITHDRAWN, "Withdrawn"),
        (State.REMOVED, Reason.MEMBER_REMOVED, "Removed"),
    ],
)
def test_a_new_state_is_an_event(state: State, reason: Reason, event: str) -> None:
    """A transition of the state is one event of that name: its reason causes no second one."""
    assert said(after(Status(), SETTLED), Outcome(reason, "said", state=state)) == [("Normal", event)]


@pytest.mark.parametrize("reason", list(Reason))
def test_no_text_is_published_twice(reason: Reason) -> None:
    """No two events of a reconcile have the same text, whatever its outcome."""
    known = after(Status(), SETTLED)
    for state in State:
        outcome = Outcome(reason, "said", state=state, invitation=invitation(), member=member(), did=Did.SET_ROLES)
        notes = [notice.note for notice in notices(known, after(known, outcome), outcome)]
        assert len(notes) == len(set(notes))


@pytest.mark.parametrize("policy", DeparturePolicy)
def test_a_departure_is_an_event_under_every_policy(policy: DeparturePolicy) -> None:
    """A departure is reported; a later change of the policy is not."""
    departed = Outcome(Reason.MEMBER_REMOVED, "said", state=State.REMOVED, departure_policy=policy)
    known = after(Status(), SETTLED)
    assert said(known, departed) == [("Normal", "Removed")]
    for other in DeparturePolicy:
        assert said(after(known, departed), replace(departed, departure_policy=other)) == []


def test_a_settled_departure_that_returns_is_no_warning() -> None:
    """After an outage an object is as before: with Settle there is no warning."""
    departed = Outcome(Reason.MEMBER_REMOVED, "said", state=State.REMOVED, departure_policy=DeparturePolicy.SETTLE)
    known = after(after(Status(), departed), Outcome(Reason.ATLAS_UNAVAILABLE, "said"))
    assert said(known, departed) == []


def test_a_reason_that_returns_is_a_warning() -> None:
    """The state is unchanged, and the reason is new again: that is one Warning of that name."""
    expired = Outcome(Reason.INVITATION_EXPIRED, "said", state=State.EXPIRED)
    known = after(after(after(Status(), SETTLED), expired), Outcome(Reason.ATLAS_UNAVAILABLE, "said"))
    assert said(known, expired) == [("Warning", "InvitationExpired")]


def test_roles() -> None:
    """An event lists the roles that are set now; roles that differ cause a warning."""
    known = after(Status(), SETTLED)
    changed = Outcome(Reason.INVITED, "said", state=State.PENDING, invitation=invitation(), did=Did.SET_ROLES)
    (notice,) = notices(known, after(known, changed), changed)
    assert notice.reason == "RolesUpdated"
    assert all(role in notice.note for role in invitation().roles)
    differ = Outcome(Reason.ROLES_DIFFER, "missing: X", state=State.ACCEPTED, member=member())
    (notice,) = notices(known, after(known, differ), differ)
    assert (notice.reason, notice.note) == ("Accepted", "missing: X")
    accepted = after(known, Outcome(Reason.ACCEPTED, "said", state=State.ACCEPTED, member=member()))
    assert said(accepted, differ) == [("Warning", "RolesDiffer")]


@pytest.mark.parametrize(
    ("api", "now", "warned"),
    [
        (Api.INVITES, SUNSET - SUNSET_NEAR - timedelta(seconds=1), False),
        (Api.INVITES, SUNSET - SUNSET_NEAR, True),
        (Api.INVITES, SUNSET + timedelta(days=1), True),
        (Api.USERS, SUNSET, False),
    ],
)
def test_the_sunset(api: Api, now: datetime, *, warned: bool) -> None:
    """The end of the Invites API is announced for 180 days, and only to objects that still use it."""
    status = Status(atlas=AtlasInfo(api=api, sunset="2027-07-01T00:00:00Z"))
    assert (sunset_notice(status, now) is not None) is warned
    assert sunset_notice(Status(atlas=AtlasInfo(api=api)), now) is None
