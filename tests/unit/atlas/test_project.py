"""The view of a project: what the client reads before it concludes that something is gone, and which API it uses."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.atlas.errors import (
    AtlasFailure,
    AtlasUnavailable,
    Conflict,
    Gone,
    InvalidRequest,
    ProjectNotFound,
    VersionGone,
)
from atlas_invites.atlas.project import PAGE_SIZE, PAGES, Project
from atlas_invites.atlas.sunset import Mode, Sunset
from atlas_invites.invitation.case import Target
from atlas_invites.invitation.model import Api, Membership, Observation, Operation, View
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.atlas.calls import Call

GROUP = "32b6e34b3d91647abb20e7b8"
JANE = "jane@x.de"


class FakeAtlas:
    """An Atlas that responds by operation, in the order that a test sets, and records calls with e-mail or id."""

    def __init__(self, mode: Mode = "auto") -> None:
        self.asked: list[str] = []
        self.calls: list[Call[Any]] = []
        self.invitations: list[dict[str, Any]] = []
        self.users: list[dict[str, Any]] = []
        self.hidden: set[str] = set()
        self.fails: dict[Operation, AtlasFailure] = {}
        self.page_size = PAGE_SIZE
        self.total: int | None = None
        self.sunset = Sunset(mode, lambda: datetime.now(UTC))

    async def call(self, call: Call[Any]) -> object:
        self.calls.append(call)
        query = dict(call.query)
        username = query.get("username")
        operation, entry_id, read = call.endpoint.operation, call.entry_id, call.endpoint.read
        self.asked.append(" ".join(filter(None, [operation.value, username, entry_id])))
        if (failure := self.fails.get(operation)) is not None:
            raise self.sunset.over(call.group_id, failure) if isinstance(failure, VersionGone) else failure
        match operation:
            case Operation.LIST_INVITES:
                return read(self._matching(self.invitations, username), None)
            case Operation.LIST_USERS:
                found = self._matching(self.users, username)
                page = int(query["pageNum"]) - 1
                shown = found[page * self.page_size : (page + 1) * self.page_size]
                total = len(found) if self.total is None else self.total
                return read({"results": shown, "totalCount": total}, None)
            case Operation.READ_INVITE | Operation.UPDATE_INVITE | Operation.CANCEL_INVITE:
                return read(self._one(self.invitations, entry_id, operation), entry_id)
            case Operation.CREATE_INVITE | Operation.ADD_USER:
                assert call.body is not None
                return read({"id": "new", **call.body}, None)
            case _:
                return read(self._one(self.users, entry_id, operation), entry_id)

    def _matching(self, entries: list[dict[str, Any]], username: str | None) -> list[dict[str, Any]]:
        """Return a list. A full list lags behind what is hidden from it; a list filtered by e-mail does not."""
        if username is None:
            return [entry for entry in entries if entry["id"] not in self.hidden]
        return [entry for entry in entries if str(entry["username"]).lower() == username.lower()]

    @staticmethod
    def _one(entries: list[dict[str, Any]], entry_id: str | None, operation: Operation) -> dict[str, Any]:
        for entry in entries:
            if entry["id"] == entry_id:
                return entry
        raise Gone(operation, "404 INVALID_INVITATION_ID")


def invitation(entry_id: str = "i1", username: str = JANE) -> dict[str, Any]:
    return {"id": entry_id, "username": username, "roles": ["A"]}


def user(entry_id: str = "u1", username: str = JANE, status: str = Membership.ACTIVE) -> dict[str, Any]:
    return {"id": entry_id, "username": username, "roles": ["A"], "orgMembershipStatus": status}


def project(atlas: FakeAtlas) -> Project:
    return Project(atlas, atlas.sunset, GROUP, now)  # type: ignore[arg-type]


def ids(seen: Observation) -> list[str]:
    return [each.id for each in seen.invitations] + [each.id for each in seen.users]


def something(seen: Observation) -> bool:
    """Return whether something exists that has not ended."""
    ended = {Membership.EXPIRED, Membership.REJECTED}
    return bool(seen.invitations) or any(each.org_membership_status not in ended for each in seen.users)


def anything(_: Observation) -> bool:
    return True


async def look(
    view: Project, target: Target, since: float, *, enough: Callable[[Observation], bool] = something
) -> Observation:
    return await view.look(target, since, enough)


LISTS = ["ListInvites", "ListUsers"]


@virtual_time
async def test_a_live_invitation_costs_the_two_lists() -> None:
    """What the lists show needs no confirmation."""
    atlas = FakeAtlas()
    atlas.invitations = [invitation()]
    found = await look(project(atlas), Target(JANE.upper(), "i1"), now())
    assert ids(found) == ["i1"]
    assert atlas.asked == LISTS


@pytest.mark.parametrize(
    ("username", "invitation_id", "asked"),
    [
        (JANE, "i1", ["ReadInvite i1", f"ListInvites {JANE}", f"ListUsers {JANE}"]),
        (JANE, None, [f"ListInvites {JANE}", f"ListUsers {JANE}"]),
        (None, "i1", ["ReadInvite i1"]),
    ],
)
def test_a_list_is_not_enough_to_conclude_gone(
    username: str | None, invitation_id: str | None, asked: list[str]
) -> None:
    """The id and the e-mail are fetched separately before the view is empty; users come last."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        found = await look(project(atlas), Target(username, invitation_id), now())
        assert found == Observation()
        assert atlas.asked == LISTS + asked

    run()


