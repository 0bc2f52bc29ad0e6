"""The work queue, rule by rule, and as a state machine compared with a model."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from atlas_invites.controller.queue import BACK_OFF_FIRST, BACK_OFF_LAST, Closed, Item, Priority, WorkQueue
from tests.unit.virtual_time import VirtualTimeLoop, now, settle, virtual_time


def new_queue() -> WorkQueue[str]:
    return WorkQueue(now, jitter=lambda: 1.0)


async def empty(queue: WorkQueue[str]) -> list[str]:
    """Take all ready keys, give each back at once, and return the keys in order."""
    taken = []
    while len(queue):
        turn = await queue.get()
        queue.done(turn.key)
        taken.append(turn.key)
    return taken


async def nothing_comes(queue: WorkQueue[str]) -> bool:
    """Return whether a waiting worker gets nothing unless time passes."""
    waiting = asyncio.create_task(queue.get())
    await settle()
    idle = not waiting.done()
    waiting.cancel()
    return idle


# Order and dedup.


@virtual_time
async def test_first_come_first_served() -> None:
    """Keys of one priority are handed out in the order in which they were first woken."""
    queue = new_queue()
    for key in "abcab":
        queue.add(key)
    assert len(queue) == 3
    assert await empty(queue) == ["a", "b", "c"]


@virtual_time
async def test_a_change_goes_before_a_resync() -> None:
    """However many keys a resync has queued, a user's change is next."""
    queue = new_queue()
    for key in "abc":
        queue.add(key, Priority.RESYNC)
    queue.add("d")
    assert await empty(queue) == ["d", "a", "b", "c"]


@virtual_time
async def test_a_change_moves_a_resynced_key_up() -> None:
    """A key that a resync has queued goes before the others once it changes, and is queued once."""
    queue = new_queue()
    for key in "abc":
        queue.add(key, Priority.RESYNC)
    queue.add("c")
    assert len(queue) == 3
    assert await empty(queue) == ["c", "a", "b"]


@virtual_time
async def test_a_resync_does_not_move_a_change_down() -> None:
    """A key that waits as a change stays in its place during a resync."""
    queue = new_queue()
    queue.add("a")
    queue.add("b")
    queue.add("a", Priority.RESYNC)
    queue.add("c", Priority.RESYNC)
    assert await empty(queue) == ["a", "b", "c"]


@virtual_time
async def test_a_key_that_moved_up_is_not_handed_out_twice() -> None:
    """The place that a key left behind is void, also if the key is queued again later."""
    queue = new_queue()
    queue.add("a", Priority.RESYNC)
    queue.add("a")
    assert (await queue.get()).key == "a"
    queue.add("a", Priority.RESYNC)
    assert await nothing_comes(queue)
    queue.done("a")
    assert await empty(queue) == ["a"]


# Each key has at most one worker.


@virtual_time
async def test_a_running_key_is_not_handed_out() -> None:
    """If it is woken while it runs, it waits for done, and then makes one more turn, however often it was woken."""
    queue = new_queue()
    queue.add("a")
    assert (await queue.get()).key == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    assert await nothing_comes(queue)
    queue.done("a")
    assert await empty(queue) == ["a"]
    assert await nothing_comes(queue)


@virtual_time
async def test_the_priority_of_a_wake_up_while_running_counts() -> None:
    """A change that arrives during a turn goes before the resync's keys, even if the resync woke the key first."""
    queue = new_queue()
    queue.add("a")
    await queue.get()
    queue.add("a", Priority.RESYNC)
    queue.add("b", Priority.RESYNC)
    queue.add("a")
    queue.done("a")
    assert await empty(queue) == ["a", "b"]


@virtual_time
async def test_done_without_a_wake_up_ends_the_key() -> None:
    """A key that was not woken meanwhile is not handed out again."""
    queue = new_queue()
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert await nothing_comes(queue)


# The time of the last wake-up.


@virtual_time
async def test_a_turn_knows_its_last_wake_up() -> None:
    """The operator must not act on what was observed before the last wake-up."""
    queue = new_queue()
    queue.add("a")
    await asyncio.sleep(5)
    queue.add("a", Priority.RESYNC)
    await asyncio.sleep(5)
    assert await queue.get() == Item("a", 5.0, Priority.CHANGE)


