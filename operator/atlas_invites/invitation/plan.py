"""What to do about one invitation: Table A of docs/behavior.md, as data. The first row that matches wins.

``decide`` is pure. Its input is the spec, the status, the observation of Atlas, and the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.invitation.case import Case, Presence, case_of
from atlas_invites.invitation.model import (
    Api,
    DeparturePolicy,
    Invitation,
    Member,
    MemberPolicy,
    Membership,
    Observation,
    Origin,
    Spec,
    State,
    Status,
    User,
    View,
)
from atlas_invites.invitation.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Action(Enum):
    """What a row does in Atlas."""

    NOTHING = auto()
    SET_ROLES = auto()
    """Set the roles of the pending invitation or of the member to the roles in spec."""
    SEND = auto()
    """Send an invitation to the e-mail in spec, if the guard (``invitation.guard``) allows it."""


class Report(NamedTuple):
    """What a row reports on status: the reason of the conditions, the state (None: unchanged), and the message."""

    reason: Reason
    state: State | None
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: if one of ``presences`` is observed and ``when`` holds, do ``action``, then ``report``.

    ``and_`` is what ``when`` asks, in the words of docs/behavior.md.
    """

    presences: frozenset[Presence]
    and_: str
    when: Callable[[Case], bool]
    action: Action
    report: Report


@dataclass(frozen=True, slots=True)
class Decision:
    """The row that matched, and the case that it matched."""

    row: Row
    case: Case

    @property
    def message(self) -> str:
        """What happened to which invitation or member, and what to do next. It has no times and no counts."""
        case = self.case
        known = case.invitation or case.known.invitation
        return self.row.report.message.format(
            who=case.spec.username or (known.username if known else None) or f"invitation {case.spec.invitation_id}",
            id=case.spec.invitation_id or (known.id if known else None),
            again=_RESEND if case.spec.invitation_id is None else _RECREATE_BY_EMAIL,
            settled=_SETTLED if case.spec.departure_policy is DeparturePolicy.SETTLE else "",
            roles=_difference(case.roles, case.spec.roles),
            asked=", ".join(sorted(case.spec.roles)),
            shown=", ".join(sorted(case.roles)) or "none that can be read",
        )


def _anything(_: Case) -> bool:
    return True


def _presences(*presences: Presence) -> frozenset[Presence]:
    return frozenset(presences)


_PENDING, _MEMBER = _presences(Presence.PENDING), _presences(Presence.MEMBER)
_ANOTHER_PERSON = _presences(Presence.ANOTHER_PERSON)
_GONE = _presences(Presence.NOTHING, Presence.EXPIRED, Presence.REJECTED)
_NOTHING, _EXPIRED, _REJECTED = (
    _presences(Presence.NOTHING),
    _presences(Presence.EXPIRED),
    _presences(Presence.REJECTED),
)

_RESEND = "set the annotation atlasinvites.io/resend-requested-at to a new value"
_RECREATE_BY_EMAIL = "create an object that has spec.username and no spec.invitationId"
_SETTLED = "No action is needed (spec.departurePolicy is Settle). "
_OF_INVITES_API = "The invitation of {who} was sent through the Invites API, which has ended, so "

