"""docs/behavior.md and the code's tables agree."""

from __future__ import annotations

from pathlib import Path

from atlas_invites.invitation import deletion, resend
from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.conditions import CONDITIONS
from atlas_invites.invitation.model import DeletionPolicy
from atlas_invites.invitation.outcome import Kind, Reason
from atlas_invites.invitation.plan import TABLE_A, Action

PAGE = Path(__file__).parents[2] / "docs" / "behavior.md"

OBSERVED = {
    "pending": {Presence.PENDING},
    "member": {Presence.MEMBER},
    "nothing": {Presence.NOTHING},
    "expired": {Presence.EXPIRED},
    "rejected": {Presence.REJECTED},
    "another person": {Presence.ANOTHER_PERSON},
    "gone": {Presence.NOTHING, Presence.EXPIRED, Presence.REJECTED},
}
ACTIONS = {"none": Action.NOTHING, "set the roles": Action.SET_ROLES, "send": Action.SEND}
REMOVALS = {
    "none": None,
    "cancel the invitation": deletion.Removal.CANCEL_INVITATION,
    "remove the member": deletion.Removal.REMOVE_MEMBER,
}


def table(first_header: str) -> list[list[str]]:
    """Return the rows below the header that begins with ``first_header``, each as a list of cells."""
    lines = PAGE.read_text().split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.split("|")[1:-1]])
    assert rows
    return rows


def code(cell: str) -> str | None:
    return None if cell == "unchanged" else cell.strip("`")


def test_table_a() -> None:
    """The page has the rows of the code, in the same order and with the same words."""
    page = [
        (frozenset(OBSERVED[observed]), and_, ACTIONS[action], code(reason), code(state))
        for observed, and_, action, reason, state in table("observed in Atlas | and")
    ]
    rows = [
        (row.presences, row.and_, row.action, str(row.report.reason), row.report.state and str(row.report.state))
        for row in TABLE_A
    ]
    assert page == rows


STEPS = {
    "refuses": resend.Step.REFUSE,
    "nothing: the object sends as a new object does": resend.Step.NOTHING,
    "cancels it, then sends": resend.Step.CANCEL_FIRST,
    "sends": resend.Step.SEND,
}


def test_table_r() -> None:
    """The page has the rows of the code for a requested resend, in the same order."""
    page = [(condition, STEPS[step]) for condition, step in table("condition | what the operator does")]
    assert page == [(row.condition, row.step) for row in resend.TABLE_R]


def test_table_d_retain() -> None:
    """The page has the rows that do not change Atlas, in the order of the code, with what the operator warns of."""
    page = table("condition | action in Atlas")
    assert [(why, warned) for why, _, _, warned in page] == [
        (row.why, "what may be left" if row.warns else "nothing") for row in deletion.RETAIN_ROWS
    ]
    assert {(action, finalizer) for _, action, finalizer, _ in page} == {("none", "removed")}


def test_table_d_removals() -> None:
    """The page says for each policy what the code removes."""
    for observed, cancel, revoke in table("observed in Atlas | `Cancel`"):
        presences = set().union(*(OBSERVED[word] for word in observed.split(", ")))
        for presence in presences:
            for policy, removal in ((DeletionPolicy.CANCEL, cancel), (DeletionPolicy.REVOKE, revoke)):
                assert deletion.TABLE_D.get((presence, policy)) is REMOVALS[removal]


def test_outcomes() -> None:
    """The page has every reason under its outcome, with the conditions of the code."""
    page = table("outcome")
    kinds = {}
    for outcome, ready, reconciling, stalled, _ in page:
        kind, _, reasons = outcome.partition(": ")
        kinds[Kind(kind.capitalize())] = {Reason(reason.strip("`")) for reason in reasons.split()}
        shown = {"Ready": ready, "Reconciling": reconciling, "Stalled": stalled}
        assert {name: status for name, status in shown.items() if status} == CONDITIONS[Kind(kind.capitalize())]
    assert kinds == {kind: {reason for reason in Reason if reason.kind is kind} for kind in Kind}
