"""The choice among several observed invitations and members, and what is looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_invites.invitation.case import Presence, Target, case_of, target
from atlas_invites.invitation.model import Api, Membership, Observation, Origin, State
from tests.unit.builders import (
    EMAIL,
    INVITATION_ID,
    NOW,
    OTHER_EMAIL,
    OTHER_ID,
    USER_ID,
    invitation,
    member,
    spec,
    status,
    user,
    users_invitation,
)

if TYPE_CHECKING:
    from atlas_invites.invitation.model import Spec, Status, User

ACTIVE = Observation(users=(user(),))
INVITED_USER = Observation(users=(user(Membership.PENDING),))

NEVER_HAD_ONE = status()
HAD_ONE = status(invitation=invitation(), state=State.PENDING)
HAD_ONE_OF_USERS = status(invitation=users_invitation(), state=State.PENDING)
ACCEPTED = status(invitation=invitation(), member=member(), state=State.ACCEPTED)
REMOVED = status(invitation=invitation(), member=member(), state=State.REMOVED)
REINVITED = status(invitation=invitation(), member=member(), state=State.PENDING)
EXPIRED_BEFORE = status(invitation=invitation(), state=State.EXPIRED)

BY_ID = spec(username=None, invitationId=INVITATION_ID)
BOTH = spec(invitationId=INVITATION_ID)


def chosen(spec_: Spec, known: Status, seen: Observation, api: Api = Api.INVITES) -> tuple[Presence, str | None]:
    """Return what was chosen: its kind and its id."""
    case = case_of(spec_, known, seen, NOW, api)
    there = case.member or case.invitation
    return case.presence, there.id if there else None


EVERYTHING = Observation(
    invitations=(invitation(id=OTHER_ID), invitation()),
    users=(user(Membership.PENDING, id="user-pending"), user(Membership.REJECTED, id="user-rejected"), user()),
)


def without(seen: Observation, *ids: str) -> Observation:
    """Return what is observed, without some of it."""
    return Observation(
        invitations=tuple(i for i in seen.invitations if i.id not in ids),
        users=tuple(u for u in seen.users if u.id not in ids),
    )


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [
        ([], (Presence.MEMBER, USER_ID)),
        ([USER_ID], (Presence.PENDING, INVITATION_ID)),
        ([USER_ID, INVITATION_ID], (Presence.PENDING, OTHER_ID)),
        ([USER_ID, INVITATION_ID, OTHER_ID], (Presence.PENDING, "user-pending")),
        ([USER_ID, INVITATION_ID, OTHER_ID, "user-pending"], (Presence.NOTHING, None)),
    ],
    ids=["active", "known-id", "invites", "users-pending", "rejected-of-another"],
)
def test_order_of_choice(hidden: list[str], expected: tuple[Presence, str | None]) -> None:
    """ACTIVE goes before the known id, then the Invites API, then PENDING of the Users API."""
    assert chosen(spec(), HAD_ONE, without(EVERYTHING, *hidden)) == expected


def test_known_id_of_the_users_api_goes_before_the_invites_api() -> None:
    """The known id is chosen in either API."""
    seen = Observation(invitations=(invitation(),), users=(user(Membership.PENDING),))
    assert chosen(spec(), HAD_ONE_OF_USERS, seen) == (Presence.PENDING, USER_ID)


def test_the_id_of_spec_goes_before_the_same_email() -> None:
    """If both are given, the id is adopted if it exists."""
    seen = Observation(invitations=(invitation(id=OTHER_ID), invitation()))
    assert chosen(BOTH, NEVER_HAD_ONE, seen) == (Presence.PENDING, INVITATION_ID)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Observation(invitations=(invitation(id=OTHER_ID),)), (Presence.PENDING, OTHER_ID)),
        (INVITED_USER, (Presence.PENDING, USER_ID)),
        (ACTIVE, (Presence.MEMBER, USER_ID)),
    ],
    ids=["invites", "users", "member"],
)
def test_both_falls_back_to_the_email(seen: Observation, expected: tuple[Presence, str]) -> None:
    """Both are given, and the id does not exist: a pending invitation or a member under the e-mail is chosen."""
    assert chosen(BOTH, NEVER_HAD_ONE, seen) == expected


@pytest.mark.parametrize("known", [NEVER_HAD_ONE, HAD_ONE, EXPIRED_BEFORE], ids=["new", "known", "expired"])
@pytest.mark.parametrize(
    "seen",
    [Observation(invitations=(invitation(id=OTHER_ID),)), INVITED_USER],
    ids=["invites", "users"],
)
def test_an_object_by_id_never_switches_to_another_id(known: Status, seen: Observation) -> None:
    """With only an id, another invitation of the same e-mail is not this object's."""
    assert chosen(BY_ID, known, seen) == (Presence.NOTHING, None)


