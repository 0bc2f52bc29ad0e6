"""The view of a project: what is asked of Atlas before anything is said to be gone, and which API is asked."""

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
from atlas_invites.atlas.project import PAGES, Project
from atlas_invites.atlas.sunset import Mode, Sunset
from atlas_invites.atlas.users import PAGE_SIZE
from atlas_invites.invitation.model import Api, Membership, Operation, Seen
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.atlas.calls import Call

GROUP = "32b6e34b3d91647abb20e7b8"
JANE = "jane@x.de"


class FakeAtlas:
    """Answers by operation, in the order that a test lays out; notes what was asked, with the e-mail or id."""

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

    async def call(self, _: object, call: Call[Any]) -> object:
        self.calls.append(call)
        query = dict(call.query)
        username = query.get("username")
        entry_id = call.path.rpartition("/")[2].partition(":")[0] if call.path.count("/") == 2 else None
        self.asked.append(" ".join(filter(None, [call.operation.value, username, entry_id])))
        if (failure := self.fails.get(call.operation)) is not None:
            raise failure
        match call.operation:
            case Operation.LIST_INVITES:
                return call.parse(self._matching(self.invitations, username))
            case Operation.LIST_USERS:
                found = self._matching(self.users, username)
                page = int(query["pageNum"]) - 1
                shown = found[page * self.page_size : (page + 1) * self.page_size]
                return call.parse({"results": shown, "totalCount": len(found) if self.total is None else self.total})
            case Operation.READ_INVITE | Operation.UPDATE_INVITE | Operation.CANCEL_INVITE:
                return call.parse(self._one(self.invitations, entry_id, call.operation))
            case Operation.CREATE_INVITE | Operation.ADD_USER:
                assert call.body is not None
                return call.parse({"id": "new", **call.body})
            case _:
                return call.parse(self._one(self.users, entry_id, call.operation))

    def _matching(self, entries: list[dict[str, Any]], username: str | None) -> list[dict[str, Any]]:
        """Return a list: a whole one lags behind what is hidden from it, one of an e-mail does not."""
        if username is None:
            return [entry for entry in entries if entry["id"] not in self.hidden]
        return [entry for entry in entries if entry["username"].lower() == username.lower()]

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
    return Project(atlas, None, GROUP, now)  # type: ignore[arg-type]


def ids(seen: Seen) -> list[str]:
    return [each.id for each in seen.invitations] + [each.id for each in seen.users]


LISTS = ["ListInvites", "ListUsers"]


@virtual_time
async def test_a_live_one_costs_the_two_lists() -> None:
    """What the lists show needs no confirmation."""
    atlas = FakeAtlas()
    atlas.invitations = [invitation()]
    found = await project(atlas).look(username=JANE.upper(), invitation_id="i1", since=now())
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
def test_gone_is_never_concluded_from_a_list_alone(
    username: str | None, invitation_id: str | None, asked: list[str]
) -> None:
    """The id and the e-mail are asked for by themselves before an empty look is returned: users last."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        found = await project(atlas).look(username=username, invitation_id=invitation_id, since=now())
        assert found == Seen()
        assert atlas.asked == LISTS + asked

    run()


@virtual_time
async def test_what_was_never_there_needs_no_confirmation() -> None:
    """A new invitation costs the lists and its POST."""
    atlas = FakeAtlas()
    assert await project(atlas).look(username=JANE, invitation_id=None, since=now(), confirm=False) == Seen()
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
    """What a list does not show yet is found by its id or e-mail, and nothing more is asked then."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        (atlas.users if "orgMembershipStatus" in hidden else atlas.invitations).append(hidden)
        atlas.hidden.add(hidden["id"])
        found = await project(atlas).look(username=username, invitation_id=invitation_id, since=now())
        assert ids(found) == [hidden["id"]]
        assert atlas.asked == LISTS + asked

    run()


@virtual_time
async def test_an_ended_one_is_confirmed_too() -> None:
    """An expired or rejected user is no reason to believe that nothing else is there."""
    atlas = FakeAtlas()
    atlas.users = [user(status=Membership.REJECTED)]
    atlas.invitations = [invitation()]
    atlas.hidden = {"i1"}
    assert ids(await project(atlas).look(username=None, invitation_id="u1", since=now())) == ["i1", "u1"]
    assert atlas.asked == [*LISTS, "ReadInvite u1", f"ListInvites {JANE}"]


@virtual_time
async def test_in_users_mode_the_id_is_tried_as_a_users() -> None:
    """The invites API is not called at all."""
    atlas = FakeAtlas("users")
    atlas.users = [user(status=Membership.PENDING)]
    atlas.hidden = {"u1"}
    view = project(atlas)
    assert ids(await view.look(username=None, invitation_id="u1", since=now())) == ["u1"]
    assert await view.look(username="other@x.de", invitation_id="u2", since=now()) == Seen()
    assert atlas.asked == ["ListUsers", "ReadUser u1", "ReadUser u2", "ListUsers other@x.de"]


@virtual_time
async def test_the_users_list_is_asked_for_in_every_status() -> None:
    """Without the filter expired and rejected ones would look gone."""
    atlas = FakeAtlas()
    await project(atlas).look(username=JANE, invitation_id="u1", since=now())
    lists = [call for call in atlas.calls if call.operation is Operation.LIST_USERS]
    assert len(lists) == 2
    for call in lists:
        assert [value for name, value in call.query if name == "orgMembershipStatuses"] == list(Membership)


