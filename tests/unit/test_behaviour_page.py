"""docs/behaviour.md says what the code's tables say, and the other way round."""

from __future__ import annotations

from pathlib import Path

from atlas_invites.invitation import deletion, resend
from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.conditions import CONDITIONS
from atlas_invites.invitation.model import DeletionPolicy
from atlas_invites.invitation.outcome import Kind, Reason
from atlas_invites.invitation.plan import TABLE_A, Action

PAGE = Path(__file__).parents[2] / "docs" / "behaviour.md"

SEEN = {
    "pending": {Presence.PENDING},
    "member": {Presence.MEMBER},
    "nothing": {Presence.NOTHING},
    "expired": {Presence.EXPIRED},
    "rejected": {Presence.REJECTED},
    "another person": {Presence.ANOTHER_PERSON},
    "gone": {Presence.NOTHING, Presence.EXPIRED, Presence.REJECTED},
}
DONE = {"nothing": Action.NOTHING, "the roles are set": Action.SET_ROLES, "sent": Action.SEND}
ENDED = {
    "nothing": None,
    "cancelled": deletion.Removal.CANCEL_INVITATION,
    "removed": deletion.Removal.REMOVE_MEMBER,
}


def table(first_header: str) -> list[list[str]]:
    """Return the rows below the header that begins so, each a list of cells."""
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
    return None if cell == "as it was" else cell.strip("`")


def test_table_a() -> None:
    """Each row of the page is a row of the code, in the same order, with the same words, and none is missing."""
    page = [
        (frozenset(SEEN[seen]), and_, DONE[done], code(reason), code(state))
        for seen, and_, done, reason, state in table("seen in Atlas | and")
    ]
    ours = [
        (row.presences, row.and_, row.action, str(row.report.reason), row.report.state and str(row.report.state))
        for row in TABLE_A
    ]
    assert page == ours


STEPS = {
    "refuses": resend.Step.REFUSE,
    "nothing: the object sends as a new object does": resend.Step.NOTHING,
    "cancels it, then sends": resend.Step.CANCEL_FIRST,
    "sends": resend.Step.SEND,
}


def test_table_r() -> None:
    """Each row of a requested resend is a row of the code, in the same order."""
    page = [(condition, STEPS[step]) for condition, step in table("what is there")]
    assert page == [(row.condition, row.step) for row in resend.TABLE_R]


def test_table_d_untouched() -> None:
    """The rows that leave Atlas alone are the code's, in the same order, with what is warned of."""
    page = table("where")
    assert [(why, warned) for why, _, _, warned in page] == [
        (row.why, "what may be left" if row.warns else "nothing") for row in deletion.RETAIN_ROWS
    ]
    assert {(done, finalizer) for _, done, finalizer, _ in page} == {("nothing", "off")}


def test_table_d_seen() -> None:
    """What is done about what is seen is what the code does."""
    for seen, cancel, revoke in table("seen in Atlas | `Cancel`"):
        presences = set().union(*(SEEN[word] for word in seen.split(", ")))
        for presence in presences:
            for policy, done in ((DeletionPolicy.CANCEL, cancel), (DeletionPolicy.REVOKE, revoke)):
                assert deletion.TABLE_D.get((presence, policy)) is ENDED[done]


def test_outcomes() -> None:
    """Every reason is on the page, under its outcome, with the conditions that the code gives it."""
    page = table("outcome")
    kinds = {}
    for outcome, ready, reconciling, stalled, _ in page:
        kind, _, reasons = outcome.partition(": ")
        kinds[Kind(kind.capitalize())] = {Reason(reason.strip("`")) for reason in reasons.split()}
        shown = {"Ready": ready, "Reconciling": reconciling, "Stalled": stalled}
        assert {name: status for name, status in shown.items() if status} == CONDITIONS[Kind(kind.capitalize())]
    assert kinds == {kind: {reason for reason in Reason if reason.kind is kind} for kind in Kind}
