"""Table A, row by row, and the content of a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from atlas_invites.invitation import plan
from atlas_invites.invitation.case import Presence, case_of
from atlas_invites.invitation.model import Api, DeparturePolicy, Membership, Observation, Origin, State, Status, View
from atlas_invites.invitation.outcome import DEPARTURES, Kind, Outcome, Reason
from atlas_invites.invitation.plan import TABLE_A, Action, Decision, decide, is_conclusive, outcome_of
from tests.unit.builders import (
    CREATED,
    EMAIL,
    EXPIRES,
    INVITATION_ID,
    NOW,
    OTHER_EMAIL,
    OTHER_ID,
    OWNER,
    READER,
    STREAMS,
    USER_ID,
    invitation,
    member,
    ready,
    spec,
    status,
    time_text,
    user,
    users_invitation,
)

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.invitation.model import Spec

NOTHING = Observation()
PENDING = Observation(invitations=(invitation(),))
PENDING_AS_OWNER = Observation(invitations=(invitation(roles=[OWNER]),))
ACTIVE = Observation(users=(user(),))
ACTIVE_AS_OWNER = Observation(users=(user(roles=[OWNER]),))
SUCCESSOR = Observation(users=(user(id=OTHER_ID),))
INVITED_USER = Observation(users=(user(Membership.PENDING),))
INVITED_USER_AS_OWNER = Observation(users=(user(Membership.PENDING, roles=[OWNER]),))
EXPIRED = Observation(users=(user(Membership.EXPIRED),))
REJECTED = Observation(users=(user(Membership.REJECTED),))

NEVER_HAD_ONE = status()
HAD_ONE = status(invitation=invitation(), state=State.PENDING)
HAD_ONE_OF_USERS = status(invitation=users_invitation(), state=State.PENDING)
ACCEPTED = status(invitation=invitation(), member=member(), state=State.ACCEPTED)
DIFFERED = (ready(Reason.ROLES_DIFFER, status="True"),)
KEPT = status(invitation=invitation(roles=[OWNER]), state=State.PENDING, conditions=DIFFERED)
KEPT_MEMBER = ACCEPTED.model_copy(update={"member": member(roles=[OWNER]), "conditions": DIFFERED})
WITHDRAWN = status(invitation=invitation(), state=State.WITHDRAWN)
UNDATED = status(invitation=users_invitation(createdAt=None, expiresAt=None), state=State.PENDING)
EXPIRED_BEFORE = status(invitation=invitation(), state=State.EXPIRED)

AFTERWARDS = EXPIRES + timedelta(seconds=1)


class Scenario(NamedTuple):
    """What the spec asks for, what status and Atlas show, and the decision by Table A."""

    name: str
    known: Status
    seen: Observation
    action: Action
    reason: Reason
    state: State | None
    wanted: Spec = spec()
    now: datetime = NOW
    api: Api = Api.INVITES
    is_repeat: bool = False


BY_ID = spec(username=None, invitationId=INVITATION_ID)
BOTH = spec(invitationId=INVITATION_ID)
BY_ID_ON_EXPIRY = spec(username=None, invitationId=INVITATION_ID, reinvitePolicy="OnExpiry")
BOTH_ON_EXPIRY = spec(invitationId=INVITATION_ID, reinvitePolicy="OnExpiry")
MANAGE = spec(memberPolicy="Manage")
MANAGE_STREAMS = spec(memberPolicy="Manage", roles=[STREAMS])
INVITED = (Action.NOTHING, Reason.INVITED, State.PENDING)
KEEPS = (Action.NOTHING, Reason.ROLES_DIFFER, State.PENDING)
PATCHED = (Action.SET_ROLES, Reason.INVITED, State.PENDING)
MISMATCH = (Action.NOTHING, Reason.IDENTITY_MISMATCH, None)
IS_MEMBER = (Action.NOTHING, Reason.ACCEPTED, State.ACCEPTED)
MEMBER_SET = (Action.SET_ROLES, Reason.ACCEPTED, State.ACCEPTED)
DIFFER = (Action.NOTHING, Reason.ROLES_DIFFER, State.ACCEPTED)
REMOVED = (Action.NOTHING, Reason.MEMBER_REMOVED, State.REMOVED)
SUCCEEDED = (Action.NOTHING, Reason.IDENTITY_MISMATCH, State.REMOVED)
IS_WITHDRAWN = (Action.NOTHING, Reason.INVITATION_WITHDRAWN, State.WITHDRAWN)
IS_EXPIRED = (Action.NOTHING, Reason.INVITATION_EXPIRED, State.EXPIRED)
LEGACY = (Action.NOTHING, Reason.LEGACY_INVITATION, State.PENDING)
NOT_FOUND = (Action.NOTHING, Reason.INVITATION_NOT_FOUND, State.UNKNOWN)
SENT = (Action.SEND, Reason.INVITED, State.PENDING)
ON_EXPIRY = spec(reinvitePolicy="OnExpiry")
TOOK_OVER = status(origin=Origin.ADOPTED)

SCENARIOS = [
    # pending | its e-mail is not the spec's
    Scenario(
        "mismatch-by-id", NEVER_HAD_ONE, Observation(invitations=(invitation(username=OTHER_EMAIL),)), *MISMATCH, BOTH
    ),
    Scenario(
        "mismatch-even-with-equal-roles-known",
        HAD_ONE,
        Observation(invitations=(invitation(username=OTHER_EMAIL),)),
        *MISMATCH,
    ),
    Scenario(
        "mismatch-of-a-user-id",
        NEVER_HAD_ONE,
        Observation(users=(user(Membership.PENDING, username=OTHER_EMAIL),)),
        *MISMATCH,
        spec(invitationId=USER_ID),
        api=Api.USERS,
    ),
    # pending, roles equal
    Scenario("pending-adopted", NEVER_HAD_ONE, PENDING, *INVITED),
    Scenario("pending-known", HAD_ONE, PENDING, *INVITED),
    Scenario("pending-by-id", NEVER_HAD_ONE, PENDING, *INVITED, BY_ID),
    Scenario("pending-both", NEVER_HAD_ONE, PENDING, *INVITED, BOTH),
    Scenario("pending-email-in-capitals", NEVER_HAD_ONE, PENDING, *INVITED, spec(username="Jane@Example.COM")),
    Scenario(
        "pending-atlas-in-capitals",
        NEVER_HAD_ONE,
        Observation(invitations=(invitation(username="JANE@example.com"),)),
        *INVITED,
    ),
    Scenario("pending-of-users", NEVER_HAD_ONE, INVITED_USER, *INVITED, api=Api.USERS),
    Scenario("pending-of-users-seen-in-invites-mode", NEVER_HAD_ONE, INVITED_USER, *INVITED),
    Scenario(
        "pending-of-users-by-its-user-id",
        NEVER_HAD_ONE,
        INVITED_USER,
        *INVITED,
        spec(username=None, invitationId=USER_ID),
        api=Api.USERS,
    ),
    Scenario("pending-again-after-expiry", EXPIRED_BEFORE, PENDING, *INVITED),
    Scenario("pending-again-after-withdrawal", WITHDRAWN, PENDING, *INVITED),
    Scenario("pending-again-after-removal", ACCEPTED, PENDING, *INVITED),
    # pending, roles differ
    Scenario("pending-roles-differ", HAD_ONE, PENDING_AS_OWNER, *PATCHED),
    Scenario("pending-roles-differ-adopted", NEVER_HAD_ONE, PENDING_AS_OWNER, *PATCHED),
    Scenario("pending-roles-differ-by-id", NEVER_HAD_ONE, PENDING_AS_OWNER, *PATCHED, BY_ID),
    Scenario("pending-roles-differ-users", HAD_ONE_OF_USERS, INVITED_USER_AS_OWNER, *PATCHED, api=Api.USERS),
    Scenario(
        "pending-more-roles-than-spec", HAD_ONE, Observation(invitations=(invitation(roles=[READER, OWNER]),)), *PATCHED
    ),
    Scenario("pending-fewer-roles-than-spec", HAD_ONE, PENDING, *PATCHED, spec(roles=[READER, OWNER])),
    # pending, roles differ, and so did Atlas's response
    Scenario("pending-other-roles-kept", KEPT, PENDING_AS_OWNER, *KEEPS, is_repeat=True),
    Scenario("pending-other-roles-asked-again", KEPT, PENDING_AS_OWNER, *PATCHED),
    Scenario("pending-other-roles-changed", KEPT, PENDING, *PATCHED, spec(roles=[STREAMS]), is_repeat=True),
    Scenario("pending-roles-differ-after-another-reason", HAD_ONE, PENDING_AS_OWNER, *PATCHED, is_repeat=True),
    # member, roles equal
    Scenario("member-accepted", HAD_ONE, ACTIVE, *IS_MEMBER),
    Scenario("member-found-at-first", NEVER_HAD_ONE, ACTIVE, *IS_MEMBER),
    Scenario("member-again-after-removal", status(state=State.REMOVED, member=member()), ACTIVE, *IS_MEMBER),
    Scenario("member-after-withdrawal", WITHDRAWN, ACTIVE, *IS_MEMBER),
    Scenario("member-by-id-alone-known-email", HAD_ONE, ACTIVE, *IS_MEMBER, BY_ID),
    Scenario("member-users-mode", HAD_ONE_OF_USERS, ACTIVE, *IS_MEMBER, api=Api.USERS),
    Scenario("member-manage-nothing-to-do", HAD_ONE, ACTIVE, *IS_MEMBER, MANAGE),
    # member, roles differ
    Scenario("member-roles-differ-observe", HAD_ONE, ACTIVE_AS_OWNER, *DIFFER),
    Scenario("member-roles-differ-manage", HAD_ONE, ACTIVE_AS_OWNER, *MEMBER_SET, MANAGE),
    Scenario("member-roles-differ-manage-users", HAD_ONE_OF_USERS, ACTIVE_AS_OWNER, *MEMBER_SET, MANAGE, api=Api.USERS),
    # member, roles differ, Manage, and so did Atlas's response
    Scenario("member-other-roles-kept", KEPT_MEMBER, ACTIVE_AS_OWNER, *DIFFER, MANAGE, is_repeat=True),
    Scenario("member-other-roles-asked-again", KEPT_MEMBER, ACTIVE_AS_OWNER, *MEMBER_SET, MANAGE),
    Scenario("member-other-roles-changed", KEPT_MEMBER, ACTIVE, *MEMBER_SET, MANAGE_STREAMS, is_repeat=True),
    Scenario("member-other-roles-after-a-pending-one", KEPT, ACTIVE_AS_OWNER, *MEMBER_SET, MANAGE, is_repeat=True),
    # another person | the known member is gone
    Scenario("succeeded", ACCEPTED, SUCCESSOR, *SUCCEEDED),
    Scenario("succeeded-manage", ACCEPTED, SUCCESSOR, *SUCCEEDED, MANAGE),
    Scenario("succeeded-by-id", ACCEPTED, SUCCESSOR, *SUCCEEDED, BY_ID),
    # gone | was Accepted
    *(
        Scenario(f"removed-{name}", known, seen, *REMOVED, spec_)
        for name, known, seen, spec_ in [
            ("nothing", ACCEPTED, NOTHING, spec()),
            ("expired", ACCEPTED, EXPIRED, spec()),
            ("rejected", ACCEPTED, REJECTED, spec()),
            ("known-by-state", status(state=State.ACCEPTED), NOTHING, spec()),
            ("stays-removed", status(state=State.REMOVED), NOTHING, spec()),
            ("known-by-member", status(member=member()), NOTHING, spec()),
            ("on-expiry", ACCEPTED, EXPIRED, spec(reinvitePolicy="OnExpiry")),
            ("manage", ACCEPTED, NOTHING, MANAGE),
            ("by-id", ACCEPTED, NOTHING, BY_ID),
        ]
    ),
    Scenario("removed-long-after-expiry", ACCEPTED, NOTHING, *REMOVED, now=AFTERWARDS),
    Scenario("removed-before-legacy", ACCEPTED, NOTHING, *REMOVED, api=Api.USERS),
    # gone | was Withdrawn
    Scenario("withdrawn-stays-nothing", WITHDRAWN, NOTHING, *IS_WITHDRAWN, now=AFTERWARDS),
    Scenario("withdrawn-stays-expired", WITHDRAWN, EXPIRED, *IS_WITHDRAWN, spec(reinvitePolicy="OnExpiry")),
    Scenario("withdrawn-stays-rejected", WITHDRAWN, REJECTED, *IS_WITHDRAWN),
    Scenario("withdrawn-before-legacy", WITHDRAWN, NOTHING, *IS_WITHDRAWN, api=Api.USERS),
    # nothing | had one of the invites API, now in users mode, before expiresAt
    Scenario("legacy-unseen", HAD_ONE, NOTHING, *INVITED, api=Api.USERS),
    Scenario("legacy-roles-differ", HAD_ONE, NOTHING, *LEGACY, spec(roles=[OWNER]), api=Api.USERS),
    Scenario("legacy-a-second-before", HAD_ONE, NOTHING, *INVITED, now=EXPIRES - timedelta(seconds=1), api=Api.USERS),
    Scenario("legacy-is-over", HAD_ONE, NOTHING, *IS_EXPIRED, now=EXPIRES, api=Api.USERS),
    *(
        Scenario(f"legacy-unseen-beside-an-old-{name}-entry", HAD_ONE, seen, *INVITED, wanted, api=Api.USERS)
        for name, seen in [("expired", EXPIRED), ("rejected", REJECTED)]
        for wanted in (spec(), ON_EXPIRY)
    ),
    Scenario("legacy-accepted", HAD_ONE, ACTIVE, *IS_MEMBER, api=Api.USERS),
    Scenario("legacy-never-of-users", HAD_ONE_OF_USERS, NOTHING, *IS_WITHDRAWN, api=Api.USERS),
    # REJECTED, or nothing and now < expiresAt | had one
    Scenario("withdrawn-nothing", HAD_ONE, NOTHING, *IS_WITHDRAWN),
    Scenario("withdrawn-rejected", HAD_ONE_OF_USERS, REJECTED, *IS_WITHDRAWN, api=Api.USERS),
    Scenario("withdrawn-rejected-after-expiry", HAD_ONE, REJECTED, *IS_WITHDRAWN, now=AFTERWARDS),
    Scenario("withdrawn-a-second-before-expiry", HAD_ONE, NOTHING, *IS_WITHDRAWN, now=EXPIRES - timedelta(seconds=1)),
    Scenario("withdrawn-beside-an-old-expired-entry", HAD_ONE, EXPIRED, *IS_WITHDRAWN, ON_EXPIRY),
    Scenario(
        "withdrawn-of-users-beside-another-expired-entry",
        HAD_ONE_OF_USERS,
        Observation(users=(user(Membership.EXPIRED, id=OTHER_ID),)),
        *IS_WITHDRAWN,
        ON_EXPIRY,
        api=Api.USERS,
    ),
    Scenario("withdrawn-by-id", HAD_ONE, NOTHING, *IS_WITHDRAWN, BY_ID),
    # EXPIRED, or nothing and now >= expiresAt | had one
    Scenario("expired-seen-before-its-time", HAD_ONE_OF_USERS, EXPIRED, *IS_EXPIRED, api=Api.USERS),
    Scenario("expired-beside-an-old-expired-entry", HAD_ONE, EXPIRED, *IS_EXPIRED, now=EXPIRES),
    Scenario("expired-to-the-second", HAD_ONE, NOTHING, *IS_EXPIRED, now=EXPIRES),
    Scenario("expired-by-id", HAD_ONE, NOTHING, *IS_EXPIRED, BY_ID, now=AFTERWARDS),
    Scenario("expired-stays", EXPIRED_BEFORE, NOTHING, *IS_EXPIRED, now=AFTERWARDS),
    Scenario("expired-on-expiry-by-id", HAD_ONE, NOTHING, *IS_EXPIRED, BY_ID_ON_EXPIRY, now=AFTERWARDS),
    Scenario("expired-on-expiry-both", HAD_ONE, NOTHING, *IS_EXPIRED, BOTH_ON_EXPIRY, now=AFTERWARDS),
    Scenario("reinvite-at-expiry", HAD_ONE, NOTHING, *SENT, ON_EXPIRY, now=EXPIRES),
    Scenario("reinvite-seen-expired", HAD_ONE_OF_USERS, EXPIRED, *SENT, ON_EXPIRY, now=AFTERWARDS, api=Api.USERS),
    Scenario("reinvite-stays-due", EXPIRED_BEFORE, NOTHING, *SENT, ON_EXPIRY, now=AFTERWARDS),
    Scenario("reinvite-legacy", HAD_ONE, NOTHING, *SENT, ON_EXPIRY, now=EXPIRES, api=Api.USERS),
    Scenario(
        "reinvite-waits-for-a-day",
        HAD_ONE_OF_USERS,
        EXPIRED,
        *IS_EXPIRED,
        ON_EXPIRY,
        now=CREATED + timedelta(hours=24) - timedelta(seconds=1),
        api=Api.USERS,
    ),
    Scenario(
        "reinvite-a-day-after",
        HAD_ONE_OF_USERS,
        EXPIRED,
        *SENT,
        ON_EXPIRY,
        now=CREATED + timedelta(hours=24, seconds=1),
        api=Api.USERS,
    ),
    Scenario("reinvite-never-without-a-date", UNDATED, EXPIRED, *IS_EXPIRED, ON_EXPIRY, now=AFTERWARDS),
    Scenario("reinvite-never-after-withdrawal", HAD_ONE, NOTHING, *IS_WITHDRAWN, ON_EXPIRY),
    Scenario("reinvite-never-after-rejection", HAD_ONE, REJECTED, *IS_WITHDRAWN, ON_EXPIRY, now=AFTERWARDS),
    # gone | never had one
    *(
        Scenario(f"{'sent' if row is SENT else 'not-found'}-{name}-{kind}", known, seen, *row, spec_)
        for kind, known, spec_, row in [
            ("id", NEVER_HAD_ONE, BY_ID, NOT_FOUND),
            ("both", NEVER_HAD_ONE, BOTH, NOT_FOUND),
            ("taken-over", TOOK_OVER, spec(), NOT_FOUND),
            ("email", NEVER_HAD_ONE, spec(), SENT),
            ("email-not-found-before", status(state=State.UNKNOWN), spec(), SENT),
        ]
        for name, seen in [("nothing", NOTHING), ("expired", EXPIRED), ("rejected", REJECTED)]
    ),
]


def decision_of(scenario: Scenario) -> Decision:
    case = case_of(scenario.wanted, scenario.known, scenario.seen, scenario.now, scenario.api)
    return plan.decision_of(replace(case, is_repeat=scenario.is_repeat))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_table_a(scenario: Scenario) -> None:
    """The decision of every row is that of Table A."""
    row = decision_of(scenario).row
    assert (row.action, row.report.reason, row.report.state) == (scenario.action, scenario.reason, scenario.state)


def test_every_row_has_a_scenario() -> None:
    """Every row of the table has a scenario that it decides."""
    assert {decision_of(scenario).row for scenario in SCENARIOS} == set(TABLE_A)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_messages_contain_no_times_and_no_placeholders(scenario: Scenario) -> None:
    """A message is a complete sentence about this invitation, without a time that would change it."""
    message = decision_of(scenario).message
    assert message.endswith(".")
    assert "{" not in message
    assert "None" not in message
    assert "2026" not in message
    assert "  " not in message


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
@pytest.mark.parametrize("never_had_one", [False, True])
@pytest.mark.parametrize("view", list(View))
def test_lists_are_not_enough_to_conclude_gone(scenario: Scenario, view: View, *, never_had_one: bool) -> None:
    """No row about a gone invitation is reached from an unconfirmed view.

    The lists are enough only for a first send.
    """
    decision = decision_of(scenario._replace(seen=scenario.seen.model_copy(update={"view": view})))
    row = decision.row
    says_gone = (
        row.report.reason in SAYS_GONE
        or row.action is Action.SEND
        or not row.presences & {Presence.PENDING, Presence.MEMBER}
    )
    if says_gone and not (view is View.LISTED and never_had_one and row.action is Action.SEND):
        assert is_conclusive(decision, never_had_one=never_had_one) is (view is View.CONFIRMED)


SAYS_GONE = {
    Reason.MEMBER_REMOVED,
    Reason.INVITATION_WITHDRAWN,
    Reason.INVITATION_EXPIRED,
    Reason.INVITATION_NOT_FOUND,
    Reason.LEGACY_INVITATION,
}


# Dates.


@pytest.mark.parametrize(
    ("dates", "now", "reason"),
    [
        ({"expiresAt": None}, EXPIRES - timedelta(seconds=1), Reason.INVITATION_WITHDRAWN),
        ({"expiresAt": None}, EXPIRES, Reason.INVITATION_EXPIRED),
        ({"expiresAt": "soon"}, EXPIRES, Reason.INVITATION_EXPIRED),
        ({"expiresAt": ""}, EXPIRES, Reason.INVITATION_EXPIRED),
        ({"expiresAt": None, "createdAt": None}, EXPIRES + timedelta(days=999), Reason.INVITATION_WITHDRAWN),
        ({"expiresAt": "soon", "createdAt": "now"}, EXPIRES + timedelta(days=999), Reason.INVITATION_WITHDRAWN),
        ({"expiresAt": "2026-08-20T00:00:00"}, CREATED + timedelta(days=12), Reason.INVITATION_EXPIRED),
        ({"expiresAt": "2026-08-12T01:00:00+02:00"}, CREATED + timedelta(days=1, hours=21), Reason.INVITATION_EXPIRED),
    ],
    ids=["30-days", "30-days-over", "unreadable", "empty", "no-dates", "no-readable-dates", "no-zone", "other-zone"],
)
def test_dates(dates: dict[str, Any], now: datetime, reason: Reason) -> None:
    """expiresAt, else createdAt + 30 days; if neither can be read it never expires; no zone means UTC."""
    known = status(invitation=invitation(**dates), state=State.PENDING)
    assert decide(spec(), known, NOTHING, now).row.report.reason is reason


def test_the_expiry_of_a_pending_invitation_does_not_matter() -> None:
    """What Atlas shows as pending is pending, whatever its dates are."""
    seen = Observation(invitations=(invitation(expiresAt=time_text(CREATED)),))
    assert decide(spec(), HAD_ONE, seen, AFTERWARDS).row.report.reason is Reason.INVITED


# Messages and the other fields of a decision.


def test_roles_differ_lists_the_difference() -> None:
    """RolesDiffer lists the missing and the surplus roles, in order."""
    decision = decide(spec(roles=[READER, STREAMS]), HAD_ONE, ACTIVE_AS_OWNER, NOW)
    assert f"(missing: {READER}, {STREAMS}; not in spec: {OWNER})" in decision.message


def test_legacy_names_the_roles() -> None:
    """LegacyInvitation names the roles that cannot be changed."""
    decision = decide(spec(roles=[OWNER]), HAD_ONE, NOTHING, NOW, Api.USERS)
    assert f"(missing: {OWNER}; not in spec: {READER})" in decision.message


def test_how_a_message_names_the_invitee_of_an_object_by_id() -> None:
    """By the e-mail that its invitation showed, else by its id."""
    assert EMAIL in decide(BY_ID, HAD_ONE, NOTHING, NOW).message
    assert INVITATION_ID in decide(BY_ID, NEVER_HAD_ONE, NOTHING, NOW).message


def test_identity_mismatch_names_the_id_and_not_the_other_person() -> None:
    """The other person's e-mail is not shown to readers of this object."""
    seen = Observation(invitations=(invitation(username=OTHER_EMAIL),))
    for spec_, known in [(BOTH, NEVER_HAD_ONE), (spec(), HAD_ONE)]:
        message = decide(spec_, known, seen, NOW).message
        assert INVITATION_ID in message
        assert OTHER_EMAIL not in message


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_settle_changes_only_the_kind_and_the_text_of_departures(scenario: Scenario) -> None:
    """The departure policy changes no decision. With Settle a departure is settled, and asks for no action."""
    settle = scenario.wanted.model_copy(update={"departure_policy": DeparturePolicy.SETTLE})
    stalled, settled = decision_of(scenario), decision_of(scenario._replace(wanted=settle))
    assert settled.row == stalled.row
    is_departure = stalled.row.report.reason in DEPARTURES
    assert ("No action is needed" in settled.message) is is_departure
    assert "No action is needed" not in stalled.message
    assert (settled.message == stalled.message) is not is_departure
    assert outcome_of(settled).kind is (Kind.SETTLED if is_departure else outcome_of(stalled).kind)


