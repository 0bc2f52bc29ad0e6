"""How fetches are shared, and what a snapshot shows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.atlas.calls import Entries
from atlas_invites.atlas.errors import AtlasUnavailable
from atlas_invites.atlas.view import FETCHES, FETCHES_IN, RETAINED, Index, SharedLists, Snapshot, joined
from atlas_invites.invitation.case import Target
from atlas_invites.invitation.model import Invitation, Membership, Observation, Operation, User, View
from tests.unit.virtual_time import now, settle, virtual_time


def invitation(entry_id: str, username: str | None = None) -> Invitation:
    return Invitation(id=entry_id, username=username)


def user(entry_id: str, username: str, status: str = Membership.ACTIVE) -> User:
    return User(id=entry_id, username=username, org_membership_status=status)


@dataclass(frozen=True)
class Dated(Snapshot):
    """A snapshot, and the time its fetch began."""

    began: float = 0.0


def snapshot(invitations: list[Invitation], users: list[User], began: float = 0.0) -> Dated:
    return Dated(Index(Entries(tuple(invitations))), Index(Entries(tuple(users))), began)


def ids(seen: Observation) -> tuple[list[str], list[str]]:
    return [each.id for each in seen.invitations], [each.id for each in seen.users]


FULL = snapshot(
    [invitation("i1", "Jane@x.de"), invitation("i2", "john@x.de"), invitation("i3")],
    [user("u1", "jane@X.de"), user("u2", "other@x.de", Membership.REJECTED), user("u3", "")],
)


@pytest.mark.parametrize(
    ("username", "invitation_id", "expected"),
    [
        ("jane@x.de", None, (["i1"], ["u1"])),
        ("JANE@X.DE", "i1", (["i1"], ["u1"])),
        (None, "i1", (["i1"], ["u1"])),
        (None, "u1", (["i1"], ["u1"])),
        (None, "u2", ([], ["u2"])),
        ("jane@x.de", "i2", (["i2", "i1"], ["u1"])),
        (None, "i3", (["i3"], [])),
        ("nobody@x.de", "nothing", ([], [])),
        ("", None, ([], [])),
        (None, None, ([], [])),
    ],
)
def test_every_candidate_is_found(
    username: str | None, invitation_id: str | None, expected: tuple[list[str], list[str]]
) -> None:
    """By id, by e-mail in any case, and by the e-mail of the entry with that id."""
    found = FULL.find(Target(username, invitation_id))
    assert (sorted(ids(found)[0]), sorted(ids(found)[1])) == (sorted(expected[0]), sorted(expected[1]))


SAME_EMAIL = [
    ("jane@bücher.example", "Jane@xn--bcher-kva.example"),
    ("Jane@xn--bcher-kva.example", "jane@bücher.example"),
    ("jos\u00e9@example.com", "jose\u0301@example.com"),
]


@pytest.mark.parametrize(("listed", "asked"), SAME_EMAIL)
def test_an_email_is_found_in_any_form(listed: str, asked: str) -> None:
    """A domain in Unicode or in IDNA form, an accent as one character or as two."""
    full = snapshot([invitation("i1", listed)], [user("u1", asked), user("u2", listed)])
    assert ids(full.find(Target(asked))) == (["i1"], ["u1", "u2"])
    assert ids(full.find(Target(None, "i1"))) == (["i1"], ["u1", "u2"])


def test_a_member_is_found_by_the_id_whatever_the_email() -> None:
    """A member who has changed the e-mail is still found, and so is the person who has the old e-mail now."""
    assert ids(FULL.find(Target("jane@x.de", None, "u2"))) == (["i1"], ["u2", "u1"])


@pytest.mark.parametrize(
    ("invitations", "users", "view"),
    [(True, True, View.LISTED), (False, True, View.PARTIAL), (True, False, View.PARTIAL)],
)
def test_an_unreadable_entry_makes_a_partial_view(view: View, *, invitations: bool, users: bool) -> None:
    """What such lists do not show may be the entry that could not be read."""
    partial = Snapshot(Index(Entries((), complete=invitations)), Index(Entries((), complete=users)))
    assert partial.find(Target("jane@x.de")) == Observation(view=view)


def test_joined_keeps_the_last_entry_of_an_id() -> None:
    """A later entry replaces an earlier one with the same id."""
    seen = joined(Observation(users=(user("u", "a", Membership.EXPIRED),)), Observation(users=(user("u", "a"),)))
    assert [each.org_membership_status for each in seen.users] == [Membership.ACTIVE]


class Lists:
    """Fetches that take a second each, from a state that a test changes."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.invitations: list[Invitation] = []
        self.fails = False
        self.takes = 1.0
        self.shared = SharedLists(self.fetch, now)

    async def fetch(self) -> Snapshot:
        self.began.append(began := now())
        held = list(self.invitations)
        await asyncio.sleep(self.takes)
        if self.fails:
            raise AtlasUnavailable(Operation.LIST_INVITES, "HTTP 503")
        return snapshot(held, [], began)

    async def get(self, since: float) -> Dated:
        """Return a snapshot; a test may set how recent it must be."""
        found = await self.shared.get(since)
        assert isinstance(found, Dated)
        return found