@virtual_time
async def test_a_wake_up_during_a_turn_counts_from_its_end() -> None:
    """What was observed while the turn still wrote may lack what it wrote."""
    queue = new_queue()
    queue.add("a")
    await queue.get()
    await asyncio.sleep(1)
    queue.add("a")
    await asyncio.sleep(1)
    queue.done("a")
    await asyncio.sleep(1)
    assert await queue.get() == Item("a", 2.0, Priority.CHANGE)


# Delay.


@virtual_time
async def test_a_delayed_key_comes_in_time() -> None:
    """A key with a requeue time is handed to a waiting worker then, and not before."""
    queue = new_queue()
    queue.add_after("late", 10)
    queue.add_after("early", 5)
    assert await nothing_comes(queue)
    assert (await queue.get()).key == "early"
    assert now() == 5
    assert await queue.get() == Item("late", 10.0, Priority.RESYNC)
    assert now() == 10


@virtual_time
async def test_what_a_resync_found_stays_behind_a_users_change() -> None:
    """Also if it has failed and is tried again: an outage in a large resync leaves many such keys."""
    queue = new_queue()
    queue.add("resynced", Priority.RESYNC)
    queue.add_after((await queue.get()).key, 5)
    queue.done("resynced")
    await asyncio.sleep(5)
    queue.add("changed")
    assert [(await queue.get()).key, (await queue.get()).key] == ["changed", "resynced"]


@pytest.mark.parametrize("days", [1, 30])
@virtual_time
async def test_a_delay_of_days_is_kept(days: int) -> None:
    """An invitation is requeued at its end, and after a day to be sent again."""
    queue = new_queue()
    queue.add_after("a", days * 86400.0)
    assert (await queue.get()).key == "a"
    assert now() == days * 86400.0


@pytest.mark.parametrize("delay", [0.0, -1.0])
@virtual_time
async def test_no_delay_means_now(delay: float) -> None:
    """A delay of zero or less is now."""
    queue = new_queue()
    queue.add_after("a", delay)
    assert await queue.get() == Item("a", 0.0, Priority.RESYNC)


@virtual_time
async def test_a_wake_up_voids_the_timer() -> None:
    """A key that another event wakes is handed out now, and not again when its time comes."""
    queue = new_queue()
    queue.add_after("a", 10)
    queue.add("a")
    assert await empty(queue) == ["a"]
    await asyncio.sleep(20)
    assert await nothing_comes(queue)


@pytest.mark.parametrize(("first", "second"), [(10, 20), (20, 10)])
@virtual_time
async def test_a_later_delay_replaces_an_earlier_one(first: float, second: float) -> None:
    """The latest requeue time counts, be it earlier or later."""
    queue = new_queue()
    queue.add_after("a", first)
    queue.add_after("a", second)
    assert await queue.get() == Item("a", second, Priority.RESYNC)
    queue.done("a")
    await asyncio.sleep(30)
    assert await nothing_comes(queue)


@virtual_time
async def test_a_delay_does_not_delay_a_waiting_key() -> None:
    """A key that was woken keeps its place: its next turn decides again."""
    queue = new_queue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add_after("a", 100)
    queue.done("a")
    assert await empty(queue) == ["a"]
    await asyncio.sleep(200)
    assert await nothing_comes(queue)


@virtual_time
async def test_a_key_is_requeued_while_it_runs() -> None:
    """A worker sets the time of the next turn before it gives the key back."""
    queue = new_queue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 3)
    queue.done("a")
    assert await queue.get() == Item("a", 3.0, Priority.CHANGE)


@virtual_time
async def test_a_timer_that_comes_due_while_its_key_runs_makes_one_more_turn() -> None:
    """The time may come before done."""
    queue = new_queue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 3)
    await asyncio.sleep(10)
    assert await nothing_comes(queue)
    queue.done("a")
    assert await empty(queue) == ["a"]


@virtual_time
async def test_a_dropped_key_does_not_come_back() -> None:
    """The timer and the failures of an object that is gone are dropped."""
    queue = new_queue()
    queue.back_off("a")
    queue.add_after("a", 3)
    queue.drop("a")
    await asyncio.sleep(10)
    assert await nothing_comes(queue)
    assert queue.back_off("a") == BACK_OFF_FIRST


