"""Turns the result of a rehearsal for an object into its line of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.invitation.conditions import READY, SUSPENDED
from atlas_invites.invitation.model import Operation
from atlas_invites.invitation.notices import EventType
from atlas_invites.invitation.outcome import Kind, Reason
from atlas_invites.preview.lines import SENDS, Action, Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_invites.invitation.notices import Notice
    from atlas_invites.invitation.resource import Key, Resource
    from atlas_invites.preview.documents import Source
    from atlas_invites.preview.forecast import Forecast, Rehearsal

_DUPLICATE = (
    "{names} are for the same invitation. The object that is created first {does}; the others report DuplicateInvite "
    "and do nothing. Keep only one of them."
)
_NO_END = "The plan for this object is unknown: objects changed while the command read them. Run the command again."
_REFUSED = frozenset({Reason.CREDENTIALS_REJECTED, Reason.FORBIDDEN, Reason.PROJECT_NOT_FOUND})
"""Reasons of failed reads. In a rehearsal, writes always succeed, so only reads fail for these reasons."""

_BEING_DELETED = "The object is being deleted, so the manifest has no effect. Apply it again after the object is gone."


def line_of(rehearsal: Rehearsal, before: Resource, source: Source | None, *, is_pruned: bool) -> Line:
    """Return the line of an object from the result of the rehearsal."""
    forecast = rehearsal.forecasts[before.key]
    after = rehearsal.store.get(before.key) or before
    status, spec = after.status, before.readable_spec
    ready = status.condition(READY)
    username = (spec and spec.username) or (status.invitation and status.invitation.username) or None
    project = (spec and spec.group_id) or (status.invitation and status.invitation.group_id) or None
    line = Line(
        action=_action(forecast, is_settled=ready is not None and ready.status == "True"),
        key=before.key,
        source=source,
        reason=ready.reason if ready else None,
        message=ready.message if ready else "",
        username=username,
        project=project,
        writes=tuple(forecast.writes),
    )
    outcome = forecast.outcome
    if before.deleting or is_pruned:
        return _deletion(line, forecast, rehearsal.notices(before.key), is_pruned=is_pruned)
    if outcome is None and status.condition(SUSPENDED) is not None:
        return replace(line, action=Action.NO_CHANGE, reason=SUSPENDED, message="Reconciliation is suspended.")
    if outcome is None:
        return replace(line, action=Action.NEEDS_ATTENTION, message=_NO_END, failed=True)
    return replace(line, error=outcome.error, failed=_is_unknown(forecast))


def _is_unknown(forecast: Forecast) -> bool:
    """Return whether the reconcile of an object ended before the operator's decision was known."""
    outcome = forecast.outcome
    if outcome is None or forecast.writes:
        return False
    operation = outcome.error.operation if outcome.error else None
    is_refused = outcome.reason in _REFUSED or (operation is not None and operation.is_read)
    return is_refused or outcome.kind in {Kind.WAITING, Kind.RETRYING}


def _action(forecast: Forecast, *, is_settled: bool) -> Action:
    operations = {write.operation for write in forecast.writes}
    if operations & SENDS:
        return Action.SEND
    if operations & {Operation.UPDATE_INVITE, Operation.ADD_ROLE, Operation.REMOVE_ROLE}:
        return Action.SET_ROLES
    if operations:
        return Action.CANCEL
    return Action.NO_CHANGE if is_settled else Action.NEEDS_ATTENTION


def _deletion(line: Line, forecast: Forecast, notices: Sequence[Notice], *, is_pruned: bool) -> Line:
    """Return the line of an object that would be deleted, or is being deleted."""
    if forecast.outcome is not None:
        outcome = forecast.outcome
        message = f"The deletion cannot finish: {outcome.message}"
        return replace(
            line,
            action=Action.NEEDS_ATTENTION,
            reason=outcome.reason,
            message=message,
            error=outcome.error,
            failed=_is_unknown(forecast),
        )
    action, message = Action.NOTHING, "Nothing changes in Atlas."
    if forecast.writes:
        is_member = any(write.is_about_member for write in forecast.writes)
        action = Action.REMOVE_MEMBER if is_member else Action.CANCEL
        message = "The member is removed from the project." if is_member else "The pending invitation is canceled."
    warnings = [f"The operator would warn: {notice.note}" for notice in notices if notice.type == EventType.WARNING]
    message = " ".join([message, *warnings, *([] if is_pruned or line.source is None else [_BEING_DELETED])])
    return replace(line, action=action, reason=None, message=message)


def with_duplicates(lines: Sequence[Line], holders: Mapping[Key, Key]) -> list[Line]:
    """Return the lines. If several new objects are for the same invitation, their lines need attention."""
    groups: dict[Key, list[Line]] = {holder: [] for holder in holders.values()}
    for line in lines:
        if (holder := holders.get(line.key, line.key)) in groups:
            groups[holder].append(line)
    replaced = {line.key: _duplicate(line, group) for group in groups.values() for line in group}
    return [replaced.get(line.key, line) for line in lines]


def _duplicate(line: Line, group: Sequence[Line]) -> Line:
    names = ", ".join(f"{one.key} ({one.source})" for one in group)
    does = {Action.SEND: "sends the invitation", Action.SET_ROLES: "sets the roles"}
    what = next((does[one.action] for one in group if one.action in does), "adopts what is in Atlas")
    message = _DUPLICATE.format(names=names, does=what)
    return replace(line, action=Action.NEEDS_ATTENTION, reason=Reason.DUPLICATE_INVITE, message=message)