# The outcome of a decision.


def outcome(
    seen: Observation, known: Status = NEVER_HAD_ONE, wanted: Spec | None = None, now: datetime = NOW
) -> Outcome:
    return outcome_of(decide(wanted or spec(), known, seen, now))


def test_an_outcome_contains_the_row_and_what_was_observed() -> None:
    """Reason, state and message come from the row, the invitation from Atlas."""
    decision = decide(spec(), NEVER_HAD_ONE, PENDING, NOW)
    assert outcome_of(decision) == Outcome(
        Reason.INVITED, decision.message, state=State.PENDING, origin=Origin.ADOPTED, invitation=invitation()
    )


def test_a_new_id_is_adopted() -> None:
    """An id other than the last known one, under the same e-mail, is adopted; the known one keeps its origin."""
    assert outcome(Observation(invitations=(invitation(id=OTHER_ID),)), HAD_ONE).origin is Origin.ADOPTED
    assert outcome(PENDING, HAD_ONE).origin is None


def test_another_persons_invitation_is_never_shown() -> None:
    """IdentityMismatch leaves status.invitation unchanged."""
    mismatch = outcome(Observation(invitations=(invitation(username=OTHER_EMAIL),)), NEVER_HAD_ONE, BOTH)
    assert (mismatch.reason, mismatch.invitation, mismatch.origin) == (Reason.IDENTITY_MISMATCH, None, None)


