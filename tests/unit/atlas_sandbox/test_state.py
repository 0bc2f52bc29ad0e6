"""The state machine of invitations, users and members."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from atlas_sandbox import invites, people, users
from atlas_sandbox.clock import Clock
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import Api, Membership
from atlas_sandbox.project import Lag, Project
from atlas_sandbox.state import State

START = datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)
JANE = "jane@example.com"
READ = ("GROUP_READ_ONLY",)
OWNER = ("GROUP_OWNER",)
ALL = frozenset(Membership)


@pytest.fixture
def clock() -> Clock:
    return Clock(lambda: START)


@pytest.fixture
def state(clock: Clock) -> State:
    numbers = count(1)
    return State(clock, lambda: f"{next(numbers):024x}")


@pytest.fixture
def project(state: State) -> Project:
    return state.add_project("a" * 24, "first")


def code(caught: pytest.ExceptionInfo[AtlasError]) -> tuple[int, str]:
    return caught.value.status, caught.value.code


def test_invitation_lives_thirty_days(state: State, project: Project, clock: Clock) -> None:
    """An invitation exists until the second in which its thirty days are over."""
    sent = invites.create(state, project, JANE, READ, "key")
    assert sent.expires_at - sent.created_at == timedelta(days=30)
    clock.advance(30 * 86400 - 1)
    assert invites.read(state.project(project.id), sent.id) == sent
    clock.advance(1)
    assert invites.listed(state, state.project(project.id)) == []
    with pytest.raises(AtlasError) as caught:
        invites.read(state.project(project.id), sent.id)
    assert code(caught) == (404, "INVALID_INVITATION_ID")
    assert [end.how for end in project.ended] == ["expired"]


def test_update_replaces_roles_only(state: State, project: Project, clock: Clock) -> None:
    """A change of roles replaces the whole set and keeps id and times."""
    sent = invites.create(state, project, JANE, READ, "key")
    clock.advance(3600)
    changed = invites.update(state, project, sent.id, OWNER)
    assert (changed.id, changed.created_at, changed.expires_at) == (sent.id, sent.created_at, sent.expires_at)
    assert changed.roles == OWNER
    assert invites.update_of(state, project, JANE.upper(), READ).roles == READ


@pytest.mark.parametrize(
    ("rule", "status"), [("same", None), ("new", None), ("reject", 400), ("conflict", 409)], ids=str
)
def test_second_invitation_follows_the_rule(state: State, project: Project, rule: str, status: int | None) -> None:
    """A second invitation of a pending e-mail does what the rule says; there are never two."""
    state.rules.duplicate_invite = rule  # type: ignore[assignment]
    first = invites.create(state, project, JANE, READ, "key")
    if status is None:
        second = invites.create(state, project, JANE.title(), OWNER, "key")
        assert (second.id == first.id) is (rule == "same")
        assert second.roles == OWNER
    else:
        with pytest.raises(AtlasError) as caught:
            invites.create(state, project, JANE, OWNER, "key")
        assert caught.value.status == status
    assert len(invites.listed(state, project)) == 1


def test_apis_do_not_see_each_others_pending(state: State, project: Project) -> None:
    """A person who is pending in one API does not exist in the other, and may be invited there too."""
    sent = invites.create(state, project, JANE, READ, "key")
    assert users.listed(state, project, ALL) == []
    user = users.add(state, project, JANE, OWNER, "key")
    assert user.status is Membership.PENDING
    assert [invitation.id for invitation in invites.listed(state, project)] == [sent.id]
    assert [found.id for found in users.listed(state, project)] == [user.id]


def test_acceptance_ends_both_and_activates(state: State, project: Project) -> None:
    """A person who accepts is ACTIVE with the roles of all pending invitations, and pending nowhere."""
    invites.create(state, project, JANE, READ, "key")
    pending = users.add(state, project, JANE, OWNER, "key")
    active = people.accept(state, project, JANE.upper())
    assert (active.status, active.id, active.username) == (Membership.ACTIVE, pending.id, JANE)
    assert set(active.roles) == {*READ, *OWNER}
    assert invites.listed(state, project) == []
    assert users.listed(state, project, {Membership.PENDING}) == []
    assert {(end.api, end.how) for end in project.ended} == {(Api.INVITES, "accepted"), (Api.USERS, "accepted")}


def test_acceptance_joins_the_organization(state: State, project: Project) -> None:
    """Accepting in one project activates what the Users API left pending in another, under one id."""
    other = state.add_project("b" * 24, "second")
    invites.create(state, project, JANE, READ, "key")
    elsewhere = users.add(state, other, JANE, OWNER, "key")
    here = people.accept(state, project, JANE)
    assert [found.status for found in users.listed(state, other)] == [Membership.ACTIVE]
    assert here.id == elsewhere.id == state.members[JANE]


def test_member_is_active_at_once(state: State, project: Project) -> None:
    """A person who is in the organization already is ACTIVE at once, through either API."""
    other = state.add_project("b" * 24, "second")
    state.join_organization(JANE)
    assert users.add(state, project, JANE, READ, "key").status is Membership.ACTIVE
    answer = invites.create(state, other, JANE, READ, "key")
    assert [found.status for found in users.listed(state, other)] == [Membership.ACTIVE]
    with pytest.raises(AtlasError):
        invites.read(other, answer.id)


def test_member_can_stay_pending(state: State, project: Project) -> None:
    """With the other rule, a POST to the Invites API leaves a member pending until it is accepted."""
    state.rules.member_invite = "pending"
    state.join_organization(JANE)
    sent = invites.create(state, project, JANE, READ, "key")
    assert invites.read(project, sent.id) == sent
    assert users.listed(state, project, ALL) == []


@pytest.mark.parametrize("api", list(Api), ids=str)
def test_active_user_is_not_invited_again(state: State, project: Project, api: Api) -> None:
    """Inviting an ACTIVE user is a conflict in both APIs."""
    users.add(state, project, JANE, READ, "key")
    people.accept(state, project, JANE)
    add = invites.create if api is Api.INVITES else users.add
    with pytest.raises(AtlasError) as caught:
        add(state, project, JANE.upper(), READ, "key")
    assert code(caught) == (409, "USER_ALREADY_IN_GROUP")


def test_pending_user_is_a_conflict(state: State, project: Project) -> None:
    """Adding a user who is pending is a conflict."""
    users.add(state, project, JANE, READ, "key")
    with pytest.raises(AtlasError) as caught:
        users.add(state, project, JANE, READ, "key")
    assert caught.value.status == 409


def test_users_invitation_expires_into_a_status(state: State, project: Project, clock: Clock) -> None:
    """A Users API invitation that nobody accepted is listed as INVITATION_EXPIRED on request, and can be replaced."""
    sent = users.add(state, project, JANE, READ, "key")
    clock.advance(30 * 86400)
    project = state.project(project.id)
    assert users.listed(state, project) == []
    assert [user.status for user in users.listed(state, project, ALL)] == [Membership.INVITATION_EXPIRED]
    again = users.add(state, project, JANE, READ, "key")
    assert again.id != sent.id
    assert [user.status for user in users.listed(state, project, ALL)] == [Membership.PENDING]


def test_declining_rejects(state: State, project: Project) -> None:
    """A declined invitation is gone from the Invites API, and INVITATION_REJECTED, without an end, in the Users API."""
    invites.create(state, project, JANE, READ, "key")
    users.add(state, project, JANE, READ, "key")
    people.decline(state, project, JANE)
    assert invites.listed(state, project) == []
    (rejected,) = users.listed(state, project, ALL)
    assert (rejected.status, rejected.expires_at) == (Membership.INVITATION_REJECTED, None)


def test_expiring_on_demand(state: State, project: Project) -> None:
    """An invitation can be made to expire before its time."""
    invites.create(state, project, JANE, READ, "key")
    users.add(state, project, JANE, READ, "key")
    people.expire(state, project, JANE)
    assert invites.listed(state, project) == []
    (expired,) = users.listed(state, project, ALL)
    assert (expired.status, expired.expires_at) == (Membership.INVITATION_EXPIRED, START)


@pytest.mark.parametrize("act", [people.accept, people.decline, people.expire])
def test_only_pending_people_can_respond(state: State, project: Project, act: object) -> None:
    """Nobody can accept, decline or let expire what is not pending."""
    assert callable(act)
    with pytest.raises(AtlasError) as caught:
        act(state, project, JANE)
    assert caught.value.status == 404


def test_last_role_stays(state: State, project: Project) -> None:
    """A user never loses the last role; adding a role that is held and removing one that is not change nothing."""
    user = users.add(state, project, JANE, READ, "key")
    with pytest.raises(AtlasError) as caught:
        users.remove_role(state, project, user.id, READ[0])
    assert caught.value.status == 409
    assert users.add_role(state, project, user.id, READ[0]) == user
    assert users.remove_role(state, project, user.id, OWNER[0]) == user
    assert users.add_role(state, project, user.id, OWNER[0]).roles == (*READ, *OWNER)
    assert users.remove_role(state, project, user.id, READ[0]).roles == OWNER


def test_removal_keeps_the_member(state: State, project: Project) -> None:
    """Removing an ACTIVE user from a project leaves a member of the organization.

    Added again, the member is ACTIVE at once.
    """
    users.add(state, project, JANE, READ, "key")
    active = people.accept(state, project, JANE)
    users.remove(state, project, active.id)
    assert users.listed(state, project, ALL) == []
    assert users.add(state, project, JANE, READ, "key").status is Membership.ACTIVE
    people.remove(state, project, JANE)
    state.leave_organization(JANE)
    assert users.add(state, project, JANE, READ, "key").status is Membership.PENDING


@pytest.mark.parametrize(
    "written", ["jane@XN--BCHER-KVA.example", "JANE@b\u00fccher.example", "jane@bu\u0308cher.example"]
)
def test_forms_of_an_email_are_one_person(state: State, project: Project, written: str) -> None:
    """An e-mail is found in any case, any normal form, and with its domain as punycode; it is shown as written."""
    sent = invites.create(state, project, "jane@b\u00fccher.example", READ, "key")
    assert invites.listed(state, project, written) == [sent]
    assert people.accept(state, project, written).username == sent.username


def test_a_domain_that_is_no_host_name_is_compared_unchanged(state: State, project: Project) -> None:
    """An e-mail whose domain has no punycode form is compared as it is written."""
    sent = invites.create(state, project, "jane@b\u00fc..example", READ, "key")
    assert invites.listed(state, project, "JANE@b\u00fc..example") == [sent]


def test_a_renamed_member_is_the_same_person(state: State, project: Project) -> None:
    """A member with another e-mail keeps id, roles and status in every project; the old e-mail belongs to nobody."""
    other = state.add_project("b" * 24, "second")
    state.join_organization(JANE)
    before = [users.add(state, where, JANE, READ, "key") for where in (project, other)]
    assert state.rename_member(JANE.upper(), "Joan@example.com") == before[0].id
    after = [users.read(where, before[0].id) for where in (project, other)]
    assert after == [replace(user, username="Joan@example.com") for user in before]
    assert users.listed(state, project, username="joan@example.com") == after[:1]
    assert users.listed(state, project, username=JANE) == []
    assert state.members == {"joan@example.com": before[0].id}


def test_the_old_email_is_free_for_another_person(state: State, project: Project) -> None:
    """A person who accepts, or is added, under the old e-mail of a renamed member is another person with another id."""
    member_id = users.add(state, project, JANE, READ, "key").id
    people.accept(state, project, JANE)
    state.rename_member(JANE, "joan@example.com")
    invites.create(state, project, JANE, READ, "key")
    assert people.accept(state, project, JANE).id != member_id
    assert {user.username for user in users.listed(state, project)} == {JANE, "joan@example.com"}


def test_a_renamed_member_keeps_indirect_access(state: State, project: Project) -> None:
    """A member who reaches a project through a team also reaches it under the new e-mail."""
    people.reach(state, project, JANE, READ, "team")
    state.rename_member(JANE, "joan@example.com")
    assert [user.username for user in users.listed(state, project, also=["team"])] == ["joan@example.com"]


def test_only_a_member_takes_only_a_free_email(state: State, project: Project) -> None:
    """Only a member can be renamed, and not to an e-mail that is a member's or pending; another spelling is free."""
    with pytest.raises(AtlasError) as caught:
        state.rename_member(JANE, "joan@example.com")
    assert code(caught) == (404, "RESOURCE_NOT_FOUND")
    state.join_organization(JANE)
    state.join_organization("member@example.com")
    invites.create(state, project, "invited@example.com", READ, "key")
    users.add(state, project, "pending@example.com", READ, "key")
    for taken in ("Member@example.com", "invited@example.com", "pending@example.com"):
        with pytest.raises(AtlasError) as caught:
            state.rename_member(JANE, taken)
        assert code(caught) == (409, "USERNAME_IN_USE")
    state.rename_member(JANE, JANE.upper())