_INVITED = Report(Reason.INVITED, State.PENDING, "The invitation of {who} is pending.")
_ACCEPTED = Report(
    Reason.ACCEPTED, State.ACCEPTED, "{who} accepted and is a member of the project with the roles in spec."
)
_MISMATCH = Report(
    Reason.IDENTITY_MISMATCH,
    None,
    "Invitation {id} belongs to a different e-mail address than {who}, so the operator does not change it. "
    "Recreate this object with an invitationId and a username that match.",
)
_MEMBER_REPLACED = Report(
    Reason.IDENTITY_MISMATCH,
    State.REMOVED,
    "The member of this object (status.member.id) has left the project. Another person now uses {who}, and the "
    "operator does not manage that person. To manage that person's access, delete and recreate this object.",
)
_ROLES_DIFFER = Report(
    Reason.ROLES_DIFFER,
    State.ACCEPTED,
    "{who} accepted, but the member's roles differ from spec.roles ({roles}). The operator does not change them "
    "because spec.memberPolicy is Observe. To apply spec.roles, set spec.memberPolicy to Manage.",
)
_OTHER_ROLES = (
    "Atlas did not set the roles of {who} as requested. Requested: {asked}. Atlas shows: {shown}. Correct spec.roles. "
    "The operator sends the request again when the spec or the roles in Atlas change, or when the annotation "
    "atlasinvites.io/reconcile-requested-at gets a new value."
)
_PENDING_WITH_OTHER_ROLES = Report(Reason.ROLES_DIFFER, State.PENDING, _OTHER_ROLES)
_MEMBER_WITH_OTHER_ROLES = Report(Reason.ROLES_DIFFER, State.ACCEPTED, _OTHER_ROLES)
_REMOVED = Report(
    Reason.MEMBER_REMOVED,
    State.REMOVED,
    "{who} accepted and is no longer a member of the project. The operator does not invite a former member again. "
    "{settled}To invite again, {again}.",
)
_WITHDRAWN = Report(
    Reason.INVITATION_WITHDRAWN,
    State.WITHDRAWN,
    "The invitation of {who} no longer exists although it has not expired: the invitee declined it, or somebody "
    "canceled it in Atlas. The operator does not send it again. {settled}To invite again, {again}.",
)
_INVITED_UNSEEN = Report(
    Reason.INVITED, State.PENDING, f"{_OF_INVITES_API}it can no longer be read. It counts as pending until it expires."
)
_LEGACY = Report(
    Reason.LEGACY_INVITATION,
    State.PENDING,
    f"{_OF_INVITES_API}its roles ({{roles}}) cannot be changed until it is accepted or expires. Undo the change of "
    "spec.roles, or wait.",
)
_ENDED = Report(
    Reason.INVITATION_EXPIRED, State.EXPIRED, "The invitation of {who} expired. {settled}To invite again, {again}."
)
_UNKNOWN_ID = Report(
    Reason.INVITATION_NOT_FOUND,
    State.UNKNOWN,
    "Atlas has no invitation {id} in this project. Look up the id (atlas projects invitations list), "
    "and recreate this object with it.",
)
_TOOK_OVER = Report(
    Reason.INVITATION_NOT_FOUND,
    State.UNKNOWN,
    "Atlas no longer has an invitation of {who} in this project. This object took it over from another object, so the "
    "operator does not send a new one. To invite again, {again}.",
)

TABLE_A: tuple[Row, ...] = (
    Row(_PENDING, "its e-mail is not the spec's", lambda c: c.is_for_another_email, Action.NOTHING, _MISMATCH),
    Row(_PENDING, "roles equal", lambda c: c.roles_equal, Action.NOTHING, _INVITED),
    Row(
        _PENDING,
        "roles differ, and so did Atlas's response",
        lambda c: c.are_other_roles_kept,
        Action.NOTHING,
        _PENDING_WITH_OTHER_ROLES,
    ),
    Row(_PENDING, "roles differ", _anything, Action.SET_ROLES, _INVITED),
    Row(_MEMBER, "roles equal", lambda c: c.roles_equal, Action.NOTHING, _ACCEPTED),
    Row(
        _MEMBER,
        "roles differ, Observe",
        lambda c: c.spec.member_policy is MemberPolicy.OBSERVE,
        Action.NOTHING,
        _ROLES_DIFFER,
    ),
    Row(
        _MEMBER,
        "roles differ, Manage, and so did Atlas's response",
        lambda c: c.are_other_roles_kept,
        Action.NOTHING,
        _MEMBER_WITH_OTHER_ROLES,
    ),
    Row(_MEMBER, "roles differ, Manage", _anything, Action.SET_ROLES, _ACCEPTED),
    Row(_ANOTHER_PERSON, "the known member is gone", _anything, Action.NOTHING, _MEMBER_REPLACED),
    Row(_GONE, "was accepted", lambda c: c.was_accepted, Action.NOTHING, _REMOVED),
    Row(_GONE, "was withdrawn", lambda c: c.known.state is State.WITHDRAWN, Action.NOTHING, _WITHDRAWN),
    Row(
        _NOTHING,
        "cannot be seen in users mode, roles equal",
        lambda c: c.is_legacy and c.roles_equal,
        Action.NOTHING,
        _INVITED_UNSEEN,
    ),
    Row(_NOTHING, "cannot be seen in users mode, roles differ", lambda c: c.is_legacy, Action.NOTHING, _LEGACY),
    Row(_REJECTED, "had one", lambda c: c.had_one, Action.NOTHING, _WITHDRAWN),
    Row(_EXPIRED, "had one, OnExpiry, sent over a day ago", lambda c: c.may_send_now, Action.SEND, _INVITED),
    Row(_EXPIRED, "had one", lambda c: c.had_one, Action.NOTHING, _ENDED),
    Row(_NOTHING, "had one, before its end", lambda c: c.had_one and not c.is_expired, Action.NOTHING, _WITHDRAWN),
    Row(_NOTHING, "had one, OnExpiry, sent over a day ago", lambda c: c.may_send_now, Action.SEND, _INVITED),
    Row(_NOTHING, "had one", lambda c: c.had_one, Action.NOTHING, _ENDED),
    Row(_GONE, "invitationId given", lambda c: c.spec.invitation_id is not None, Action.NOTHING, _UNKNOWN_ID),
    Row(_GONE, "took over from another object", lambda c: c.took_over, Action.NOTHING, _TOOK_OVER),
    Row(_GONE, "never had one", _anything, Action.SEND, _INVITED),
)


