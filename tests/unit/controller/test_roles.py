"""Set roles: through the API that holds the invitation or member, add before remove, read right before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.controller.act import act
from atlas_invites.controller.attempt import Attempt
from atlas_invites.controller.memory import Memory
from atlas_invites.controller.sends import Sends
from atlas_invites.controller.store import Store
from atlas_invites.failures import Failure
from atlas_invites.invitation.case import Case, Presence
from atlas_invites.invitation.model import Api, Invitation, Member, Membership, User, View
from atlas_invites.invitation.outcome import Did, Outcome, Reason
from atlas_invites.invitation.plan import decision_of
from atlas_invites.invitation.refusal import Request
from atlas_invites.invitation.resource import FINALIZER
from tests.unit.builders import (
    GROUP_ID,
    INVITATION_ID,
    NOW,
    OTHER_EMAIL,
    OWNER,
    READER,
    STREAMS,
    USER_ID,
    error,
    invitation,
    resource,
    spec,
    status,
    user,
    users_invitation,
)
from tests.unit.controller.fakes import CREDENTIALS, FakeAtlas
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable


async def set_roles(atlas: FakeAtlas, there: Invitation | User, *roles: str, is_known: bool = True) -> Outcome:
    """Set these roles on what was observed; ``is_known``: by its id, not only by its e-mail."""
    wanted = spec(roles=list(roles), memberPolicy="Manage", username=there.username)
    member, pending = (there, None) if isinstance(there, User) else (None, there)
    known = status(member=Member(id=member.id), state="Accepted") if member else status(invitation=pending)
    case = Case(
        spec=wanted,
        known=known if is_known else status(),
        presence=Presence.MEMBER if member else Presence.PENDING,
        now=NOW,
        api=Api.INVITES,
        view=View.CONFIRMED,
        invitation=pending,
        member=member,
    )
    store = Store()
    asking = resource(spec=wanted.to_wire(), finalizers=[FINALIZER])
    with_: Any = SimpleNamespace(store=store, sends=Sends(atlas, now), clock=now)
    store.put(asking)
    attempt = Attempt(with_, asking, wanted, known, Memory(""), now(), now())
    attempt.resolve(atlas.project(CREDENTIALS, GROUP_ID))
    attempt.request, attempt.decision = Request.of(asking, CREDENTIALS), decision_of(case)
    return await act(attempt)


async def conflict(call: Awaitable[Any]) -> None:
    with pytest.raises(Failure) as caught:
        await call
    assert caught.value.reason is Reason.CONFLICT


@virtual_time
async def test_an_invitation_of_the_invites_api_is_one_patch() -> None:
    """One PATCH by id with the whole set, in order; the response is returned."""
    atlas = FakeAtlas()
    atlas.invite()
    outcome = await set_roles(atlas, invitation(roles=[STREAMS]), READER, OWNER)
    assert (outcome.invitation, outcome.did) == (invitation(roles=[OWNER, READER]), Did.SET_ROLES)
    assert atlas.calls == [("UpdateInvite", INVITATION_ID, OWNER, READER)]


@virtual_time
async def test_an_invitation_that_is_gone_is_read_again() -> None:
    """The PATCH finds nothing: a conflict, so that the next turn reads Atlas."""
    await conflict(set_roles(FakeAtlas(), invitation(), OWNER))


@pytest.mark.parametrize("membership", [Membership.ACTIVE, Membership.PENDING])
@virtual_time
async def test_roles_of_a_user_are_added_before_they_are_removed(membership: Membership) -> None:
    """Read, add missing roles, remove surplus ones: a user never has zero roles."""
    atlas = FakeAtlas()
    atlas.let_in(user(membership, roles=[READER]))
    is_pending = membership is Membership.PENDING
    outcome = await set_roles(atlas, users_invitation() if is_pending else user(), OWNER, STREAMS)
    assert atlas.calls == [
        ("ReadUser", USER_ID),
        ("AddRole", USER_ID, OWNER),
        ("AddRole", USER_ID, STREAMS),
        ("RemoveRole", USER_ID, READER),
    ]
    there = outcome.invitation if is_pending else outcome.member
    assert there is not None
    assert (set(there.roles), outcome.did) == ({OWNER, STREAMS}, Did.SET_ROLES)


@virtual_time
async def test_the_latest_read_decides() -> None:
    """The roles may have changed since they were observed: the difference is taken from the read, and may be none."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[OWNER]))
    outcome = await set_roles(atlas, user(roles=[READER]), OWNER)
    assert outcome.member is not None
    assert (outcome.member.roles, outcome.did) == ((OWNER,), None)
    assert atlas.calls == [("ReadUser", USER_ID)]