def test_a_lagging_list_shows_the_old_email(state: State, project: Project, clock: Clock) -> None:
    """A lagging list shows a renamed member with the old e-mail; a read by id shows the new one."""
    user = users.add(state, project, JANE, READ, "key")
    people.accept(state, project, JANE)
    state.set_lag(Lag(seconds=10))
    state.rename_member(JANE, "joan@example.com")
    assert [found.username for found in users.listed(state, project)] == [JANE]
    assert users.read(project, user.id).username == "joan@example.com"
    clock.advance(10)
    assert [found.username for found in users.listed(state, project)] == ["joan@example.com"]


def test_canceling_leaves_no_trace(state: State, project: Project) -> None:
    """A canceled invitation is gone from its API, whichever that is."""
    sent = invites.create(state, project, JANE, READ, "key")
    user = users.add(state, project, JANE, READ, "key")
    invites.cancel(state, project, sent.id)
    users.remove(state, project, user.id)
    assert invites.listed(state, project) == []
    assert users.listed(state, project, ALL) == []
    assert [end.how for end in project.ended] == ["cancelled", "cancelled"]


def test_indirect_access_is_not_membership(state: State, project: Project) -> None:
    """A person who reaches a project through a team is listed only on request, and cannot be invited."""
    people.reach(state, project, JANE, READ, "team")
    assert users.listed(state, project) == []
    assert [user.username for user in users.listed(state, project, also=["team"])] == [JANE]
    assert users.listed(state, project, username=JANE, also=["organization"]) == []
    with pytest.raises(AtlasError) as caught:
        users.add(state, project, JANE, READ, "key")
    assert caught.value.status == 409
    people.remove(state, project, JANE)
    assert users.listed(state, project, also=["team"]) == []


