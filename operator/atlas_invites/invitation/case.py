"""The case of an object: its spec and status, what Atlas shows, and the time. The tables use nothing else.

``case_of`` makes the case. If Atlas shows several entries, it chooses one. It is pure, like ``decide``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.email import same_email
from atlas_invites.invitation.model import Api, Membership, Origin, ReinvitePolicy, State
from atlas_invites.invitation.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from atlas_invites.invitation.model import Invitation, Member, Observation, Spec, Status, User, View

T = TypeVar("T")

REINVITE_AFTER = timedelta(days=1)
"""The shortest time between two sends of an invitation that expires."""


class Presence(Enum):
    """What Atlas shows of the invitee, reduced to what the tables distinguish."""

    PENDING = auto()
    MEMBER = auto()
    ANOTHER_PERSON = auto()
    """The known member is gone, and another user has the e-mail."""
    EXPIRED = auto()
    REJECTED = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a row may use.

    Attributes:
        spec: the spec of the object.
        known: the status of the object.
        presence: what Atlas shows.
        now: Atlas's time, UTC.
        api: the API in use for the project.
        view: what the absence of an entry proves.
        invitation: the pending invitation that was observed.
        member: the member who was observed.
        is_repeat: the object was evaluated before with the same spec and requested reconcile.
        unseen_roles: the roles that this process last wrote to the invitation or member, until Atlas shows them.
    """

    spec: Spec
    known: Status
    presence: Presence
    now: datetime
    api: Api
    view: View
    invitation: Invitation | None = None
    member: User | None = None
    is_repeat: bool = False
    unseen_roles: frozenset[str] | None = None

    @property
    def is_gone(self) -> bool:
        """Whether something is gone: the invitation or member that the object asks for, or the one that it had."""
        if self.presence is not Presence.PENDING:
            return self.presence is not Presence.MEMBER
        is_another = self.had_one and self.invitation is not None and not self._is_known(self.invitation)
        return is_another or known_member(self.known) is not None

    @property
    def roles(self) -> frozenset[str]:
        """The observed roles, or else those last known."""
        there = self.member or self.invitation or self.known.invitation
        return frozenset(there.roles if there else ())

    @property
    def roles_equal(self) -> bool:
        """Whether the roles in Atlas are those in spec. A list that lags does not show the last write of roles."""
        return self.roles == self.spec.roles and self.unseen_roles in {None, self.spec.roles}

    @property
    def are_other_roles_kept(self) -> bool:
        """Whether Atlas responded to the roles in spec with those that it shows, and nothing has changed since.

        Also if the observed roles cannot be read: an invitation or a member has at least one role.
        """
        if not self.roles:
            return True
        ready, known = self.known.condition(READY), self.known.member if self.member else self.known.invitation
        return (
            self.is_repeat
            and self.unseen_roles is None
            and ready is not None
            and ready.reason == Reason.ROLES_DIFFER
            and known is not None
            and frozenset(known.roles) == self.roles
        )

    @property
    def is_for_another_email(self) -> bool:
        """Whether the invitation is for another e-mail than the one in spec. One that this object created never is."""
        return (
            self.invitation is not None
            and self.spec.username is not None
            and not same_email(self.invitation.username, self.spec.username)
            and not (self.known.origin is Origin.CREATED and self._is_known(self.invitation))
        )

    @property
    def found_by_email(self) -> str | None:
        """The e-mail by which the invitation or member was found, or None if spec or status has its id."""
        there, member, known = self.member or self.invitation, known_member(self.known), self.known.invitation
        named = {self.spec.invitation_id, member.id if member else None, known.id if known else None}
        return None if there is None or there.id in named else there.username

    @property
    def had_one(self) -> bool:
        """Whether this object has had an invitation."""
        return self.known.invitation is not None

    @property
    def was_accepted(self) -> bool:
        """Whether the invitation of this object was ever accepted."""
        return self.known.state in {State.ACCEPTED, State.REMOVED} or self.known.member is not None

    @property
    def is_legacy(self) -> bool:
        """Whether it had an unexpired invitation of the Invites API, which the Users API does not show."""
        return self.api is Api.USERS and self._had_one_of(Api.INVITES) and not self.is_expired

    @property
    def is_expired(self) -> bool:
        """Whether the known invitation has expired. One without a known end never expires, so nothing is sent."""
        expires = self.known.invitation.expires if self.known.invitation else None
        return expires is not None and self.now >= expires

    @property
    def may_reinvite(self) -> bool:
        """Whether the spec allows to send an expired invitation again: by its policy, and without ``invitationId``."""
        return (
            self.spec.reinvite_policy is ReinvitePolicy.ON_EXPIRY
            and self.spec.username is not None
            and self.spec.invitation_id is None
        )

    @property
    def reinvite_in(self) -> timedelta | None:
        """The time until it may be sent again, or None for never: it is not known when it was sent last."""
        sent = self.known.invitation.created if self.known.invitation else None
        return None if sent is None else max(sent + REINVITE_AFTER - self.now, timedelta())

    @property
    def may_send_now(self) -> bool:
        """Whether an expired invitation may be sent again now."""
        return self.had_one and self.may_reinvite and self.reinvite_in == timedelta()

    @property
    def took_over(self) -> bool:
        """Whether the object took over from another one (DuplicateInvite). Then it does not send a new invitation."""
        return self.known.origin is Origin.ADOPTED and not self.had_one

    def _is_known(self, invitation: Invitation) -> bool:
        return self.known.invitation is not None and self.known.invitation.id == invitation.id

    def _had_one_of(self, api: Api) -> bool:
        return self.known.invitation is not None and self.known.invitation.api is api