@virtual_time
async def test_timers_that_were_replaced_do_not_pile_up() -> None:
    """Requeuing a key later again and again uses no memory."""
    queue = new_queue()
    for number in range(10_000):
        queue.add_after("a", 1000 + number)
        queue.add_after("b", 1000)
    await asyncio.sleep(0)
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined] # noqa: SLF001 - memory shows nowhere else
    assert len(timers) < 200
    assert [await queue.get(), await queue.get()] == [
        Item("b", 1000.0, Priority.RESYNC),
        Item("a", 10999.0, Priority.RESYNC),
    ]


# Back-off.


@virtual_time
async def test_back_off_doubles_up_to_five_minutes() -> None:
    """1 s, 2 s, 4 s, ... 5 min, and then always 5 min."""
    queue = new_queue()
    delays = [queue.back_off("a") for _ in range(100)]
    assert delays[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(delays[10:]) == {BACK_OFF_LAST}


@virtual_time
async def test_a_success_resets_the_back_off() -> None:
    """Failures are counted by key; a success resets the count."""
    queue = new_queue()
    queue.back_off("a")
    queue.back_off("a")
    assert queue.back_off("b") == 1
    queue.forget("a")
    assert queue.back_off("a") == 1
    queue.forget("never seen")


@pytest.mark.parametrize(("jitter", "expected"), [(0.5, [1, 1, 2, 4]), (0.75, [1, 1.5, 3, 6])])
def test_jitter_spreads_the_tries(jitter: float, expected: list[float]) -> None:
    """A back-off is shortened by the jitter, never below a second."""
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0, jitter=lambda: jitter)
    assert [queue.back_off("a") for _ in range(4)] == expected


def test_jitter_is_within_bounds() -> None:
    """Without a given jitter, a back-off is between half and all of its time, and between 1 s and 5 min."""
    queue: WorkQueue[int] = WorkQueue(lambda: 0.0)
    for failures in range(12):
        full = min(2.0**failures, BACK_OFF_LAST)
        for key in range(50):
            assert max(BACK_OFF_FIRST, full / 2) <= queue.back_off(key) <= max(BACK_OFF_FIRST, full)


# Workers.


@virtual_time
async def test_each_wake_up_wakes_one_worker() -> None:
    """Workers that wait get one key each."""
    queue = new_queue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    queue.add("a")
    queue.add("b")
    await settle()
    assert [w.result().key if w.done() else None for w in workers] == ["a", "b", None]
    workers[2].cancel()


@virtual_time
async def test_a_canceled_worker_loses_no_wake_up() -> None:
    """A worker that is canceled in the moment it was woken passes the key on."""
    queue = new_queue()
    canceled, other = (asyncio.create_task(queue.get()) for _ in range(2))
    await settle()
    queue.add("a")
    canceled.cancel()
    assert (await other).key == "a"
    assert canceled.cancelled()


@virtual_time
async def test_a_canceled_worker_that_was_not_woken_wakes_no_other() -> None:
    """A worker that leaves takes no key, and the next key goes to the next worker."""
    queue = new_queue()
    canceled, other = (asyncio.create_task(queue.get()) for _ in range(2))
    await settle()
    canceled.cancel()
    await settle()
    assert not other.done()
    queue.add("a")
    assert (await other).key == "a"


@virtual_time
async def test_close_ends_every_worker() -> None:
    """Waiting workers leave, later ones too, and no key is handed out any more."""
    queue = new_queue()
    queue.add("a")
    held = await queue.get()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    queue.add_after("b", 1)
    queue.close()
    for worker in workers:
        with pytest.raises(Closed):
            await worker
    queue.add("c")
    queue.add_after("d", 1)
    queue.add(held.key)
    queue.done(held.key)
    await asyncio.sleep(5)
    with pytest.raises(Closed):
        await queue.get()


# The state machine.

KEYS = st.sampled_from("abcd")


async def turn_over() -> None:
    """Let the loop turn until every worker could wake, and one could wake the next."""
    for _ in range(6):
        await asyncio.sleep(0)


