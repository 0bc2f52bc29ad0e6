"""Hypothesis runs the state machine of the sandbox, and looks for impossible states."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from atlas_sandbox import invites, people, users
from atlas_sandbox.clock import Clock
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import Api, Membership
from atlas_sandbox.project import Lag
from atlas_sandbox.state import State
from tests.unit.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_sandbox.model import Invitation, User
    from atlas_sandbox.project import Project

T = TypeVar("T")

PROJECTS = ("a" * 24, "b" * 24)
EMAILS = ("ann@example.com", "BOB@example.com", "bob@Example.com")
ALL = frozenset(Membership)

project_ids = st.sampled_from(PROJECTS)
emails = st.sampled_from(EMAILS)
role = st.sampled_from(ROLES[:4])
chosen = st.integers(0, 9)
roles = st.lists(role, min_size=1, max_size=3, unique=True).map(tuple)
acts = st.sampled_from([people.accept, people.accept, people.decline, people.expire, people.remove])


class Atlas(RuleBasedStateMachine):
    """Clients of both APIs, people, and the clock, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(lambda: datetime(2026, 8, 10, tzinfo=UTC))
        numbers = count(1)
        self.given: list[str] = []

        def new_id() -> str:
            self.given.append(f"{next(numbers):024x}")
            return self.given[-1]

        self.state = State(self.clock, new_id)
        self.known: list[str] = []

    @initialize(
        duplicate=st.sampled_from(["same", "new", "reject", "conflict"]),
        member=st.sampled_from(["active", "pending"]),
        lag=st.sampled_from([Lag(), Lag(seconds=7), Lag(calls=2, filtered=True)]),
    )
    def begin(self, duplicate: str, member: str, lag: Lag) -> None:
        """Begin with two empty projects, with any rules."""
        self.state.rules.duplicate_invite = duplicate  # type: ignore[assignment]
        self.state.rules.member_invite = member  # type: ignore[assignment]
        for project_id in PROJECTS:
            self.state.add_project(project_id, project_id[:1])
        self.state.set_lag(lag)

    @rule(project_id=project_ids, email=emails, granted=roles, api=st.sampled_from(Api))
    def send(self, project_id: str, email: str, granted: tuple[str, ...], api: Api) -> None:
        """A person is invited through one of the APIs; the response has the requested roles."""
        project = self.state.project(project_id)
        pending, user = project.invitations.of(email), project.users.of(email)
        live = user is not None and user.status in users.LIVE
        active = live and user is not None and user.status is Membership.ACTIVE
        conflict = live if api is Api.USERS else pending is not None
        send: Callable[..., Invitation | User] = invites.create if api is Api.INVITES else users.add
        inside = active or email.lower() in project.indirect
        at_once = email.lower() in self.state.members and not (
            api is Api.INVITES and (pending is not None or self.state.rules.member_invite == "pending")
        )
        record = self.attempt(lambda: send(self.state, project, email, granted, "key"))
        if record is None:
            assert conflict or inside
            return
        self.known.append(record.id)
        assert record.roles == granted
        assert not inside
        assert not (api is Api.USERS and conflict)
        after = project.users.of(email)
        assert (after is not None and after.status is Membership.ACTIVE) is at_once

    @rule(project_id=project_ids, chosen=chosen, granted=roles)
    def update(self, project_id: str, chosen: int, granted: tuple[str, ...]) -> None:
        """The roles of an invitation are replaced; nothing else of it changes."""
        project = self.state.project(project_id)
        invitation_id = self.pick(project.invitations.all(), chosen)
        before = project.invitations.get(invitation_id)
        after = self.attempt(lambda: invites.update(self.state, project, invitation_id, granted))
        assert (after is None) is (before is None)
        if before is not None and after is not None:
            assert (after.id, after.created_at, after.expires_at) == (before.id, before.created_at, before.expires_at)
            assert after.roles == granted

    @rule(project_id=project_ids, chosen=chosen)
    def cancel(self, project_id: str, chosen: int) -> None:
        """An invitation is canceled; then it is gone."""
        project = self.state.project(project_id)
        invitation_id = self.pick(project.invitations.all(), chosen)
        self.attempt(lambda: invites.cancel(self.state, project, invitation_id))
        assert self.attempt(lambda: invites.read(project, invitation_id)) is None

    @rule(project_id=project_ids, chosen=chosen, changed=role, add=st.booleans())
    def change_role(self, project_id: str, chosen: int, changed: str, add: bool) -> None:  # noqa: FBT001 - drawn
        """A user gets or loses one role."""
        project = self.state.project(project_id)
        user_id = self.pick(project.users.all(), chosen)
        change = users.add_role if add else users.remove_role
        after = self.attempt(lambda: change(self.state, project, user_id, changed))
        if after is not None:
            assert (changed in after.roles) is add

    @rule(project_id=project_ids, chosen=chosen)
    def remove(self, project_id: str, chosen: int) -> None:
        """A user is removed, without a trace."""
        project = self.state.project(project_id)
        user_id = self.pick(project.users.all(), chosen)
        before = project.users.get(user_id)
        self.attempt(lambda: users.remove(self.state, project, user_id))
        live = before is not None and before.status in users.LIVE
        assert (project.users.get(user_id) is None) is (live or before is None)

    @rule(project_id=project_ids, email=emails, act=acts)
    def answer(self, project_id: str, email: str, act: Callable[[State, Project, str], object]) -> None:
        """A person accepts, declines, lets the invitation expire, or is removed."""
        project = self.state.project(project_id)
        self.attempt(lambda: act(self.state, project, email))

    @rule(project_id=project_ids, email=emails, granted=roles)
    def reach(self, project_id: str, email: str, granted: tuple[str, ...]) -> None:
        """A person gets access to a project through a team."""
        project = self.state.project(project_id)
        self.attempt(lambda: people.reach(self.state, project, email, granted, "team"))

    @rule(email=emails, join=st.booleans())
    def change_membership(self, email: str, join: bool) -> None:  # noqa: FBT001 - drawn
        """A person joins or leaves the organization."""
        (self.state.join_organization if join else self.state.leave_organization)(email)

    @rule(email=emails, new_email=st.sampled_from([*EMAILS, "eve@example.com"]))
    def rename(self, email: str, new_email: str) -> None:
        """A member of the organization changes the e-mail, and stays the same person."""
        before = self.state.members.get(email.lower())
        member_id = self.attempt(lambda: self.state.rename_member(email, new_email))
        if member_id is not None:
            assert member_id == before == self.state.members[new_email.lower()]

    @rule(seconds=st.sampled_from([1, 5, 86400, 29 * 86400, 30 * 86400]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @invariant()
    def nothing_impossible(self) -> None:
        """The two APIs never show contradictory, expired, empty or duplicate entries."""
        for project_id in self.state.projects:
            project = self.state.project(project_id)
            pending = project.invitations.all()
            members = project.users.all()
            self.check_unique([record.username.lower() for record in pending])
            self.check_unique([record.username.lower() for record in members])
            self.check_unique([record.id for record in self.records(pending, members)])
            shown = {record.id for record in self.records(pending, members)}
            found = {given for given in self.given if project.invitations.get(given) or project.users.get(given)}
            assert found == shown
            active = {user.username.lower() for user in members if user.status is Membership.ACTIVE}
            assert active.isdisjoint(invitation.username.lower() for invitation in pending)
            assert active <= self.state.members.keys()
            for invitation in pending:
                assert invitation.expires_at > self.clock()
                assert invites.read(project, invitation.id) == invitation
            for user in members:
                self.check_user(user)
            for record in self.records(pending, members):
                assert record.roles
                assert len(set(record.roles)) == len(record.roles)
            for invitation in invites.listed(self.state, project):
                assert invitation.expires_at > self.clock()

    @invariant()
    def ids_are_unique(self) -> None:
        """Each id is unique; a person has the same id in all projects."""
        self.check_unique(self.given)
        shown: dict[str, set[str]] = {}
        for project in self.state.projects.values():
            for user in project.users.all():
                if user.status in users.LIVE:
                    shown.setdefault(user.username.lower(), set()).add(user.id)
        assert all(len(ids) == 1 for ids in shown.values())

    def check_user(self, user: User) -> None:
        match user.status:
            case Membership.PENDING:
                assert user.expires_at is not None
                assert user.expires_at > self.clock()
                assert user.username.lower() not in self.state.members
            case Membership.INVITATION_EXPIRED:
                assert user.expires_at is not None
                assert user.expires_at <= self.clock()
            case Membership.INVITATION_REJECTED:
                assert user.expires_at is None
            case Membership.ACTIVE:
                assert user.joined_at is not None

    def check_unique(self, values: list[str]) -> None:
        assert len(set(values)) == len(values)

    def records(self, pending: list[Invitation], members: list[User]) -> list[Invitation | User]:
        return [*pending, *members]

    def pick(self, records: Sequence[Invitation | User], chosen: int) -> str:
        """Return the id of one of these records, a former id, or an unknown id."""
        ids = [*(record.id for record in records), *self.known[-1:], "f" * 24]
        return ids[chosen % len(ids)]

    def attempt(self, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except AtlasError as error:
            refused = error
        assert refused.status in {400, 404, 409}
        return None


Atlas.TestCase.settings = settings(max_examples=300, stateful_step_count=50, derandomize=True, deadline=None)
TestAtlas = Atlas.TestCase