@virtual_time
async def test_a_new_invitation_needs_no_confirmation() -> None:
    """It costs the lists and its POST."""
    atlas = FakeAtlas()
    assert await look(project(atlas), Target(JANE), now(), enough=anything) == Observation(view=View.LISTED)
    assert atlas.asked == LISTS


@pytest.mark.parametrize(
    ("hidden", "username", "invitation_id", "asked"),
    [
        (invitation(), JANE, "i1", ["ReadInvite i1"]),
        (invitation("i2"), JANE, "i1", ["ReadInvite i1", f"ListInvites {JANE}"]),
        (user(), JANE, "i1", ["ReadInvite i1", f"ListInvites {JANE}", f"ListUsers {JANE}"]),
    ],
)
def test_a_list_that_lags_is_not_believed(
    hidden: dict[str, Any], username: str, invitation_id: str, asked: list[str]
) -> None:
    """What a list does not show yet is found by its id or e-mail; then there are no more requests."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        (atlas.users if "orgMembershipStatus" in hidden else atlas.invitations).append(hidden)
        atlas.hidden.add(hidden["id"])
        found = await look(project(atlas), Target(username, invitation_id), now())
        assert ids(found) == [hidden["id"]]
        assert atlas.asked == LISTS + asked

    run()


@virtual_time
async def test_another_entry_does_not_end_the_search() -> None:
    """The lists show somebody, but not the invitee: the id is still fetched."""
    atlas = FakeAtlas()
    atlas.invitations, atlas.users = [invitation()], [user("u2", status=Membership.PENDING)]
    atlas.hidden = {"i1"}
    found = await look(project(atlas), Target(JANE, "i1"), now(), enough=lambda seen: "i1" in ids(seen))
    assert ids(found) == ["i1", "u2"]
    assert atlas.asked == [*LISTS, "ReadInvite i1"]


@virtual_time
async def test_a_member_is_confirmed_by_the_id() -> None:
    """A lagging list does not show a member who has changed the e-mail; a read by id does."""
    atlas = FakeAtlas()
    atlas.users = [user(username="new@x.de")]
    atlas.hidden = {"u1"}
    assert ids(await look(project(atlas), Target(JANE, None, "u1"), now())) == ["u1"]
    assert atlas.asked == [*LISTS, f"ListInvites {JANE}", "ReadUser u1"]


@pytest.mark.parametrize("unreadable", [{"id": 7}, {"username": {"name": "jane"}}, {"id": None}])
@pytest.mark.parametrize("of", ["invitations", "users"])
def test_nothing_is_concluded_from_what_cannot_be_read(unreadable: dict[str, Any], of: str) -> None:
    """An entry without a readable id or e-mail may be anybody's.

    Other entries are used; nothing is concluded to be gone.
    """

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        atlas.invitations, atlas.users = [invitation("i2", "other@x.de")], [user("u2", "other@x.de")]
        getattr(atlas, of).append((invitation if of == "invitations" else user)() | unreadable)
        view = project(atlas)
        assert ids(await look(view, Target("other@x.de"), now())) == ["i2", "u2"]
        seen = await look(view, Target("nobody@x.de"), now(), enough=anything)
        assert seen == Observation(view=View.PARTIAL)

    run()


@pytest.mark.parametrize("operation", [Operation.LIST_INVITES, Operation.LIST_USERS])
def test_an_unreadable_entry_of_the_email_fails_the_fetch(operation: Operation) -> None:
    """An unreadable entry in a list filtered by e-mail may be the invitee's: no view shows it as gone."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        entries = atlas.invitations if operation is Operation.LIST_INVITES else atlas.users
        entries.append({"id": 7, "username": JANE})
        with pytest.raises(AtlasUnavailable) as failed:
            await look(project(atlas), Target(JANE), now())
        assert failed.value.operation is operation

    run()