def test_an_object_by_id_does_not_adopt_another_member() -> None:
    """With only an id and no known e-mail, a member with another id is another person."""
    assert chosen(BY_ID, NEVER_HAD_ONE, ACTIVE) == (Presence.NOTHING, None)


def test_an_object_by_id_finds_the_member_under_the_invitations_email() -> None:
    """With only an id, the e-mail is the invitation's, and a member under it has accepted."""
    seen = Observation(invitations=(invitation(),), users=(user(),))
    assert chosen(BY_ID, NEVER_HAD_ONE, seen) == (Presence.MEMBER, USER_ID)


@pytest.mark.parametrize(
    "membership",
    [Membership.ACTIVE, Membership.EXPIRED, Membership.REJECTED, Membership.PENDING],
)
def test_other_people_are_ignored(membership: Membership) -> None:
    """What Atlas shows for other e-mails does not matter."""
    seen = Observation(
        invitations=(invitation(id=OTHER_ID, username=OTHER_EMAIL),), users=(user(membership, username="x@y.z"),)
    )
    assert chosen(spec(), NEVER_HAD_ONE, seen) == (Presence.NOTHING, None)


@pytest.mark.parametrize("membership", [Membership.ACTIVE, Membership.EXPIRED, Membership.REJECTED])
def test_users_are_found_in_any_case(membership: Membership) -> None:
    """E-mails of users are compared in lower case too."""
    presences = {
        Membership.ACTIVE: Presence.MEMBER,
        Membership.EXPIRED: Presence.EXPIRED,
        Membership.REJECTED: Presence.REJECTED,
    }
    seen = Observation(users=(user(membership, username="JANE@EXAMPLE.com"),))
    assert chosen(spec(), NEVER_HAD_ONE, seen)[0] is presences[membership]


def test_an_unknown_membership_status_is_ignored() -> None:
    """A membership status that Atlas adds later counts as nothing observed: nothing is done."""
    assert chosen(spec(), NEVER_HAD_ONE, Observation(users=(user("INVITATION_PAUSED"),))) == (Presence.NOTHING, None)


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        (spec(), NEVER_HAD_ONE, Target(EMAIL)),
        (spec(), HAD_ONE, Target(EMAIL, INVITATION_ID)),
        (BY_ID, NEVER_HAD_ONE, Target(None, INVITATION_ID)),
        (BY_ID, HAD_ONE, Target(EMAIL, INVITATION_ID)),
        (BOTH, NEVER_HAD_ONE, Target(EMAIL, INVITATION_ID)),
        (BOTH, status(invitation=invitation(id=OTHER_ID)), Target(EMAIL, OTHER_ID)),
        (spec(), ACCEPTED, Target(EMAIL, INVITATION_ID, USER_ID)),
        (spec(), REINVITED, Target(EMAIL, INVITATION_ID)),
    ],
)
def test_what_is_looked_up(wanted: Spec, known: Status, expected: Target) -> None:
    """The e-mail is the spec's, else the known one; the id is the known one, else the spec's; the member is known."""
    assert target(wanted, known) == expected


# A known member.


RENAMED = user(username=OTHER_EMAIL)
SUCCESSOR = user(id=OTHER_ID)