def decide(spec: Spec, known: Status, seen: Observation, now: datetime, api: Api = Api.INVITES) -> Decision:
    """Return the first row of Table A that matches what was observed. For the arguments see ``case_of``."""
    return decision_of(case_of(spec, known, seen, now, api))


def decision_of(case: Case) -> Decision:
    """Return the first row of Table A that matches a case."""
    return Decision(next(row for row in TABLE_A if case.presence in row.presences and row.when(case)), case)


def set_roles(case: Case) -> Decision:
    """Return the row that sets the roles of a pending invitation, without a check of the other rows."""
    return Decision(next(row for row in TABLE_A if row.presences == _PENDING and row.action is Action.SET_ROLES), case)


def is_conclusive(decision: Decision, *, never_had_one: bool) -> bool:
    """Return whether the observation is enough for the decision. That something is gone must be confirmed.

    Args:
        decision: the decision.
        never_had_one: no process can have sent an invitation for the object. Then the lists are enough to send, but
            not for any other decision.
    """
    if not decision.case.is_gone:
        return True
    is_first = never_had_one and decision.row.action is Action.SEND
    return decision.case.view >= (View.LISTED if is_first else View.CONFIRMED)


def _difference(there: frozenset[str], wanted: frozenset[str]) -> str:
    """Return the names of the roles that are missing and of those that are not in the spec."""
    parts = (("missing", wanted - there), ("not in spec", there - wanted))
    return "; ".join(f"{label}: {', '.join(sorted(roles))}" for label, roles in parts if roles)


def after_send(decision: Decision, response: Invitation | User) -> Decision:
    """Return the decision after a send. The response is the object's own invitation, even if its e-mail differs."""
    case = decision.case
    if isinstance(response, User) and response.org_membership_status == Membership.ACTIVE:
        return decision_of(replace(case, presence=Presence.MEMBER, member=response))
    invitation = response if isinstance(response, Invitation) else response.as_invitation()
    return replace(decision, case=replace(case, presence=Presence.PENDING, invitation=invitation))


def after_write(decision: Decision) -> Decision:
    """Return the decision after a write: RolesDiffer if the response, which is in the case, has other roles than spec.

    If the response shows no roles, they are not compared.
    """
    there = decision.case.member or decision.case.invitation
    is_reported = decision.row.report.reason is Reason.ROLES_DIFFER
    if is_reported or there is None or not there.roles or frozenset(there.roles) == decision.case.spec.roles:
        return decision
    report = _MEMBER_WITH_OTHER_ROLES if decision.case.member else _PENDING_WITH_OTHER_ROLES
    return replace(decision, row=replace(decision.row, report=report))


def outcome_of(decision: Decision) -> Outcome:
    """Return the outcome of a decision once its action is done.

    ``origin`` is set if the invitation is not the one last known, or if a member is the first that was observed. It is
    Adopted; a caller that knows that this object sent the invitation replaces it.
    """
    case, row, known = decision.case, decision.row, decision.case.known.invitation
    invitation = None if row.report.reason is Reason.IDENTITY_MISMATCH else case.invitation
    is_new = invitation is not None and (known is None or known.id != invitation.id)
    member_first = case.member is not None and case.known.origin is None
    waits_for_a_day = row.report.reason is Reason.INVITATION_EXPIRED and case.may_reinvite and case.reinvite_in
    return Outcome(
        row.report.reason,
        decision.message,
        state=row.report.state,
        origin=Origin.ADOPTED if is_new or member_first else None,
        invitation=invitation,
        member=_as_member(case.member) if case.member else None,
        requeue_after=case.reinvite_in.total_seconds() if waits_for_a_day and case.reinvite_in else None,
        departure_policy=case.spec.departure_policy,
    )


def _as_member(user: User) -> Member:
    """Return ``status.member`` for an ACTIVE user."""
    return Member(
        id=user.id,
        username=user.username or None,
        roles=user.roles,
        org_membership_status=user.org_membership_status,
    )