@virtual_time
async def test_an_ended_invitation_is_confirmed_too() -> None:
    """An expired or rejected user does not prove that nothing else exists."""
    atlas = FakeAtlas()
    atlas.users = [user(status=Membership.REJECTED)]
    atlas.invitations = [invitation()]
    atlas.hidden = {"i1"}
    assert ids(await look(project(atlas), Target(None, "u1"), now())) == ["i1", "u1"]
    assert atlas.asked == [*LISTS, "ReadInvite u1", f"ListInvites {JANE}"]


@virtual_time
async def test_in_users_mode_the_id_is_tried_as_a_user_id() -> None:
    """The Invites API is not called at all."""
    atlas = FakeAtlas("users")
    atlas.users = [user(status=Membership.PENDING)]
    atlas.hidden = {"u1"}
    view = project(atlas)
    assert ids(await look(view, Target(None, "u1"), now())) == ["u1"]
    assert await look(view, Target("other@x.de", "u2"), now()) == Observation()
    assert atlas.asked == ["ListUsers", "ReadUser u1", "ReadUser u2", "ListUsers other@x.de"]


@virtual_time
async def test_the_users_list_is_requested_with_every_status() -> None:
    """Without the filter, expired and rejected users would look gone."""
    atlas = FakeAtlas()
    await look(project(atlas), Target(JANE, "u1"), now())
    lists = [call for call in atlas.calls if call.endpoint.operation is Operation.LIST_USERS]
    assert len(lists) == 2
    for call in lists:
        assert [value for name, value in call.query if name == "orgMembershipStatuses"] == list(Membership)


@virtual_time
async def test_a_list_that_fails_fails_the_fetch() -> None:
    """There is never half a view."""
    for operation in (Operation.LIST_INVITES, Operation.LIST_USERS):
        atlas = FakeAtlas()
        atlas.invitations = [invitation()]
        atlas.fails[operation] = ProjectNotFound(operation, "404 GROUP_NOT_FOUND")
        with pytest.raises(ProjectNotFound):
            await look(project(atlas), Target(JANE), now())


@virtual_time
async def test_a_confirmation_that_fails_fails_the_fetch() -> None:
    """Without it nothing is concluded to be gone."""
    for operation in (Operation.READ_INVITE, Operation.LIST_INVITES, Operation.LIST_USERS):
        atlas = FakeAtlas()
        view = project(atlas)
        await view.snapshot(now())
        atlas.fails[operation] = AtlasUnavailable(operation, "HTTP 503")
        with pytest.raises(AtlasUnavailable):
            await look(view, Target(JANE, "i1"), now())


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (499, 1), (500, 2), (501, 2), (1000, 3), (1001, 3)])
def test_pages_are_read_to_the_end(count: int, pages: int) -> None:
    """500 entries a page; after a full page there may be more, whatever the total says: it is an estimate."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas("users")
        atlas.users = [user(f"u{number}", f"{number}@x.de") for number in range(count)]
        assert len((await project(atlas).list_users()).read) == count
        assert len(atlas.asked) == pages

    run()


@pytest.mark.parametrize(("total", "found"), [(None, 250), (0, 250), (99, 250), (10_000, 250)])
def test_the_total_is_an_estimate(total: int | None, found: int) -> None:
    """A short page is not the last while the total promises more; reading ends if the promise is not kept."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas("users")
        atlas.users = [user(f"u{number}", f"{number}@x.de") for number in range(found)]
        atlas.page_size = 100 if total is None else PAGE_SIZE
        atlas.total = total
        assert len((await project(atlas).list_users()).read) == found

    run()


class Endless(FakeAtlas):
    """Full pages without end: of new users, or of the same users."""

    def __init__(self, *, new: bool) -> None:
        super().__init__("users")
        self.new = new

    async def call(self, call: Call[Any]) -> object:
        self.calls.append(call)
        page = len(self.calls) if self.new else 0
        return call.endpoint.read({"results": [user(f"u{page}-{number}") for number in range(PAGE_SIZE)]}, None)


@virtual_time
async def test_a_list_without_end_ends() -> None:
    """A server that invents users without end is an error; one that repeats a page has no more."""
    atlas = Endless(new=True)
    with pytest.raises(AtlasUnavailable):
        await project(atlas).list_users()
    assert len(atlas.calls) == PAGES
    assert len((await project(Endless(new=False)).list_users()).read) == PAGE_SIZE


