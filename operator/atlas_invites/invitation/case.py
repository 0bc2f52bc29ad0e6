"""One case: what an object asks for and remembers, what Atlas shows of it, and when. All that a table may look at.

``case_of`` makes it: it chooses among several things that are seen. Pure, as ``decide`` is.
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
"""An expired invitation is sent again at most this often."""


class Presence(Enum):
    """What Atlas shows of the person, reduced to what the table asks."""

    PENDING = auto()
    MEMBER = auto()
    ANOTHER_PERSON = auto()
    """The known member is not there, and another user has the e-mail."""
    EXPIRED = auto()
    REJECTED = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a row may look at.

    Attributes:
        spec: what the object asks for.
        known: what status remembers.
        presence: what Atlas shows.
        now: Atlas's time, UTC.
        api: the API in use for the project.
        view: how much the absence of an entry says.
        invitation: the pending invitation that is there.
        member: the member who is there.
        is_repeat: the object was evaluated before for all that it asks.
        unseen_roles: the roles that this process wrote last to what is there, until Atlas has shown them.
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
        """Whether something is not there: what the object asks for, or the invitation or member that it had."""
        if self.presence is not Presence.PENDING:
            return self.presence is not Presence.MEMBER
        is_another = self.had_one and self.invitation is not None and not self._is_known(self.invitation)
        return is_another or known_member(self.known) is not None

    @property
    def roles(self) -> frozenset[str]:
        """The roles that are there: those seen, else those last known."""
        there = self.member or self.invitation or self.known.invitation
        return frozenset(there.roles if there else ())

    @property
    def roles_equal(self) -> bool:
        """Whether the roles that are there are the spec's. A list that lags does not show what was written since."""
        return self.roles == self.spec.roles and self.unseen_roles in {None, self.spec.roles}

    @property
    def are_other_roles_kept(self) -> bool:
        """Whether Atlas responded to the spec's roles with those that are there, and nothing has changed since.

        Also if nobody can read which roles are there: an invitation or a member has at least one.
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
        """Whether the invitation is for another e-mail than the spec's. One that this object made is its own."""
        return (
            self.invitation is not None
            and self.spec.username is not None
            and not same_email(self.invitation.username, self.spec.username)
            and not (self.known.origin is Origin.CREATED and self._is_known(self.invitation))
        )

    @property
    def found_by_email(self) -> str | None:
        """The e-mail by which what is there was found, or None for what spec or status names by id."""
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
        """Whether it had an invitation of the invites API that users mode cannot see, and that has not expired."""
        return self.api is Api.USERS and self._had_one_of(Api.INVITES) and not self.is_expired

    @property
    def is_expired(self) -> bool:
        """Whether the known invitation's time is over. One whose end is not known never expires: nothing is sent."""
        expires = self.known.invitation.expires if self.known.invitation else None
        return expires is not None and self.now >= expires

    @property
    def may_reinvite(self) -> bool:
        """Whether an expired invitation is to be sent again at all. One that was given by its id never is."""
        return (
            self.spec.reinvite_policy is ReinvitePolicy.ON_EXPIRY
            and self.spec.username is not None
            and self.spec.invitation_id is None
        )

    @property
    def reinvite_in(self) -> timedelta | None:
        """How long it must still wait to be sent again, or None for ever: nobody knows when it was sent last."""
        sent = self.known.invitation.created if self.known.invitation else None
        return None if sent is None else max(sent + REINVITE_AFTER - self.now, timedelta())

    @property
    def may_send_now(self) -> bool:
        """Whether an expired invitation is to be sent again now."""
        return self.had_one and self.may_reinvite and self.reinvite_in == timedelta()

    @property
    def took_over(self) -> bool:
        """Whether another object had this invitation before (DuplicateInvite): whoever takes over sends nothing new."""
        return self.known.origin is Origin.ADOPTED and not self.had_one

    def _is_known(self, invitation: Invitation) -> bool:
        return self.known.invitation is not None and self.known.invitation.id == invitation.id

    def _had_one_of(self, api: Api) -> bool:
        return self.known.invitation is not None and self.known.invitation.api is api


class Target(NamedTuple):
    """What an object's invitation and member are looked for by; None for what is not known."""

    username: str | None = None
    invitation_id: str | None = None
    member_id: str | None = None
    shown_as: str | None = None
    """The e-mail that Atlas shows for the invitation that the object made, if it is another."""


def target(spec: Spec, known: Status) -> Target:
    """Return what an object's invitation and member are looked for by."""
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
    """Return the member that an object has or had last, who is known by the id.

    Not once a later invitation was pending: who accepts that one is the member then.
    """
    return None if known.state is State.PENDING else known.member


def case_of(spec: Spec, known: Status, seen: Observation, now: datetime, api: Api) -> Case:
    """Choose among what is seen: ACTIVE, then the known id, then the invites API, then the users API's PENDING.

    A known member is identified by the id: the e-mail of a person may change, and then belong to another person.

    Args:
        spec: what the user asks for.
        known: what status remembers.
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
    by_id_alone = spec.username is None
    pending = [
        *seen.invitations,
        *(u.as_invitation() for u in seen.users if u.org_membership_status == Membership.PENDING),
    ]
    candidates = [i for i in pending if i.id in ids] + [
        i for i in pending if not by_id_alone and same_email(i.username, email)
    ]
    if invitation := _first(candidates):
        return replace(nothing, presence=Presence.PENDING, invitation=invitation.completed_by(known.invitation))
    if nothing.had_one and not nothing.is_expired:
        # An entry under another id is of another invitation: it says nothing about one that may still be pending.
        users = [u for u in users if u.id in ids or (known.member and u.id == known.member.id)]
    statuses = {u.org_membership_status for u in users}
    if Membership.REJECTED in statuses:
        return replace(nothing, presence=Presence.REJECTED)
    return replace(nothing, presence=Presence.EXPIRED) if Membership.EXPIRED in statuses else nothing


def is_same_user(user: User, membership: Membership, email: str | None) -> bool:
    """Return whether a user who was read right before a write is the one that a list showed, which may lag.

    Args:
        user: as read.
        membership: as listed.
        email: as listed, or None for one who is known by the id.
    """
    return user.org_membership_status == membership and (email is None or same_email(user.username, email))


def _first(items: Iterable[T]) -> T | None:
    return next(iter(items), None)
