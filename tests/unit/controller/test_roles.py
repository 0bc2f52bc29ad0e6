"""Setting roles: through the API that holds the invitation or member, added before removed, read right before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.controller.act import set_invitation_roles, set_member_roles
from atlas_invites.failures import Failure
from atlas_invites.invitation.model import Membership
from atlas_invites.invitation.outcome import Reason
from tests.unit.builders import (
    GROUP_ID,
    INVITATION_ID,
    OTHER_EMAIL,
    OWNER,
    READER,
    STREAMS,
    USER_ID,
    error,
    invitation,
    user,
    users_invitation,
)
from tests.unit.controller.fakes import CREDENTIALS, FakeAtlas
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.unit.controller.fakes import FakeProject


def project_of(atlas: FakeAtlas) -> FakeProject:
    return atlas.project(CREDENTIALS, GROUP_ID)


def go_on() -> None:
    """Nothing else is wanted meanwhile."""


async def conflict(call: Awaitable[Any]) -> None:
    with pytest.raises(Failure) as caught:
        await call
    assert caught.value.reason is Reason.CONFLICT


@virtual_time
async def test_an_invitation_of_the_invites_api_is_one_patch() -> None:
    """One PATCH by id with the whole set, in order; the answer is returned."""
    atlas = FakeAtlas()
    atlas.invite()
    updated = await set_invitation_roles(project_of(atlas), invitation(), frozenset({READER, OWNER}), go_on)
    assert updated == (invitation(roles=[OWNER, READER]), True)
    assert atlas.calls == [("UpdateInvite", INVITATION_ID, OWNER, READER)]


@virtual_time
async def test_an_invitation_that_has_gone_is_looked_at_again() -> None:
    """The PATCH finds nothing: a conflict, so that the next turn looks."""
    await conflict(set_invitation_roles(project_of(FakeAtlas()), invitation(), frozenset({OWNER}), go_on))


@pytest.mark.parametrize("membership", [Membership.ACTIVE, Membership.PENDING])
@virtual_time
async def test_roles_of_a_user_are_added_before_they_are_removed(membership: Membership) -> None:
    """Read, add what is missing, remove what is too much: a user never has zero roles."""
    atlas = FakeAtlas()
    atlas.let_in(user(membership, roles=[READER]))
    wanted = frozenset({OWNER, STREAMS})
    if membership is Membership.PENDING:
        done: object = await set_invitation_roles(project_of(atlas), users_invitation(), wanted, go_on)
    else:
        done = await set_member_roles(project_of(atlas), user(), wanted, go_on)
    assert atlas.calls == [
        ("ReadUser", USER_ID),
        ("AddRole", USER_ID, OWNER),
        ("AddRole", USER_ID, STREAMS),
        ("RemoveRole", USER_ID, READER),
    ]
    now_there = user(membership, roles=[OWNER, STREAMS])
    assert done == (now_there.as_invitation() if membership is Membership.PENDING else now_there, True)


@virtual_time
async def test_what_was_read_decides_not_what_was_seen() -> None:
    """The roles may have changed since they were seen: the difference is taken from the read, and may be none."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[OWNER]))
    done = await set_member_roles(project_of(atlas), user(roles=[READER]), frozenset({OWNER}), go_on)
    assert done == (user(roles=[OWNER]), False)
    assert atlas.calls == [("ReadUser", USER_ID)]


@pytest.mark.parametrize(
    "there", [None, user(Membership.ACTIVE), user(Membership.EXPIRED)], ids=["gone", "accepted", "expired"]
)
@virtual_time
async def test_a_pending_user_is_only_touched_while_pending(there: Any) -> None:  # noqa: ANN401 - a user or None
    """The same call would change the access of someone who has just accepted."""
    atlas = FakeAtlas()
    if there is not None:
        atlas.let_in(there)
    await conflict(set_invitation_roles(project_of(atlas), users_invitation(), frozenset({OWNER}), go_on))
    assert atlas.names == ["ReadUser"]


@pytest.mark.parametrize("there", [None, user(Membership.PENDING)], ids=["gone", "pending"])
@virtual_time
async def test_a_member_is_only_touched_while_active(there: Any) -> None:  # noqa: ANN401 - a user or None
    """Who has left, or was invited anew, is looked at again."""
    atlas = FakeAtlas()
    if there is not None:
        atlas.let_in(there)
    await conflict(set_member_roles(project_of(atlas), user(), frozenset({OWNER}), go_on))
    assert atlas.names == ["ReadUser"]


@pytest.mark.parametrize("call", ["AddRole", "RemoveRole"])
@virtual_time
async def test_a_user_who_leaves_in_between_is_looked_at_again(call: str) -> None:
    """Gone between two steps: a conflict, and no further step."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[READER, STREAMS]))
    atlas.faults.before(call, atlas.groups[GROUP_ID].users.clear)
    await conflict(set_member_roles(project_of(atlas), user(), frozenset({OWNER}), go_on))
    assert atlas.names[-1] == call
    assert atlas.names.count("RemoveRole") == (call == "RemoveRole")


@virtual_time
async def test_who_accepts_between_two_steps_keeps_every_role() -> None:
    """A pending user accepts between adding and removing: nothing is taken from the member."""
    atlas = FakeAtlas()
    pending = atlas.let_in(user(Membership.PENDING, roles=[READER]))

    def accept() -> None:
        there = atlas.groups[GROUP_ID].users[pending.id]
        atlas.let_in(there.model_copy(update={"org_membership_status": Membership.ACTIVE}))

    atlas.faults.before("AddRole", accept)
    await conflict(set_invitation_roles(project_of(atlas), pending.as_invitation(), frozenset({OWNER}), go_on))
    assert "RemoveRole" not in atlas.names
    assert set(atlas.groups[GROUP_ID].users[pending.id].roles) == {READER, OWNER}


@virtual_time
async def test_atlas_refusal_stops_the_steps() -> None:
    """A role that Atlas does not add is the end: nothing is removed."""
    atlas = FakeAtlas()
    atlas.let_in(user())
    atlas.faults.fail("AddRole", Failure(Reason.INVALID_REQUEST, "no", error=error()))
    with pytest.raises(Failure) as caught:
        await set_member_roles(project_of(atlas), user(), frozenset({OWNER}), go_on)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert atlas.groups[GROUP_ID].users[USER_ID] == user()


@pytest.mark.parametrize("email", [OTHER_EMAIL, None])
@virtual_time
async def test_a_user_who_was_found_by_another_email_is_left_alone(email: str | None) -> None:
    """The list lagged behind a change of the e-mail; who is known by the id may have any."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[READER]))
    setting = set_member_roles(project_of(atlas), user(), frozenset({OWNER}), go_on, email)
    if email is None:
        done, wrote = await setting
        assert (done.roles, wrote) == ((OWNER,), True)
    else:
        await conflict(setting)
        assert atlas.calls == [("ReadUser", USER_ID)]