class QueueMachine(RuleBasedStateMachine):
    """Compare the queue with a model that is simple because it is slow.

    Which keys are woken since when, and which run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.queue: WorkQueue[str] = WorkQueue(self.loop.time, jitter=lambda: 1.0)
        self.woken: dict[str, Priority] = {}
        self.timers: dict[str, tuple[float, Priority]] = {}
        self.running: dict[str, Priority] = {}
        self.getters: list[asyncio.Task[Item[str]]] = []
        self.delays: dict[str, int] = {}

    def teardown(self) -> None:
        self.queue.close()
        for getter in self.getters:
            with pytest.raises(Closed):
                self.loop.run_until_complete(getter)
        self.loop.close()

    def let_run(self) -> None:
        """Let all workers run, and compare the handed-out keys with the possible ones."""
        self.loop.run_until_complete(turn_over())
        for getter in [g for g in self.getters if g.done()]:
            self.getters.remove(getter)
            self.take(getter.result())

    def take(self, item: Item[str]) -> None:
        key = item.key
        assert key not in self.running, f"{key} is in two workers"
        assert key in self.woken, f"nobody woke {key}"
        ready = {p for k, p in self.woken.items() if k not in self.running}
        assert self.woken[key] is min(ready), f"{key} was handed out before a user's change"
        assert item.priority is self.woken[key]
        self.running[key] = self.woken.pop(key)

    def wake(self, key: str, priority: Priority) -> None:
        self.timers.pop(key, None)
        self.woken[key] = min(priority, self.woken.get(key, priority))

    def in_loop(self, call: object, *args: object) -> None:
        async def run() -> None:
            call(*args)  # type: ignore[operator]

        self.loop.run_until_complete(run())

    @rule(key=KEYS, priority=st.sampled_from(Priority))
    def add(self, key: str, priority: Priority) -> None:
        self.wake(key, priority)
        self.in_loop(self.queue.add, key, priority)
        self.let_run()

    @rule(keys=st.lists(st.tuples(KEYS, st.sampled_from(Priority)), min_size=2))
    def add_many_at_once(self, keys: list[tuple[str, Priority]]) -> None:
        async def run() -> None:
            for key, priority in keys:
                self.queue.add(key, priority)

        for key, priority in keys:
            self.wake(key, priority)
        self.loop.run_until_complete(run())
        self.let_run()

    @rule(key=KEYS, delay=st.integers(0, 5))
    def add_after(self, key: str, delay: int) -> None:
        if key not in self.woken:
            self.timers[key] = self.loop.time() + delay, self.running.get(key, Priority.RESYNC)
        self.in_loop(self.queue.add_after, key, float(delay))
        self.pass_time(0)

    @rule(seconds=st.integers(1, 4))
    def pass_time(self, seconds: int) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for key, (due, priority) in sorted(self.timers.items(), key=lambda item: item[1]):
            if due <= self.loop.time():
                self.wake(key, priority)
        self.let_run()

    @rule()
    def ask(self) -> None:
        self.getters.append(self.loop.create_task(self.queue.get()))
        self.let_run()

    @precondition(lambda self: self.getters)
    @rule(data=st.data(), key=KEYS)
    def cancel_a_worker_as_a_key_comes(self, data: st.DataObject, key: str) -> None:
        getter = data.draw(st.sampled_from(self.getters))
        self.getters.remove(getter)
        self.wake(key, Priority.CHANGE)

        async def run() -> None:
            self.queue.add(key)
            getter.cancel()

        self.loop.run_until_complete(run())
        self.loop.run_until_complete(turn_over())
        if getter.cancelled():
            self.let_run()
        else:
            self.take(getter.result())
            self.let_run()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[key]
        self.in_loop(self.queue.done, key)
        self.let_run()

    @rule(key=KEYS)
    def back_off(self, key: str) -> None:
        failures = self.delays[key] = self.delays.get(key, 0) + 1
        assert self.queue.back_off(key) == min(2.0 ** (failures - 1), BACK_OFF_LAST)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.delays.pop(key, None)
        self.queue.forget(key)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        self.delays.pop(key, None)
        self.timers.pop(key, None)
        self.queue.drop(key)

    @invariant()
    def no_wake_up_is_lost(self) -> None:
        ready = [key for key in self.woken if key not in self.running]
        assert len(self.queue) == len(ready)
        assert not (ready and self.getters), f"{ready} wait, and so do workers"


def test_against_a_model() -> None:
    """In any order of events: no key has two workers, no wake-up is lost, and a user's change goes before a resync."""
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            derandomize=True,
            deadline=None,
            max_examples=100,
            stateful_step_count=40,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