GONE = VersionGone(Operation.LIST_INVITES, "410 VERSION_GONE")


@virtual_time
async def test_the_end_of_the_invites_api_switches_the_view() -> None:
    """410 VERSION_GONE: the fetch continues with the Users API, and the Invites API is not called again."""
    atlas = FakeAtlas()
    atlas.users = [user()]
    atlas.fails[Operation.LIST_INVITES] = GONE
    view = project(atlas)
    assert view.api is Api.INVITES
    assert ids(await look(view, Target(JANE), now())) == ["u1"]
    assert (view.api, view.info.api) == (Api.USERS, Api.USERS)
    await asyncio.sleep(1)
    await look(view, Target(JANE), now())
    assert atlas.asked == ["ListInvites", "ListUsers", "ListUsers"]


@virtual_time
async def test_with_only_the_invites_api_the_end_is_an_error() -> None:
    """``--atlas-api invites`` never switches."""
    atlas = FakeAtlas("invites")
    atlas.fails[Operation.LIST_INVITES] = GONE
    view = project(atlas)
    with pytest.raises(InvalidRequest):
        await look(view, Target(JANE), now())
    assert view.api is Api.INVITES


WRITES: list[tuple[Operation, Any]] = [
    (Operation.CREATE_INVITE, lambda view: view.create_invite(JANE, ["A"])),
    (Operation.UPDATE_INVITE, lambda view: view.update_invite("i1", ["A"])),
    (Operation.CANCEL_INVITE, lambda view: view.cancel_invite("i1")),
    (Operation.ADD_USER, lambda view: view.add_user(JANE, ["A"])),
    (Operation.REMOVE_USER, lambda view: view.remove_user("u1")),
    (Operation.ADD_ROLE, lambda view: view.add_role("u1", "A")),
    (Operation.REMOVE_ROLE, lambda view: view.remove_role("u1", "A")),
]


@pytest.mark.parametrize(("operation", "write"), WRITES[:3])
def test_a_write_that_gets_version_gone_asks_for_a_new_read(
    operation: Operation, write: Callable[[Project], Awaitable[object]]
) -> None:
    """It was not carried out; the next read uses the Users API."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        atlas.fails[operation] = VersionGone(operation, "410 VERSION_GONE")
        view = project(atlas)
        with pytest.raises(Conflict):
            await write(view)
        assert view.api is Api.USERS

    run()


@pytest.mark.parametrize(("operation", "write"), WRITES)
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stale_is_shown_after_a_write(
    operation: Operation, write: Callable[[Project], Awaitable[object]], *, fails: bool
) -> None:
    """With or without a response: a later read of the same person is fetched after the write."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        atlas.invitations, atlas.users = [invitation()], [user()]
        view = project(atlas)
        woke = now()
        await look(view, Target(JANE), woke)
        assert atlas.asked == LISTS
        if fails:
            atlas.fails[operation] = AtlasUnavailable.of(operation, "no answer in time")
            with pytest.raises(AtlasUnavailable):
                await write(view)
        else:
            await write(view)
        atlas.asked.clear()
        await look(view, Target(JANE), woke)
        assert atlas.asked == LISTS

    run()


@virtual_time
async def test_a_missing_invitation_or_user_is_none() -> None:
    """For one invitation or user, 'gone' is a result, not a failure."""
    view = project(FakeAtlas())
    assert await view.update_invite("i1", ["A"]) is None
    assert await view.read_invite("i1") is None
    assert await view.cancel_invite("i1") is False
    assert await view.read_user("u1") is None
    assert await view.remove_user("u1") is False
    assert await view.add_role("u1", "A") is None
    assert await view.remove_role("u1", "A") is None


@virtual_time
async def test_an_existing_invitation_or_user_is_returned() -> None:
    """The responses, typed."""
    atlas = FakeAtlas()
    atlas.invitations, atlas.users = [invitation()], [user()]
    view = project(atlas)
    assert (await view.create_invite(JANE, {"B", "A"})).roles == ("A", "B")
    assert (await view.add_user(JANE, ["A"])).username == JANE
    assert await view.cancel_invite("i1") is True
    assert await view.remove_user("u1") is True
    for got in (await view.read_invite("i1"), await view.update_invite("i1", ["A"])):
        assert got is not None
        assert got.id == "i1"
    for seen in (await view.read_user("u1"), await view.add_role("u1", "A"), await view.remove_role("u1", "A")):
        assert seen is not None
        assert seen.id == "u1"
    assert [each.id for each in (await view.list_invites(JANE)).read] == ["i1"]