@pytest.mark.parametrize(
    ("known", "users", "expected"),
    [
        (ACCEPTED, (RENAMED,), (Presence.MEMBER, USER_ID)),
        (ACCEPTED, (SUCCESSOR, RENAMED), (Presence.MEMBER, USER_ID)),
        (ACCEPTED, (SUCCESSOR,), (Presence.ANOTHER_PERSON, None)),
        (REMOVED, (SUCCESSOR,), (Presence.ANOTHER_PERSON, None)),
        (REMOVED, (user(),), (Presence.MEMBER, USER_ID)),
        (ACCEPTED, (user(Membership.PENDING),), (Presence.PENDING, USER_ID)),
        (ACCEPTED, (user(Membership.PENDING, id=OTHER_ID),), (Presence.PENDING, OTHER_ID)),
        (REINVITED, (SUCCESSOR,), (Presence.MEMBER, OTHER_ID)),
        (HAD_ONE, (SUCCESSOR,), (Presence.MEMBER, OTHER_ID)),
    ],
    ids=[
        "renamed",
        "renamed-and-succeeded",
        "succeeded",
        "removed-and-succeeded",
        "back",
        "invited-again",
        "invited-again-under-another-id",
        "accepted-a-later-one",
        "no-member-known",
    ],
)
@pytest.mark.parametrize("wanted", [spec(), BOTH], ids=["email", "both"])
def test_a_known_member_is_known_by_the_id(
    wanted: Spec, known: Status, users: tuple[User, ...], expected: tuple[Presence, str | None]
) -> None:
    """A member's e-mail may change, and another person may then have it.

    A person who accepts a later invitation is new.
    """
    assert chosen(wanted, known, Observation(users=users)) == expected


@pytest.mark.parametrize(
    ("known", "seen", "is_gone"),
    [
        (HAD_ONE, Observation(invitations=(invitation(),)), False),
        (ACCEPTED, ACTIVE, False),
        (ACCEPTED, INVITED_USER, True),
        (ACCEPTED, Observation(users=(SUCCESSOR,)), True),
        (HAD_ONE, Observation(), True),
        (HAD_ONE, Observation(users=(user(Membership.REJECTED),)), True),
        (REINVITED, Observation(invitations=(invitation(),)), False),
        (REINVITED, INVITED_USER, True),
        (HAD_ONE, INVITED_USER, True),
        (NEVER_HAD_ONE, INVITED_USER, False),
    ],
)
def test_a_known_member_who_does_not_exist_is_gone(known: Status, seen: Observation, *, is_gone: bool) -> None:
    """Gone: a member who was invited again or replaced, and an invitation that was replaced by another."""
    assert case_of(spec(), known, seen, NOW, Api.INVITES).is_gone is is_gone


MADE = status(invitation=invitation(username=OTHER_EMAIL), origin=Origin.CREATED, state=State.PENDING)
MADE_OF_USERS = status(invitation=users_invitation(), origin=Origin.CREATED, state=State.PENDING)


def test_who_accepts_what_this_object_sent_is_the_member_under_any_email() -> None:
    """Atlas shows the invitation under another e-mail, or the person changes it before accepting."""
    assert target(spec(), MADE) == Target(EMAIL, INVITATION_ID, shown_as=OTHER_EMAIL)
    assert target(spec(), MADE.model_copy(update={"origin": Origin.ADOPTED})).shown_as is None
    renamed = Observation(users=(user(username=OTHER_EMAIL),))
    for known in (MADE, MADE_OF_USERS):
        assert chosen(spec(), known, renamed, Api.USERS) == (Presence.MEMBER, USER_ID)
    assert case_of(spec(), MADE_OF_USERS, renamed, NOW, Api.USERS).found_by_email is None


# What a response leaves out.


def test_unreadable_roles_are_those_last_known() -> None:
    """Nothing is written because of roles that cannot be read, whether or not others are known."""
    unknown = case_of(spec(), NEVER_HAD_ONE, Observation(invitations=(invitation(roles=[]),)), NOW, Api.INVITES)
    assert unknown.are_other_roles_kept
    sparse = Observation(invitations=(invitation(roles=[]),), users=(user(username=OTHER_EMAIL),))
    assert case_of(spec(), HAD_ONE, sparse, NOW, Api.INVITES).roles_equal
    assert case_of(spec(), ACCEPTED, Observation(users=(user(roles=[]),)), NOW, Api.INVITES).roles_equal


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize("shown", [OTHER_EMAIL, None])
def test_what_this_object_sent_is_its_own(origin: Origin, shown: str | None) -> None:
    """With any e-mail that Atlas shows for it; what was adopted must be for the e-mail of spec."""
    known = HAD_ONE.model_copy(update={"origin": origin, "invitation": invitation(username=OTHER_EMAIL)})
    case = case_of(spec(), known, Observation(invitations=(invitation(username=shown),)), NOW, Api.INVITES)
    assert case.is_for_another_email is (origin is Origin.ADOPTED)
