"""Table G, row by row and for every combination: a send goes only if no earlier one can be pending unseen."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from atlas_invites.invitation.case import case_of
from atlas_invites.invitation.conditions import READY, STALLED
from atlas_invites.invitation.guard import (
    CONFIRM_AFTER,
    TABLE_G,
    SendCase,
    Verdict,
    guard,
    hold_outcome,
    is_hidden,
    recall_hidden_send,
    wait_outcome,
)
from atlas_invites.invitation.model import INVITATION_LIFETIME, Api, AtlasInfo, Condition, Observation, Status
from atlas_invites.invitation.outcome import Reason
from tests.unit.builders import NOW, invitation, spec

ELAPSED = [None, 0.0, CONFIRM_AFTER - 0.001, CONFIRM_AFTER, 3600.0]
CASES = [SendCase(*case) for case in product([True, False], [True, False], ELAPSED, [True, False])]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_combination(case: SendCase) -> None:
    """What Atlas rejected is rejected; what may be hidden is held; what may be under way is confirmed; else it goes."""
    is_recent = case.unconfirmed_for is not None and case.unconfirmed_for < CONFIRM_AFTER
    if case.is_refused:
        expected = Verdict.REFUSE
    elif case.is_hidden:
        expected = Verdict.HOLD_UNTIL_EXPIRY
    elif is_recent or (case.unconfirmed_for is None and not case.is_first):
        expected = Verdict.WAIT_AND_CONFIRM
    else:
        expected = Verdict.SEND_NOW
    assert guard(case) is expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_send_goes_while_another_may_be_pending(case: SendCase) -> None:
    """Laws 1 and 3, for any rows: a send needs a whole minute, or certainty that nothing was sent."""
    if guard(case) is Verdict.SEND_NOW:
        assert not case.is_hidden
        assert case.is_first if case.unconfirmed_for is None else case.unconfirmed_for >= CONFIRM_AFTER


def test_every_row_is_the_first_for_some_case() -> None:
    """No row is hidden behind others, each keeps a law, and the last one matches every case."""
    assert {next(row.condition for row in TABLE_G if row.when(case)) for case in CASES} == {
        row.condition for row in TABLE_G
    }
    assert all(row.laws for row in TABLE_G)
    assert all(TABLE_G[-1].when(case) for case in CASES)


def test_the_message_of_a_send_that_waits() -> None:
    """It says why and when it is requeued. A held send shows the Invites API until nothing can be hidden."""
    assert (wait_outcome(59.0).reason, wait_outcome(59.0).requeue_after) == (Reason.CONFIRMING_INVITATION, 59.0)
    held = hold_outcome(AtlasInfo(api=Api.USERS, sunset="2027-07-01T00:00:00Z"))
    assert held.reason is Reason.LEGACY_INVITATION
    assert held.atlas == AtlasInfo(api=Api.INVITES, sunset="2027-07-01T00:00:00Z")


@pytest.mark.parametrize(
    ("api", "age", "hidden"),
    [
        (Api.USERS, timedelta(), True),
        (Api.USERS, INVITATION_LIFETIME - timedelta(seconds=1), True),
        (Api.USERS, INVITATION_LIFETIME, False),
        (Api.USERS, None, False),
        (Api.INVITES, timedelta(), False),
    ],
)
def test_what_the_users_api_does_not_show(api: Api, age: timedelta | None, hidden: bool) -> None:  # noqa: FBT001
    """An invitation of the Invites API is hidden there for its whole lifetime."""
    case = case_of(spec(), Status(), Observation(), NOW, api)
    assert is_hidden(case, None if age is None else NOW - age) is hidden


def status(reason: str | None = None, **fields: object) -> Status:
    conditions = [(READY, reason), (STALLED, reason)] if reason else []
    return Status(
        conditions=tuple(
            Condition(
                type=type_,
                status="True",
                reason=reason_ or "",
                message="m",
                observed_generation=1,
                last_transition_time="2026-01-01T00:00:00Z",
            )
            for type_, reason_ in conditions
        ),
        **fields,
    )


INVITES, USERS = AtlasInfo(api=Api.INVITES), AtlasInfo(api=Api.USERS)


@pytest.mark.parametrize(
    ("known", "recalled"),
    [
        (status(), None),
        (status(atlas=USERS), None),
        (status("Invited", atlas=USERS), None),
        (status("SecretNotFound", atlas=INVITES), NOW),
        (status("ConfirmingInvitation", atlas=INVITES, invitation=invitation()), NOW),
        (status("Invited", atlas=INVITES, invitation=invitation()), None),
        (status(atlas=INVITES, invitation=invitation()), NOW),
        (
            status("LegacyInvitation", atlas=INVITES),
            NOW.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0),
        ),
    ],
)
def test_what_status_shows_of_an_earlier_process(known: Status, recalled: object) -> None:
    """It was written while the Invites API was in use, and shows no invitation, or that a send may follow."""
    assert recall_hidden_send(case_of(spec(), known, Observation(), NOW, Api.USERS)) == recalled
