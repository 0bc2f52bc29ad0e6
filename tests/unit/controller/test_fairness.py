"""Whose turn it is: no group of keys takes all workers, and none waits behind another one's crowd."""

from __future__ import annotations

import asyncio

import pytest

from atlas_invites.controller.fairness import Line, Shares
from atlas_invites.controller.queue import Priority, WorkQueue
from atlas_invites.controller.resolve import project_of
from atlas_invites.invitation.resource import Resource
from tests.unit.builders import GROUP_ID, KEY, body, wire_spec
from tests.unit.virtual_time import now, settle, virtual_time


def make(workers: int | None = 10) -> WorkQueue[str]:
    """Return a queue whose keys are grouped by their first letter."""
    return WorkQueue(now, workers=workers, group=lambda key: key[0])


async def taken(queue: WorkQueue[str]) -> list[str]:
    """Return the keys that as many workers as are asked for would get at once."""
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


@pytest.mark.parametrize("groups", [1, 2, 3, 5])
def test_whatever_others_hold_a_worker_is_left(groups: int) -> None:
    """However many groups have endless work, all get the same share, and none takes the last worker."""
    shares = Shares(50)
    held = dict.fromkeys(range(groups), 0)
    for _ in range(50):
        for group in held:
            if shares.may_take(group):
                shares.take(group)
                held[group] += 1
    assert sum(held.values()) < 50
    assert max(held.values()) - min(held.values()) <= 4 * groups
    assert shares.may_take("another")


def test_one_group_alone_has_four_fifths() -> None:
    """A single project is hardly slowed down."""
    shares = Shares(50)
    while shares.may_take("one"):
        shares.take("one")
        held = shares._held["one"]  # noqa: SLF001 - the count itself is meant
    assert held == 40


@pytest.mark.parametrize("workers", [2, 3, 4, 5, 6])
def test_no_group_takes_the_last_of_a_few_workers(workers: int) -> None:
    """Of two workers or more one group never gets all; who holds none may have the last one."""
    shares = Shares(workers)
    while shares.may_take("one"):
        shares.take("one")
        assert shares._held["one"] < workers  # noqa: SLF001 - the count itself is meant
    assert shares._held["one"] > 0  # noqa: SLF001 - as above
    assert shares.may_take("another")


def test_who_gives_back_may_take_again() -> None:
    """A share is a share of those that are free now."""
    shares = Shares(5)
    while shares.may_take("one"):
        shares.take("one")
    shares.give_back("one")
    assert shares.may_take("one")


def test_without_a_number_of_workers_there_is_no_limit() -> None:
    """Shares are kept only where they are asked for."""
    shares = Shares(None)
    for _ in range(1000):
        assert shares.may_take("one")
        shares.take("one")


def test_a_single_worker_serves_everybody() -> None:
    """Where there is but one worker, a group may have it."""
    assert Shares(1).may_take("one")


def test_groups_take_turns() -> None:
    """A crowd of one group does not stand before the others; within a group the first comes first."""
    line: Line[str] = Line()
    for key in ("a1", "a2", "a3", "b1", "c1", "b2"):
        line.append(key[0], key)
    order = []
    while (found := line.pop(lambda _: True, lambda _: True)) is not None:
        order.append(found[1])
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert not line


def test_what_does_not_wait_any_more_is_forgotten() -> None:
    """A key that is not due leaves the line, and a group without keys too."""
    line: Line[str] = Line()
    line.append("a", "a1")
    line.append("a", "a2")
    assert line.pop(lambda _: True, lambda key: key == "a2") == ("a", "a2")
    assert not line


def test_a_group_whose_turn_it_may_not_be_keeps_its_place() -> None:
    """Who is passed over is next when it may."""
    line: Line[str] = Line()
    for key in ("a1", "b1", "b2"):
        line.append(key[0], key)
    assert line.pop(lambda group: group != "a", lambda _: True) == ("b", "b1")
    assert line.pop(lambda _: True, lambda _: True) == ("a", "a1")


@virtual_time
async def test_a_stuck_group_leaves_workers_to_the_others() -> None:
    """While every reconcile of one project hangs, another project's change is handed out at once."""
    queue = make()
    fill(queue, "a", 100)
    stuck = await taken(queue)
    assert len(stuck) == 8
    queue.add("b0")
    assert await taken(queue) == ["b0"]


@virtual_time
async def test_a_sweep_of_others_goes_before_a_change_that_may_not_go() -> None:
    """A group at its limit holds up nobody, whatever the priority."""
    queue = make()
    fill(queue, "a", 100)
    await taken(queue)
    queue.add("b0", Priority.SWEEP)
    assert await taken(queue) == ["b0"]


@virtual_time
async def test_who_waits_for_its_share_gets_it_when_another_one_is_done() -> None:
    """A worker that was idle takes up a group again as soon as the group may have more."""
    queue = make()
    fill(queue, "b", 4)
    others = await taken(queue)
    fill(queue, "a", 100)
    first = await taken(queue)
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await settle()
    assert not any(one.done() for one in waiting)
    for key in others:
        queue.done(key)
    await settle()
    assert all(one.result().key.startswith("a") for one in waiting)
    assert len(first) + len(waiting) <= 8
    for one in waiting:
        one.cancel()


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
    """A spec that cannot be used has a group too."""
    assert project_of(Resource.from_body(body(KEY, spec=spec))) == project


def test_the_project_of_an_object_that_has_gone() -> None:
    """A key whose object is not known is in a group of its own."""
    assert project_of(None) == ""