@virtual_time
async def test_concurrent_callers_share_one_fetch() -> None:
    """A thousand callers that woke at the same time share one pair of lists, whenever their turn comes."""
    lists = Lists()
    woke = now()
    await asyncio.gather(*(lists.shared.look(Target(f"{number}@x.de"), woke) for number in range(500)))
    await asyncio.sleep(5)
    await asyncio.gather(*(lists.shared.look(Target(f"{number}@x.de"), woke) for number in range(500)))
    assert len(lists.began) == 1


@virtual_time
async def test_a_fetch_that_began_earlier_does_not_serve() -> None:
    """A caller that comes while a fetch is under way gets the next one; all such callers share it."""
    lists = Lists()
    first = asyncio.ensure_future(lists.get(now()))
    await asyncio.sleep(0.5)
    others = [asyncio.ensure_future(lists.get(now())) for _ in range(100)]
    await asyncio.gather(first, *others)
    assert len(lists.began) == 2
    assert {other.result().began for other in others} == {lists.began[1]}
    assert now() == 2.0


@virtual_time
async def test_one_fetch_at_a_time() -> None:
    """However many callers there are: fetches follow each other."""
    lists = Lists()
    tasks = []
    for _ in range(40):
        tasks.append(asyncio.ensure_future(lists.get(now())))
        await asyncio.sleep(0.1)
    await asyncio.gather(*tasks)
    assert all(later - earlier > 0.99 for earlier, later in zip(lists.began, lists.began[1:], strict=False))
    assert len(lists.began) <= 6


@virtual_time
async def test_a_burst_costs_fetches_by_its_time() -> None:
    """However fast Atlas responds and however many callers follow each other: three fetches in three seconds."""
    lists = Lists()
    lists.takes = 0.01
    waited = []

    async def ask() -> None:
        woke = now()
        await lists.shared.look(Target("jane@x.de"), woke)
        waited.append(now() - woke)

    async with asyncio.TaskGroup() as group:
        for _ in range(500):
            group.create_task(ask())
            await asyncio.sleep(0.01)
    assert len(lists.began) == 2 * FETCHES + 1
    assert waited[0] == pytest.approx(0.01)
    assert max(waited) <= FETCHES_IN + 0.02