def test_lists_lag_by_seconds(state: State, project: Project, clock: Clock) -> None:
    """A list shows the state before a change until the lag is over; a read by id and a filtered list are current."""
    old = invites.create(state, project, "old@example.com", READ, "key")
    state.set_lag(Lag(seconds=10))
    new = invites.create(state, project, JANE, READ, "key")
    invites.cancel(state, project, old.id)
    assert [found.id for found in invites.listed(state, project)] == [old.id]
    assert invites.read(project, new.id) == new
    assert invites.listed(state, project, JANE) == [new]
    clock.advance(10)
    assert [found.id for found in invites.listed(state, project)] == [new.id]


def test_lists_lag_by_calls(state: State, project: Project) -> None:
    """A change is missing from the next lists, as many as the lag says; also from filtered lists if the lag says so."""
    state.set_lag(Lag(calls=2, filtered=True))
    user = users.add(state, project, JANE, READ, "key")
    assert users.listed(state, project) == []
    assert users.listed(state, project, username=JANE) == []
    assert users.listed(state, project, username=JANE) == [user]


def test_several_changes_lag_in_order(state: State, project: Project, clock: Clock) -> None:
    """Two changes of one record become visible one after the other."""
    state.set_lag(Lag(seconds=10))
    sent = invites.create(state, project, JANE, READ, "key")
    clock.advance(6)
    invites.update(state, project, sent.id, OWNER)
    assert invites.listed(state, project) == []
    clock.advance(6)
    assert [found.roles for found in invites.listed(state, project)] == [READ]
    clock.advance(6)
    assert [found.roles for found in invites.listed(state, project)] == [OWNER]


def test_unknown_project(state: State) -> None:
    """A missing project is GROUP_NOT_FOUND, which is never the same as a missing invitation."""
    with pytest.raises(AtlasError) as caught:
        state.project("c" * 24)
    assert code(caught) == (404, "GROUP_NOT_FOUND")
