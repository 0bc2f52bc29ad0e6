"""The rules for every status: kstatus, Flux's checker, and the project's own closed tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

REASONS = {
    "Settled": {"Invited", "Accepted", "RolesDiffer"},
    "Waiting": {"SecretNotFound", "SecretInvalid", "SecretNotAllowed", "ProjectNotReady"},
    "Retrying": {"RateLimited", "AtlasUnavailable", "Conflict", "ConfirmingInvitation"},
    "Stalled": {
        "CredentialsRejected",
        "Forbidden",
        "InvalidRequest",
        "ProjectNotFound",
        "InvitationNotFound",
        "IdentityMismatch",
        "InvitationExpired",
        "InvitationWithdrawn",
        "MemberRemoved",
        "DuplicateInvite",
        "LegacyInvitation",
        "WriteRefused",
    },
}
DEPARTURES = {"InvitationExpired", "InvitationWithdrawn", "MemberRemoved"}
CONDITIONS = {
    "Settled": {"Ready": "True"},
    "Waiting": {"Ready": "False", "Reconciling": "True"},
    "Retrying": {"Ready": "False", "Reconciling": "True"},
    "Stalled": {"Ready": "False", "Stalled": "True"},
}
KSTATUS = {"Settled": "Current", "Waiting": "InProgress", "Retrying": "InProgress", "Stalled": "Failed"}
ACCEPTED = {
    None: ("False", "NotInvited"),
    "Unknown": ("False", "NotInvited"),
    "Pending": ("False", "Pending"),
    "Accepted": ("True", "Accepted"),
    "Expired": ("False", "Expired"),
    "Withdrawn": ("False", "Withdrawn"),
    "Removed": ("False", "Removed"),
}
OPERATIONS = {
    *("ListInvites", "CreateInvite", "UpdateInvite", "ReadInvite", "CancelInvite"),
    *("ListUsers", "AddUser", "ReadUser", "RemoveUser", "AddRole", "RemoveRole", "ReadProject", "Token"),
}
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")


def condition(item: Object, type_: str) -> Object | None:
    """Return the condition of that type, or None."""
    found = [c for c in item.get("status", {}).get("conditions", []) if c["type"] == type_]
    return found[0] if found else None


def reason(item: Object) -> str | None:
    """Return Ready's reason, or None."""
    ready = condition(item, "Ready")
    return ready["reason"] if ready else None


def kstatus(item: Object) -> str:
    """Return the kstatus of an object, by its own rules in their order.

    They are those of ``Compute`` in pkg/kstatus/status of sigs.k8s.io/cli-utils (read at commit 5895ad6, October 2025):
    ``checkGenericProperties``, then ``checkReadyCondition``; an object to which none applies is Current.
    """
    status, meta = item.get("status", {}), item["metadata"]
    if meta.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return "InProgress"
    for one in status.get("conditions", []):
        if one["status"] == "True" and one["type"] in {"Reconciling", "Stalled"}:
            return {"Reconciling": "InProgress", "Stalled": "Failed"}[one["type"]]
    ready = condition(item, "Ready")
    return "Current" if ready is None or ready["status"] == "True" else "InProgress"


def check(item: Object, before: Object | None = None) -> None:
    """Check the status of one version of an object.

    Args:
        item: the object.
        before: the version before it, if there is one.

    Raises:
        AssertionError: a rule is broken.
    """
    status, generation = item["status"], item["metadata"]["generation"]
    observed, conditions = status["observedGeneration"], {c["type"]: c for c in status.get("conditions", [])}
    assert len(conditions) == len(status.get("conditions", [])), "a type of condition is there twice"
    assert conditions.keys() <= {"Ready", "Reconciling", "Stalled", "Accepted", "Suspended"}
    for one in conditions.values():
        assert _REASON.fullmatch(one["reason"]), one
        assert one["message"].strip(), one
        assert one["observedGeneration"] <= generation, one
        assert datetime.fromisoformat(one["lastTransitionTime"]) <= datetime.now(UTC), one
    if observed == -1:
        assert not conditions, "nothing was evaluated yet"
        assert kstatus(item) in {"InProgress", "Terminating"}
        return
    assert 1 <= observed <= generation
    assert {one["observedGeneration"] for one in conditions.values()} == {observed}
    suspended = conditions.pop("Suspended", None)
    if suspended is not None:
        assert (suspended["status"], suspended["reason"]) == ("True", "Suspended")
        if observed == generation:
            assert kstatus(item) in {"Current", "Failed", "Terminating"}, "a suspended object is waited for"
    if suspended is None or "Ready" in conditions:
        _check_outcome(item, conditions)
    else:
        assert conditions.keys() <= {"Accepted"}, "it is in progress although it is suspended"
    if before is not None:
        _check_times(item, before)


def _check_outcome(item: Object, conditions: dict[str, Object]) -> None:
    """Check that the conditions are those of exactly one outcome, and that the rest of status matches it."""
    status = item["status"]
    ready, accepted = conditions["Ready"], conditions.pop("Accepted")
    kind = next(kind for kind, reasons in REASONS.items() if ready["reason"] in reasons)
    if ready["reason"] in DEPARTURES and item["spec"].get("departurePolicy") == "Settle":
        kind = "Settled"
    assert {type_: c["status"] for type_, c in conditions.items()} == CONDITIONS[kind], conditions
    assert {(c["reason"], c["message"]) for c in conditions.values()} == {(ready["reason"], ready["message"])}
    assert (accepted["status"], accepted["reason"]) == ACCEPTED[status.get("state")]
    if status["observedGeneration"] == item["metadata"]["generation"]:
        assert kstatus(item) in {KSTATUS[kind], "Terminating"}
    if error := status.get("error"):
        assert kind in {"Retrying", "Stalled"}, "an error stays after a success"
        assert error["operation"] in OPERATIONS
        assert isinstance(error["error"], int)
        assert error["errorCode"]
    if status.get("state") == "Pending":
        assert status["invitation"]["id"]
    if ready["reason"] in {"Accepted", "RolesDiffer"}:
        assert status["member"]["orgMembershipStatus"] == "ACTIVE"


def _check_times(item: Object, before: Object) -> None:
    """Check that a transition time changed only with its condition's status, and that nothing known was lost."""
    for old in before.get("status", {}).get("conditions", []):
        new = condition(item, old["type"])
        if new is not None and new["status"] == old["status"]:
            assert new["lastTransitionTime"] == old["lastTransitionTime"], (old, new)
    assert item["status"]["observedGeneration"] >= before["status"]["observedGeneration"]
    if item["status"].get("lastHandledResendAt") != before["status"].get("lastHandledResendAt"):
        return  # the object was reset
    for kept in ("invitation", "member", "origin"):
        assert kept in item["status"] or kept not in before["status"], f"{kept} was forgotten"
