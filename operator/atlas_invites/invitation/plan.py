"""What to do about one invitation: Table A of docs/behaviour.md, as data. The first row that matches wins.

``decide`` is pure: it gets what the user asks for, what status remembers, what Atlas shows, and the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.invitation.case import Case, Sight, case_of
from atlas_invites.invitation.model import (
    Api,
    Invitation,
    Member,
    MemberPolicy,
    Membership,
    Origin,
    Seen,
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


class Do(Enum):
    """What a row does in Atlas."""

    NOTHING = auto()
    SET_ROLES = auto()
    """Make the roles of what is there, pending or member, those of the spec."""
    SEND = auto()
    """Invite the spec's e-mail, under the guard (``invitation.guard``)."""


class Says(NamedTuple):
    """What a row says of the object: the reason of its conditions, its state (None: as it was), and the message."""

    reason: Reason
    state: State | None
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: where one of ``sights`` is seen and ``when`` holds, ``do`` it, and say ``says``.

    ``and_`` is what ``when`` asks, in the words of docs/behaviour.md.
    """

    sights: frozenset[Sight]
    and_: str
    when: Callable[[Case], bool]
    do: Do
    says: Says


@dataclass(frozen=True, slots=True)
class Action:
    """The row that matched, and what it matched."""

    row: Row
    case: Case

    @property
    def message(self) -> str:
        """What happened, to what, and what to do; no times and no counts."""
        case = self.case
        known = case.invitation or case.known.invitation
        return self.row.says.message.format(
            who=case.spec.username or (known.username if known else None) or f"invitation {case.spec.invitation_id}",
            id=case.spec.invitation_id or (known.id if known else None),
            roles=_difference(case.roles, case.spec.roles),
            asked=", ".join(sorted(case.spec.roles)),
            shown=", ".join(sorted(case.roles)) or "none that can be read",
        )


def _anything(_: Case) -> bool:
    return True


def _sights(*sights: Sight) -> frozenset[Sight]:
    return frozenset(sights)


_PENDING, _MEMBER = _sights(Sight.PENDING), _sights(Sight.MEMBER)
_ANOTHER_PERSON = _sights(Sight.ANOTHER_PERSON)
_GONE = _sights(Sight.NOTHING, Sight.EXPIRED, Sight.REJECTED)
_NOTHING, _EXPIRED, _REJECTED = _sights(Sight.NOTHING), _sights(Sight.EXPIRED), _sights(Sight.REJECTED)

_ANEW = "To invite again, delete and recreate this object."
_OF_THE_OLD_API = "The invitation of {who} was sent through the invites API, which has ended, so "

_INVITED = Says(Reason.INVITED, State.PENDING, "The invitation of {who} is pending.")
_ACCEPTED = Says(
    Reason.ACCEPTED, State.ACCEPTED, "{who} accepted and is a member of the project with the roles of spec."
)
_MISMATCH = Says(
    Reason.IDENTITY_MISMATCH,
    None,
    "Invitation {id} belongs to a different e-mail address than {who}, so it is left untouched. "
    "Recreate this object with an invitationId and a username that match.",
)
_SUCCEEDED = Says(
    Reason.IDENTITY_MISMATCH,
    State.REMOVED,
    "The member of this object (status.member.id) has left the project. Another person uses {who} now, and the "
    "operator does not manage that person. To manage that person's access, delete and recreate this object.",
)
_ROLES_DIFFER = Says(
    Reason.ROLES_DIFFER,
    State.ACCEPTED,
    "{who} accepted; the member's roles differ from spec.roles ({roles}) and are left alone "
    "(spec.memberPolicy is Observe).",
)
_OTHER_ROLES = (
    "Atlas keeps other roles for {who} than the operator asked for. Asked: {asked}. Atlas shows: {shown}. The operator "
    "asks again once the spec or the roles in Atlas change, or a reconcile is requested. Correct spec.roles."
)
_PENDING_WITH_OTHER_ROLES = Says(Reason.ROLES_DIFFER, State.PENDING, _OTHER_ROLES)
_MEMBER_WITH_OTHER_ROLES = Says(Reason.ROLES_DIFFER, State.ACCEPTED, _OTHER_ROLES)
_REMOVED = Says(
    Reason.MEMBER_REMOVED,
    State.REMOVED,
    f"{{who}} accepted and is no longer a member of the project. Nobody is invited again after a removal. {_ANEW}",
)
_WITHDRAWN = Says(
    Reason.INVITATION_WITHDRAWN,
    State.WITHDRAWN,
    "The invitation of {who} no longer exists although it has not expired: it was declined, or cancelled elsewhere. "
    f"It will not be sent again. {_ANEW}",
)
_INVITED_UNSEEN = Says(
    Reason.INVITED, State.PENDING, f"{_OF_THE_OLD_API}it can no longer be read; it is assumed pending until it expires."
)
_LEGACY = Says(
    Reason.LEGACY_INVITATION,
    State.PENDING,
    f"{_OF_THE_OLD_API}its roles ({{roles}}) cannot be changed before it is accepted or expires.",
)
_ENDED = Says(Reason.INVITATION_EXPIRED, State.EXPIRED, f"The invitation of {{who}} expired. {_ANEW}")
_UNKNOWN_ID = Says(
    Reason.INVITATION_NOT_FOUND,
    State.UNKNOWN,
    "Atlas has no invitation {id} in this project. Look up the id (atlas projects invitations list), "
    "and recreate this object with it.",
)
_TOOK_OVER = Says(
    Reason.INVITATION_NOT_FOUND,
    State.UNKNOWN,
    "Atlas has no invitation of {who} in this project any more. "
    f"Another object owned it; taking over never sends a new one. {_ANEW}",
)

TABLE_A: tuple[Row, ...] = (
    Row(_PENDING, "its e-mail is not the spec's", lambda c: c.somebody_else, Do.NOTHING, _MISMATCH),
    Row(_PENDING, "roles equal", lambda c: c.roles_equal, Do.NOTHING, _INVITED),
    Row(
        _PENDING,
        "roles differ, and so did Atlas's response",
        lambda c: c.are_other_roles_kept,
        Do.NOTHING,
        _PENDING_WITH_OTHER_ROLES,
    ),
    Row(_PENDING, "roles differ", _anything, Do.SET_ROLES, _INVITED),
    Row(_MEMBER, "roles equal", lambda c: c.roles_equal, Do.NOTHING, _ACCEPTED),
    Row(
        _MEMBER,
        "roles differ, Observe",
        lambda c: c.spec.member_policy is MemberPolicy.OBSERVE,
        Do.NOTHING,
        _ROLES_DIFFER,
    ),
    Row(
        _MEMBER,
        "roles differ, Manage, and so did Atlas's response",
        lambda c: c.are_other_roles_kept,
        Do.NOTHING,
        _MEMBER_WITH_OTHER_ROLES,
    ),
    Row(_MEMBER, "roles differ, Manage", _anything, Do.SET_ROLES, _ACCEPTED),
    Row(_ANOTHER_PERSON, "the known member is gone", _anything, Do.NOTHING, _SUCCEEDED),
    Row(_GONE, "was accepted", lambda c: c.was_accepted, Do.NOTHING, _REMOVED),
    Row(_GONE, "was withdrawn", lambda c: c.known.state is State.WITHDRAWN, Do.NOTHING, _WITHDRAWN),
    Row(
        _NOTHING,
        "cannot be seen in users mode, roles equal",
        lambda c: c.legacy and c.roles_equal,
        Do.NOTHING,
        _INVITED_UNSEEN,
    ),
    Row(_NOTHING, "cannot be seen in users mode, roles differ", lambda c: c.legacy, Do.NOTHING, _LEGACY),
    Row(_REJECTED, "had one", lambda c: c.had_one, Do.NOTHING, _WITHDRAWN),
    Row(_EXPIRED, "had one, OnExpiry, sent over a day ago", lambda c: c.may_send_now, Do.SEND, _INVITED),
    Row(_EXPIRED, "had one", lambda c: c.had_one, Do.NOTHING, _ENDED),
    Row(_NOTHING, "had one, before its end", lambda c: c.had_one and not c.expired, Do.NOTHING, _WITHDRAWN),
    Row(_NOTHING, "had one, OnExpiry, sent over a day ago", lambda c: c.may_send_now, Do.SEND, _INVITED),
    Row(_NOTHING, "had one", lambda c: c.had_one, Do.NOTHING, _ENDED),
    Row(_GONE, "invitationId given", lambda c: c.spec.invitation_id is not None, Do.NOTHING, _UNKNOWN_ID),
    Row(_GONE, "took over from another object", lambda c: c.took_over, Do.NOTHING, _TOOK_OVER),
    Row(_GONE, "never had one", _anything, Do.SEND, _INVITED),
)


def decide(spec: Spec, known: Status, seen: Seen, now: datetime, api: Api = Api.INVITES) -> Action:
    """Return the first row of Table A that matches what is seen; for the arguments see ``case_of``."""
    return judge(case_of(spec, known, seen, now, api))


def judge(case: Case) -> Action:
    """Return the first row of Table A that matches a case."""
    return Action(next(row for row in TABLE_A if case.sight in row.sights and row.when(case)), case)


def set_roles(case: Case) -> Action:
    """Return the row that sets the roles of a pending invitation, whatever else is known of it."""
    return Action(next(row for row in TABLE_A if row.sights == _PENDING and row.do is Do.SET_ROLES), case)


def is_conclusive(action: Action, *, never_had_one: bool) -> bool:
    """Return whether what was observed bears the decision. That something is gone must be confirmed.

    Args:
        action: what was decided.
        never_had_one: nobody can have sent anything for the object. Then the lists are enough to send, and to nothing
            else.
    """
    if not action.case.is_gone:
        return True
    is_first = never_had_one and action.row.do is Do.SEND
    return action.case.view >= (View.LISTED if is_first else View.CONFIRMED)


def _difference(there: frozenset[str], wanted: frozenset[str]) -> str:
    """Return what is missing and what is too much, by name."""
    parts = (("missing", wanted - there), ("not in spec", there - wanted))
    return "; ".join(f"{label}: {', '.join(sorted(roles))}" for label, roles in parts if roles)


def answered(action: Action, answer: Invitation | User) -> Action:
    """Return the action by what our own sending was answered: that is the object's, whatever e-mail it shows."""
    case = action.case
    if isinstance(answer, User) and answer.org_membership_status == Membership.ACTIVE:
        return judge(replace(case, sight=Sight.MEMBER, member=answer))
    invitation = answer if isinstance(answer, Invitation) else answer.as_invitation()
    return replace(action, case=replace(case, sight=Sight.PENDING, invitation=invitation))