@virtual_time
async def test_a_canceled_caller_cancels_no_other_caller() -> None:
    """The fetch goes on for the others."""
    lists = Lists()
    first, second = (asyncio.ensure_future(lists.get(now())) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    assert (await second).began == 0.0
    assert len(lists.began) == 1
    assert first.cancelled()


@virtual_time
async def test_all_callers_of_a_fetch_get_its_failure() -> None:
    """Each gets its own exception with the same text; later callers get a new fetch."""
    lists = Lists()
    lists.fails = True
    joined_ = [asyncio.ensure_future(lists.get(now())) for _ in range(3)]
    await asyncio.sleep(0.5)
    later = asyncio.ensure_future(lists.get(now()))
    failures = await asyncio.gather(*joined_, return_exceptions=True)
    assert {type(each) for each in failures} == {AtlasUnavailable}
    assert len({id(each) for each in failures}) == 3
    lists.fails = False
    assert (await later).began == 1.0


@virtual_time
async def test_a_failure_without_callers_is_not_reported() -> None:
    """All callers have left when it fails: no warning is logged."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    lists = Lists()
    lists.fails = True
    asker = asyncio.ensure_future(lists.get(now()))
    await asyncio.sleep(0.5)
    asker.cancel()
    await asyncio.sleep(2)
    await settle()
    assert not complaints


@virtual_time
async def test_a_snapshot_is_forgotten_when_idle() -> None:
    """Memory holds no project that is not in use."""
    lists = Lists()
    await lists.shared.look(Target("jane@x.de"), 0.0)
    await asyncio.sleep(RETAINED - 1)
    await lists.shared.look(Target("jane@x.de"), 0.0)
    await asyncio.sleep(RETAINED - 1)
    await lists.shared.look(Target("jane@x.de"), 0.0)
    assert len(lists.began) == 1
    await asyncio.sleep(RETAINED + 1)
    assert vars(lists.shared)["_kept"] is None
    await lists.shared.look(Target("jane@x.de"), 0.0)
    assert len(lists.began) == 2


@virtual_time
async def test_a_resync_leaves_nothing_in_memory() -> None:
    """Lists that only a resync requested serve no other caller.

    The lists of all projects are never in memory together.
    """
    lists = Lists()
    resynced = await lists.get(now())
    assert vars(lists.shared)["_kept"] is None
    assert (await lists.get(resynced.began)).began > resynced.began


@virtual_time
async def test_our_own_write_invalidates_the_snapshot_for_its_person() -> None:
    """An object that woke before the write and reads the same person after it gets a snapshot from after it."""
    lists = Lists()
    woke = now()
    assert ids(await lists.shared.look(Target("Jane@x.de"), woke)) == ([], [])
    await asyncio.sleep(1)
    lists.invitations.append(invitation("i1", "jane@x.de"))
    lists.shared.invalidate("jane@x.de")
    assert ids(await lists.shared.look(Target("JANE@x.de"), woke)) == (["i1"], [])
    assert len(lists.began) == 2
    assert ids(await lists.shared.look(Target("jane@x.de", "i1"), woke)) == (["i1"], [])
    assert len(lists.began) == 2


@pytest.mark.parametrize(("asked", "written"), SAME_EMAIL)
@virtual_time
async def test_a_write_invalidates_the_same_email_in_any_form(asked: str, written: str) -> None:
    """A read of another form of the e-mail also gets a snapshot from after the write."""
    lists = Lists()
    await lists.shared.look(Target(asked), 0.0)
    lists.shared.invalidate(written)
    await lists.shared.look(Target(asked), 0.0)
    assert len(lists.began) == 2


@virtual_time
async def test_a_resync_does_not_restore_what_a_write_invalidated() -> None:
    """Lists that only a resync requested are not kept, so the kept snapshot stays invalid for that person."""
    lists = Lists()
    woke = now()
    await lists.shared.look(Target("jane@x.de"), woke)
    lists.invitations.append(invitation("i1", "jane@x.de"))
    lists.shared.invalidate("jane@x.de")
    await lists.get(now())
    assert ids(await lists.shared.look(Target("jane@x.de"), woke)) == (["i1"], [])


@virtual_time
async def test_a_write_by_id_invalidates_the_read_by_email() -> None:
    """The read by e-mail finds the id that was written."""
    lists = Lists()
    lists.invitations.append(invitation("i1", "jane@x.de"))
    woke = now()
    await lists.shared.look(Target("jane@x.de"), woke)
    await asyncio.sleep(1)
    lists.invitations.clear()
    lists.shared.invalidate("i1")
    assert ids(await lists.shared.look(Target("jane@x.de"), woke)) == ([], [])


@virtual_time
async def test_a_write_invalidates_no_other_person() -> None:
    """N creations at the same time do not cause N lists."""
    lists = Lists()
    woke = now()
    for number in range(50):
        await lists.shared.look(Target(f"{number}@x.de"), woke)
        lists.shared.invalidate(f"{number}@x.de")
    assert len(lists.began) == 1


@virtual_time
async def test_invalidations_are_remembered_only_while_they_matter() -> None:
    """Ten thousand role changes leave nothing in memory."""
    lists = Lists()
    lists.shared.invalidate("i1")
    assert not vars(lists.shared)["_invalid"]
    await lists.shared.look(Target(None, "i1"), now())
    lists.shared.invalidate("i1")
    assert vars(lists.shared)["_invalid"]
    await asyncio.sleep(RETAINED + 1)
    assert not vars(lists.shared)["_invalid"]


@virtual_time
async def test_a_write_during_a_fetch_invalidates_it() -> None:
    """A fetch during our write may or may not include it."""
    lists = Lists()
    asker = asyncio.ensure_future(lists.shared.look(Target("jane@x.de"), now()))
    await asyncio.sleep(0.5)
    lists.invitations.append(invitation("i1", "jane@x.de"))
    lists.shared.invalidate("jane@x.de")
    assert ids(await asker) == (["i1"], [])
    assert len(lists.began) == 2


@virtual_time
async def test_since_cannot_lie_in_the_future() -> None:
    """A clock that is ahead does not cause endless fetches."""
    lists = Lists()
    await lists.get(now() + 100)
    assert len(lists.began) == 1


@virtual_time
async def test_closing_ends_the_fetches_in_flight() -> None:
    """No task is left running."""
    lists = Lists()
    asker = asyncio.ensure_future(lists.get(now()))
    await settle()
    await lists.shared.aclose()
    await settle()
    assert asker.cancelled()
    assert vars(lists.shared)["_fetches"].running is None
    await lists.shared.aclose()


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 4)), min_size=1, max_size=30))
def test_a_snapshot_began_after_its_caller_woke(askers: list[tuple[float, float]]) -> None:
    """Whenever each caller woke, and however long it waited for its turn."""

    @virtual_time
    async def run() -> None:
        lists = Lists()

        async def ask(wakes: float, turn: float) -> None:
            await asyncio.sleep(wakes)
            woke = now()
            await asyncio.sleep(turn)
            assert (await lists.get(woke)).began >= woke

        await asyncio.gather(*(ask(wakes, turn) for wakes, turn in askers))
        assert len(lists.began) <= len(askers)

    run()


def test_an_entry_that_a_page_shows_twice_counts_once() -> None:
    """An id may be repeated if a page moved meanwhile: the later entry is kept."""
    index = Index(Entries((user("u", "old@x.de"), user("u", "new@x.de"))))
    assert [each.username for each in index.find(["u"], ())] == ["new@x.de"]
    assert index.find([None], ["old@x.de"]) == ()