@virtual_time
async def test_a_list_that_fails_fails_the_look() -> None:
    """No half view is ever shown."""
    for operation in (Operation.LIST_INVITES, Operation.LIST_USERS):
        atlas = FakeAtlas()
        atlas.invitations = [invitation()]
        atlas.fails[operation] = ProjectNotFound(operation, "404 GROUP_NOT_FOUND")
        with pytest.raises(ProjectNotFound):
            await project(atlas).look(username=JANE, invitation_id=None, since=now())


@virtual_time
async def test_a_confirmation_that_fails_fails_the_look() -> None:
    """Nothing is said to be gone without it."""
    for operation in (Operation.READ_INVITE, Operation.LIST_INVITES, Operation.LIST_USERS):
        atlas = FakeAtlas()
        view = project(atlas)
        await view.snapshot(now())
        atlas.fails[operation] = AtlasUnavailable(operation, "HTTP 503")
        with pytest.raises(AtlasUnavailable):
            await view.look(username=JANE, invitation_id="i1", since=now())


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (499, 1), (500, 2), (501, 2), (1000, 3), (1001, 3)])
def test_pages_are_read_to_the_end(count: int, pages: int) -> None:
    """500 a page; after a full one there may be more, whatever the total says: it is an estimate."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas("users")
        atlas.users = [user(f"u{number}", f"{number}@x.de") for number in range(count)]
        assert len(await project(atlas).list_users()) == count
        assert len(atlas.asked) == pages

    run()


@pytest.mark.parametrize(("total", "found"), [(None, 250), (0, 250), (99, 250), (10_000, 250)])
def test_the_total_is_an_estimate(total: int | None, found: int) -> None:
    """A page shorter than asked for is not the last while more is promised; a promise that is not kept ends."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas("users")
        atlas.users = [user(f"u{number}", f"{number}@x.de") for number in range(found)]
        atlas.page_size = 100 if total is None else PAGE_SIZE
        atlas.total = total
        assert len(await project(atlas).list_users()) == found

    run()


class Endless(FakeAtlas):
    """Full pages for ever: of new users, or of the same."""

    def __init__(self, *, new: bool) -> None:
        super().__init__("users")
        self.new = new

    async def call(self, _: object, call: Call[Any]) -> object:
        self.calls.append(call)
        page = len(self.calls) if self.new else 0
        return call.parse({"results": [user(f"u{page}-{number}") for number in range(PAGE_SIZE)]})


@virtual_time
async def test_a_list_without_end_ends() -> None:
    """A server that makes up users for ever is not believed; one that repeats a page has no more."""
    atlas = Endless(new=True)
    with pytest.raises(AtlasUnavailable):
        await project(atlas).list_users()
    assert len(atlas.calls) == PAGES
    assert len(await project(Endless(new=False)).list_users()) == PAGE_SIZE


GONE = VersionGone(Operation.LIST_INVITES, "410 VERSION_GONE")


@virtual_time
async def test_the_end_of_the_invites_api_switches_the_view() -> None:
    """410 VERSION_GONE: the look goes on with the users API, and the invites API is not asked again."""
    atlas = FakeAtlas()
    atlas.users = [user()]
    atlas.fails[Operation.LIST_INVITES] = GONE
    view = project(atlas)
    assert view.api is Api.INVITES
    assert ids(await view.look(username=JANE, invitation_id=None, since=now())) == ["u1"]
    assert (view.api, view.info.api) == (Api.USERS, Api.USERS)
    await asyncio.sleep(1)
    await view.look(username=JANE, invitation_id=None, since=now())
    assert atlas.asked == ["ListInvites", "ListUsers", "ListUsers"]


@virtual_time
async def test_with_invites_alone_the_end_is_an_error() -> None:
    """``--atlas-api invites`` never switches."""
    atlas = FakeAtlas("invites")
    atlas.fails[Operation.LIST_INVITES] = GONE
    view = project(atlas)
    with pytest.raises(InvalidRequest):
        await view.look(username=JANE, invitation_id=None, since=now())
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
def test_a_write_that_meets_the_end_asks_to_look_again(
    operation: Operation, write: Callable[[Project], Awaitable[object]]
) -> None:
    """It was not carried out; the next look is the users API's."""

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
    """Whether it was answered or not: who looks at the same person is shown what was fetched after it."""

    @virtual_time
    async def run() -> None:
        atlas = FakeAtlas()
        atlas.invitations, atlas.users = [invitation()], [user()]
        view = project(atlas)
        woke = now()
        await view.look(username=JANE, invitation_id=None, since=woke)
        assert atlas.asked == LISTS
        if fails:
            atlas.fails[operation] = AtlasUnavailable.of(operation, "no answer in time")
            with pytest.raises(AtlasUnavailable):
                await write(view)
        else:
            await write(view)
        atlas.asked.clear()
        await view.look(username=JANE, invitation_id=None, since=woke)
        assert atlas.asked == LISTS

    run()


@virtual_time
async def test_what_is_not_there_is_none() -> None:
    """For one invitation or user 'gone' is an answer, not a failure."""
    view = project(FakeAtlas())
    assert await view.update_invite("i1", ["A"]) is None
    assert await view.read_invite("i1") is None
    assert await view.cancel_invite("i1") is False
    assert await view.read_user("u1") is None
    assert await view.remove_user("u1") is False
    assert await view.add_role("u1", "A") is None
    assert await view.remove_role("u1", "A") is None


@virtual_time
async def test_what_is_there_is_returned() -> None:
    """The answers, typed."""
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
    assert [each.id for each in await view.list_invites(JANE)] == ["i1"]