def test_a_member_is_shown_without_other_personal_data() -> None:
    """status.member is id, username, roles and orgMembershipStatus, and no more."""
    member_ = outcome(Observation(users=(user(firstName="Jane"),))).member
    assert member_ is not None
    assert member_.to_wire() == {
        "id": USER_ID,
        "username": EMAIL,
        "roles": [READER],
        "orgMembershipStatus": "ACTIVE",
    }


def test_what_is_gone_is_not_shown_again() -> None:
    """If nothing exists, the outcome leaves invitation and member unchanged."""
    for known in (HAD_ONE, ACCEPTED, WITHDRAWN):
        gone = outcome(NOTHING, known)
        assert (gone.invitation, gone.member, gone.origin) == (None, None, None)


def test_an_invitation_that_waits_for_a_day_is_requeued_then() -> None:
    """Expired within a day of its send, with OnExpiry: the object is requeued when the day is over."""
    waiting = outcome(EXPIRED, HAD_ONE_OF_USERS, ON_EXPIRY, CREATED + timedelta(hours=1))
    assert waiting.requeue_after == timedelta(hours=23).total_seconds()
    assert outcome(EXPIRED, HAD_ONE_OF_USERS, spec(), CREATED + timedelta(hours=1)).requeue_after is None
    assert outcome(EXPIRED, UNDATED, ON_EXPIRY).requeue_after is None