class Target(NamedTuple):
    """The e-mail and ids by which the invitation and member of an object are found. None for what is not known."""

    username: str | None = None
    invitation_id: str | None = None
    member_id: str | None = None
    shown_as: str | None = None
    """The e-mail that Atlas shows for the invitation that the object created, if it is not the one in spec."""


def target(spec: Spec, known: Status) -> Target:
    """Return the e-mail and ids by which the invitation and member of an object are found."""
    invitation, member = known.invitation, known_member(known)
    return Target(
        username=spec.username or (invitation.username if invitation else None),
        invitation_id=invitation.id if invitation else spec.invitation_id,
        member_id=member.id if member else None,
        shown_as=_shown_as(spec, known),
    )


def _shown_as(spec: Spec, known: Status) -> str | None:
    if known.origin is not Origin.CREATED or known.invitation is None:
        return None
    shown = known.invitation.username
    return None if same_email(shown, spec.username) else shown


def known_member(known: Status) -> Member | None:
    """Return the member that an object has or had last, who is identified by the id.

    Return None once a later invitation was pending: then the member is the person who accepts that invitation.
    """
    return None if known.state is State.PENDING else known.member


def case_of(spec: Spec, known: Status, seen: Observation, now: datetime, api: Api) -> Case:
    """Return the case. The first that was observed counts: ACTIVE, the known id, Invites API, PENDING in the Users API.

    A known member is identified by the id: the e-mail of a person may change, and then belong to another person.

    Args:
        spec: the spec of the object.
        known: the status of the object.
        seen: what Atlas shows.
        now: Atlas's time, UTC.
        api: the API in use for the project.
    """
    nothing = Case(spec, known, Presence.NOTHING, now, api, seen.view)
    ids = {id_ for id_ in (spec.invitation_id, known.invitation.id if known.invitation else None) if id_}
    email = spec.username or (known.invitation.username if known.invitation else None)
    email = email or next((i.username for i in seen.invitations if i.id in ids), None)
    member = known_member(known)

    user_ids = {member.id if member else None, known.invitation.id if known.invitation else None}
    shown_as = _shown_as(spec, known)

    def is_candidate(user: User) -> bool:
        if user.id in user_ids or same_email(user.username, shown_as):
            return True
        return same_email(user.username, email) if email else user.id in ids

    users = list(filter(is_candidate, seen.users))
    active = [u for u in users if u.org_membership_status == Membership.ACTIVE]
    if user := _first(u for u in active if member is None or u.id == member.id):
        return replace(nothing, presence=Presence.MEMBER, member=user.completed_by(member))
    if active:
        return replace(nothing, presence=Presence.ANOTHER_PERSON)
    is_by_id = spec.username is None
    pending = [
        *seen.invitations,
        *(u.as_invitation() for u in seen.users if u.org_membership_status == Membership.PENDING),
    ]
    candidates = [i for i in pending if i.id in ids] + [
        i for i in pending if not is_by_id and same_email(i.username, email)
    ]
    if invitation := _first(candidates):
        return replace(nothing, presence=Presence.PENDING, invitation=invitation.completed_by(known.invitation))
    if nothing.had_one and not nothing.is_expired:
        # An entry with another id belongs to another invitation. It proves nothing about one that may be pending.
        users = [u for u in users if u.id in ids or (known.member and u.id == known.member.id)]
    statuses = {u.org_membership_status for u in users}
    if Membership.REJECTED in statuses:
        return replace(nothing, presence=Presence.REJECTED)
    return replace(nothing, presence=Presence.EXPIRED) if Membership.EXPIRED in statuses else nothing


def is_same_user(user: User, membership: Membership, email: str | None) -> bool:
    """Return whether a user who was read right before a write is the one that a list showed. A list may lag.

    Args:
        user: the user as read.
        membership: the membership status as listed.
        email: the e-mail as listed, or None for a user who is identified by the id.
    """
    return user.org_membership_status == membership and (email is None or same_email(user.username, email))


def _first(items: Iterable[T]) -> T | None:
    return next(iter(items), None)