def done(action: Action) -> Action:
    """Return the action by what Atlas responded to its write, which is in the case: were the spec's roles accepted?

    Roles that the response does not show are not compared.
    """
    there = action.case.member or action.case.invitation
    is_told = action.row.says.reason is Reason.ROLES_DIFFER
    if is_told or there is None or not there.roles or frozenset(there.roles) == action.case.spec.roles:
        return action
    says = _MEMBER_WITH_OTHER_ROLES if action.case.member else _PENDING_WITH_OTHER_ROLES
    return replace(action, row=replace(action.row, says=says))


def outcome_of(action: Action) -> Outcome:
    """Return the outcome that an action leads to, once it is done.

    ``origin`` is set where the invitation is another than the one last known, or a member is the first thing seen:
    Adopted, unless somebody knows better.
    """
    case, row, known = action.case, action.row, action.case.known.invitation
    invitation = None if row.says.reason is Reason.IDENTITY_MISMATCH else case.invitation
    is_new = invitation is not None and (known is None or known.id != invitation.id)
    member_first = case.member is not None and case.known.origin is None
    waits_for_a_day = row.says.reason is Reason.INVITATION_EXPIRED and case.may_reinvite and case.reinvite_in
    return Outcome(
        row.says.reason,
        action.message,
        state=row.says.state,
        origin=Origin.ADOPTED if is_new or member_first else None,
        invitation=invitation,
        member=_as_member(case.member) if case.member else None,
        requeue_after=case.reinvite_in.total_seconds() if waits_for_a_day and case.reinvite_in else None,
    )


def _as_member(user: User) -> Member:
    """Return ``status.member`` for an ACTIVE user."""
    return Member(
        id=user.id,
        username=user.username or None,
        roles=user.roles,
        org_membership_status=user.org_membership_status,
    )
