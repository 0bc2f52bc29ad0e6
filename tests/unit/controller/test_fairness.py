"""Fairness: no group of keys takes all workers, and none waits behind another group's keys."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from atlas_invites.controller.queue import Priority, WorkQueue
from atlas_invites.controller.resolve import project_of
from atlas_invites.invitation.resource import Resource
from tests.unit.builders import GROUP_ID, KEY, body, wire_spec
from tests.unit.virtual_time import now, settle, virtual_time


def make(workers: int = 10) -> WorkQueue[str]:
    """Return a queue whose keys are grouped by their first letter."""
    return WorkQueue(now, workers=workers, group=lambda key: key[0])


async def taken(queue: WorkQueue[str]) -> list[str]:
    """Return the keys that this many workers would get at once."""
    found: list[str] = []
    while True:
        getting = asyncio.create_task(queue.get())
        await settle()
        if not getting.done():
            getting.cancel()
            return found
        found.append(getting.result().key)


def fill(queue: WorkQueue[str], group: str, count: int, priority: Priority = Priority.CHANGE) -> None:
    for number in range(count):
        queue.add(f"{group}{number}", priority)


@pytest.mark.parametrize(("workers", "share"), [(2, 1), (3, 2), (4, 2), (50, 25)])
@virtual_time
async def test_one_group_has_half_of_the_workers(workers: int, share: int) -> None:
    """A group has at most half, however many keys it has; another group has its share at once."""
    queue = make(workers)
    fill(queue, "a", 100)
    assert len(await taken(queue)) == share
    fill(queue, "b", 1)
    assert await taken(queue) == ["b0"]


@virtual_time
async def test_a_single_worker_serves_every_group() -> None:
    """If there is only one worker, each group may have it."""
    queue = make(1)
    queue.add("a0")
    queue.add("b0")
    for key in ("a0", "b0"):
        assert (await queue.get()).key == key
        queue.done(key)


@pytest.mark.parametrize("groups", [2, 3, 5, 9])
@virtual_time
async def test_one_worker_is_always_left(groups: int) -> None:
    """However many groups have endless work, all get the same share, and none takes the last worker."""
    queue = make()
    for group in "abcdefghi"[:groups]:
        fill(queue, group, 100)
    held = Counter(key[0] for key in await taken(queue))
    assert held.total() == 9
    assert max(held.values()) - min(held.values()) <= 1
    queue.add("z0")
    assert await taken(queue) == ["z0"]


@virtual_time
async def test_a_group_that_gives_back_may_take_again() -> None:
    """A share counts the keys that are held now."""
    queue = make()
    fill(queue, "a", 6)
    queue.done((await taken(queue))[0])
    assert await taken(queue) == ["a5"]


@virtual_time
async def test_without_a_number_of_workers_there_is_no_limit() -> None:
    """Shares are kept only if they are asked for."""
    queue = WorkQueue[str](now)
    fill(queue, "a", 1000)
    assert len(await taken(queue)) == 1000


@virtual_time
async def test_groups_take_turns() -> None:
    """The keys of one group do not stand before all others; within a group the first comes first."""
    queue = make(1000)
    for key in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.add(key)
    assert await taken(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


@virtual_time
async def test_a_group_that_is_passed_over_keeps_its_place() -> None:
    """It is next as soon as it may go."""
    queue = make(4)
    for key in ("a1", "a2", "a3", "b1", "b2"):
        queue.add(key)
    assert await taken(queue) == ["a1", "b1", "a2"]
    queue.done("a1")
    assert await taken(queue) == ["b2"]
    queue.done("a2")
    assert await taken(queue) == ["a3"]


@virtual_time
async def test_a_key_that_moves_up_keeps_the_turn_of_its_group() -> None:
    """A change of one resynced key does not delay the other keys of its project."""
    queue = make(1000)
    for key in ("a1", "a2", "b1"):
        queue.add(key, Priority.RESYNC)
    queue.add("a1")
    assert await taken(queue) == ["a1", "a2", "b1"]


@virtual_time
async def test_a_stuck_group_leaves_workers_to_the_others() -> None:
    """While every reconcile of one project hangs, a change in another project is handed out at once."""
    queue = make()
    fill(queue, "a", 100)
    stuck = await taken(queue)
    assert len(stuck) == 5
    queue.add("b0")
    assert await taken(queue) == ["b0"]


@virtual_time
async def test_a_resync_of_others_goes_before_a_change_that_may_not_go() -> None:
    """A group at its limit delays no other group, whatever the priority."""
    queue = make()
    fill(queue, "a", 100)
    await taken(queue)
    queue.add("b0", Priority.RESYNC)
    assert await taken(queue) == ["b0"]


@virtual_time
async def test_a_group_that_waits_for_its_share_gets_it_when_another_is_done() -> None:
    """An idle worker takes up a group again as soon as the group may have more."""
    queue = make()
    fill(queue, "b", 5)
    others = await taken(queue)
    fill(queue, "a", 100)
    assert len(await taken(queue)) == 4
    waiting = asyncio.create_task(queue.get())
    await settle()
    assert not waiting.done()
    queue.done(others[0])
    assert (await waiting).key == "a4"


@pytest.mark.parametrize(
    ("spec", "project"),
    [
        (wire_spec(), GROUP_ID),
        (wire_spec(groupId=None, projectRef={"name": "p"}), "team-a/{'name': 'p'}"),
        ({"groupId": 5}, "5"),
        ({"roles": []}, "team-a/None"),
        (["nonsense"], "team-a/None"),
    ],
)
def test_the_project_of_any_spec(spec: object, project: str) -> None:
    """A spec that cannot be used also has a group."""
    assert project_of(Resource.from_body(body(KEY, spec=spec))) == project


def test_the_project_of_an_object_that_is_gone() -> None:
    """A key whose object is not known is in a group of its own."""
    assert project_of(None) == ""