@pytest.mark.parametrize(
    "there", [None, user(Membership.ACTIVE), user(Membership.EXPIRED)], ids=["gone", "accepted", "expired"]
)
@virtual_time
async def test_a_pending_user_is_changed_only_while_pending(there: Any) -> None:  # noqa: ANN401 - a user or None
    """The same call would change the access of a person who has just accepted."""
    atlas = FakeAtlas()
    if there is not None:
        atlas.let_in(there)
    await conflict(set_roles(atlas, users_invitation(), OWNER))
    assert atlas.names == ["ReadUser"]


@pytest.mark.parametrize("there", [None, user(Membership.PENDING)], ids=["gone", "pending"])
@virtual_time
async def test_a_member_is_changed_only_while_active(there: Any) -> None:  # noqa: ANN401 - a user or None
    """A person who has left, or was invited again, is read again."""
    atlas = FakeAtlas()
    if there is not None:
        atlas.let_in(there)
    await conflict(set_roles(atlas, user(), OWNER))
    assert atlas.names == ["ReadUser"]


@pytest.mark.parametrize("call", ["AddRole", "RemoveRole"])
@virtual_time
async def test_a_user_who_leaves_in_between_is_read_again(call: str) -> None:
    """Gone between two steps: a conflict, and no further step."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[READER, STREAMS]))
    atlas.faults.before(call, atlas.groups[GROUP_ID].users.clear)
    await conflict(set_roles(atlas, user(), OWNER))
    assert atlas.names[-1] == call
    assert atlas.names.count("RemoveRole") == (call == "RemoveRole")


@virtual_time
async def test_a_person_who_accepts_between_two_steps_keeps_every_role() -> None:
    """A pending user accepts between adding and removing: no role is removed from the member."""
    atlas = FakeAtlas()
    pending = atlas.let_in(user(Membership.PENDING, roles=[READER]))

    def accept() -> None:
        there = atlas.groups[GROUP_ID].users[pending.id]
        atlas.let_in(there.model_copy(update={"org_membership_status": Membership.ACTIVE}))

    atlas.faults.before("AddRole", accept)
    await conflict(set_roles(atlas, pending.as_invitation(), OWNER))
    assert "RemoveRole" not in atlas.names
    assert set(atlas.groups[GROUP_ID].users[pending.id].roles) == {READER, OWNER}


@virtual_time
async def test_atlas_refusal_stops_the_steps() -> None:
    """A role that Atlas does not add ends the steps: nothing is removed."""
    atlas = FakeAtlas()
    atlas.let_in(user())
    atlas.faults.fail("AddRole", Failure(Reason.INVALID_REQUEST, "no", error=error()))
    with pytest.raises(Failure) as caught:
        await set_roles(atlas, user(), OWNER)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert atlas.groups[GROUP_ID].users[USER_ID] == user()


@pytest.mark.parametrize("is_known", [True, False])
@virtual_time
async def test_a_user_who_was_found_by_another_email_is_left(*, is_known: bool) -> None:
    """The list lagged behind a change of the e-mail; a user known by the id may have any e-mail."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[READER]))
    setting = set_roles(atlas, user(username=OTHER_EMAIL), OWNER, is_known=is_known)
    if is_known:
        outcome = await setting
        assert outcome.member is not None
        assert (outcome.member.roles, outcome.did) == ((OWNER,), Did.SET_ROLES)
    else:
        await conflict(setting)
        assert atlas.calls == [("ReadUser", USER_ID)]


@pytest.mark.parametrize("elsewhere", [[READER], [OWNER, READER, STREAMS]])
@virtual_time
async def test_roles_that_somebody_changes_between_two_steps_are_set(elsewhere: list[str]) -> None:
    """Atlas does each step, and returns other roles all the same: the steps from these roles follow."""
    atlas = FakeAtlas()
    atlas.let_in(user(roles=[OWNER]))
    atlas.faults.before("AddRole", lambda: atlas.let_in(user(roles=elsewhere)))
    outcome = await set_roles(atlas, user(), OWNER, READER)
    assert outcome.member is not None
    assert set(outcome.member.roles) == {OWNER, READER}
    assert len(atlas.writes) == 2
