"""The engine: events, workers that survive every error, the complete list, and the lag of the watch."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from atlas_invites.controller.engine import LIST_RETRY, RELIST_INTERVAL, RELISTED, WATCH_LAG_AT_MOST, Engine
from atlas_invites.controller.polled import WAIT_AT_MOST
from atlas_invites.controller.queue import WorkQueue
from atlas_invites.controller.reconcile import BACK_OFF_BELOW, SLACK
from atlas_invites.controller.store import Store, Writer
from atlas_invites.failures import ClusterUnavailable, Failure, Later, Stale
from atlas_invites.invitation.model import State
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.resource import FINALIZER, RECONCILE_REQUESTED_AT, RESEND_REQUESTED_AT, Key, Resource
from tests.unit.builders import (
    GROUP_ID,
    INVITATION_ID,
    KEY,
    OWNER,
    READER,
    SECRET,
    STREAMS,
    error,
    invitation,
    wire_spec,
)
from tests.unit.controller.fakes import CREDENTIALS, FakeCluster, World
from tests.unit.virtual_time import now, settle, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

JOE = Key("team-a", "joe")


class Script:
    """A reconciler that follows a script and records its calls: only the engine is tested."""

    def __init__(self, *endings: Outcome | Exception | None) -> None:
        self.endings = list(endings)
        self.turns: list[tuple[Key, float]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.most_at_once = 0
        self._running = 0

    async def reconcile(self, key: Key, _since: float) -> Outcome | None:
        self.turns.append((key, now()))
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        await asyncio.sleep(1)
        self._running -= 1
        self.meanwhile()
        ending = self.endings.pop(0) if self.endings else None
        if isinstance(ending, Exception):
            raise ending
        return ending


class Bench:
    """An engine that runs a script."""

    def __init__(self, *endings: Outcome | Exception | None, workers: int = 2) -> None:
        self.cluster = FakeCluster()
        self.script = Script(*endings)
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue(now, jitter=lambda: 1.0)
        script: Any = self.script
        writer = Writer(self.store, self.cluster)
        self.engine = Engine(self.store, self.queue, self.cluster, script, writer, workers=workers, clock=now)
        self.cluster.watch = lambda resource, deleted: self.engine.on_event(resource, deleted=deleted)

    async def run_for(self, seconds: float) -> None:
        """Let the workers run for this time."""
        workers = asyncio.create_task(self.engine.work())
        await asyncio.sleep(seconds)
        assert not workers.done()
        self.queue.close()
        await workers

    @property
    def times(self) -> list[float]:
        """Return when the script was called."""
        return [round(time, 2) for _, time in self.script.turns]


# How the end of a reconcile schedules the next turn.


@pytest.mark.parametrize(
    "trouble", [Stale("changed"), ClusterUnavailable("no answer"), RuntimeError("a bug"), KeyError("a bug")]
)
@virtual_time
async def test_an_error_is_tried_again_with_back_off(trouble: Exception) -> None:
    """No exception of a reconcile ends a worker or loses the key: it is tried again after 1 s, 2 s, 4 s."""
    bench = Bench(trouble, trouble, trouble, workers=1)
    bench.cluster.apply()
    await bench.run_for(60)
    assert bench.times == [0.0, 2.0, 5.0, 10.0]


@virtual_time
async def test_an_unexpected_exception_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A bug is logged as an error, with its object and its traceback."""
    bench = Bench(RuntimeError("a bug"))
    bench.cluster.apply()
    await bench.run_for(60)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info
    assert getattr(record, "object", None) == KEY


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (ClusterUnavailable("403"), "ClusterUnavailable"),
        (RuntimeError("a bug"), "Unexpected"),
        (Stale("changed"), None),
    ],
)
@virtual_time
async def test_a_failed_reconcile_is_counted(trouble: Exception, reason: str | None) -> None:
    """So an operator that may not write, or has a bug, can be alerted on.

    A reconcile overtaken by a change does not count.
    """
    before = {name: errors(name) for name in ("ClusterUnavailable", "Unexpected")}
    bench = Bench(trouble, trouble)
    bench.cluster.apply()
    await bench.run_for(60)
    assert {name: errors(name) - count for name, count in before.items()} == {
        name: 2.0 if name == reason else 0.0 for name in before
    }


def errors(reason: str) -> float:
    return REGISTRY.get_sample_value("atlas_invites_reconcile_total", {"outcome": "Error", "reason": reason}) or 0.0


@virtual_time
async def test_a_stale_write_whose_event_has_come_is_tried_at_once() -> None:
    """The change that made the write stale is known already: there is no back-off."""
    bench = Bench(Stale("changed"))
    bench.script.meanwhile = lambda: bench.store.put(bench.cluster.apply(labels={"a": "b"}))
    bench.cluster.apply()
    await bench.run_for(1.5)
    assert bench.times == [0.0, 1.0]


@virtual_time
async def test_an_event_during_back_off_ends_it() -> None:
    """A user's change does not wait for the back-off of an earlier failure."""
    bench = Bench(*[ClusterUnavailable("no answer")] * 9)
    bench.cluster.apply()
    bench.cluster.apply(spec=wire_spec(roles=[OWNER]))
    asyncio.get_running_loop().call_later(50, lambda: bench.cluster.apply(spec=wire_spec(roles=[STREAMS])))
    await bench.run_for(55)
    assert 50.0 in bench.times


@virtual_time
async def test_waiting_for_another_object_is_not_a_failure() -> None:
    """Later requeues after its own time, and does not count as a failure."""
    bench = Bench(Later(3), Later(3), ClusterUnavailable("no answer"))
    bench.cluster.apply()
    await bench.run_for(60)
    assert bench.times == [0.0, 4.0, 8.0, 10.0]


RETRYING = Outcome(Reason.ATLAS_UNAVAILABLE, "m")


@virtual_time
async def test_retrying_backs_off() -> None:
    """Retrying requeues after 1 s, 2 s, 4 s; a success resets the count."""
    bench = Bench(RETRYING, RETRYING, RETRYING, Outcome(Reason.INVITED, "m", requeue_after=10), RETRYING)
    bench.cluster.apply()
    await bench.run_for(60)
    assert bench.times == [0.0, 2.0, 5.0, 10.0, 21.0, 23.0]


@virtual_time
async def test_retrying_honors_retry_after() -> None:
    """The operator waits as long as Atlas asked for."""
    bench = Bench(Outcome(Reason.RATE_LIMITED, "m", requeue_after=30))
    bench.cluster.apply()
    await bench.run_for(60)
    assert bench.times == [0.0, 31.0 + SLACK]


@pytest.mark.parametrize("asked", [0, 1])
@virtual_time
async def test_a_small_retry_after_does_not_end_back_off(asked: float) -> None:
    """If Atlas says 0 or 1 while it refuses, the tries still become less and less frequent."""
    bench = Bench(*[Outcome(Reason.ATLAS_UNAVAILABLE, "m", requeue_after=asked)] * 9)
    bench.cluster.apply()
    await bench.run_for(2000)
    pauses = [round(later - earlier - 1 - SLACK, 2) for earlier, later in pairwise(bench.times)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256]


@virtual_time
async def test_a_place_in_a_line_is_kept() -> None:
    """An object that must wait in a line keeps its time, however often it is told: it was not refused."""
    bench = Bench(*[Outcome(Reason.RATE_LIMITED, "m", requeue_after=BACK_OFF_BELOW)] * 9)
    bench.cluster.apply()
    await bench.run_for(2000)
    assert {round(later - earlier - 1, 2) for earlier, later in pairwise(bench.times)} == {BACK_OFF_BELOW + SLACK}


@virtual_time
async def test_a_requeue_time_is_kept() -> None:
    """Waiting and Stalled are requeued at the time in the outcome, and not at all if it has none."""
    bench = Bench(Outcome(Reason.SECRET_NOT_FOUND, "m", requeue_after=60), Outcome(Reason.MEMBER_REMOVED, "m"))
    bench.cluster.apply()
    await bench.run_for(10_000)
    assert bench.times == [0.0, 61.0]


@virtual_time
async def test_the_number_of_workers_is_kept() -> None:
    """There are never more reconciles at a time than asked for; a key is in one of them."""
    bench = Bench(workers=3)
    for number in range(10):
        bench.cluster.apply(Key("team-a", f"p{number}"))
    await bench.run_for(60)
    assert bench.script.most_at_once == 3
    assert len(bench.script.turns) == 10


@virtual_time
async def test_a_change_during_a_turn_makes_one_more() -> None:
    """However many changes come while it runs, there is one more turn."""
    bench = Bench()
    bench.cluster.apply()
    for after, role in [(0.2, OWNER), (0.4, STREAMS), (0.6, OWNER)]:
        spec = wire_spec(roles=[role])
        asyncio.get_running_loop().call_later(after, lambda s=spec: bench.cluster.apply(spec=s))  # type: ignore[misc]
    await bench.run_for(60)
    assert bench.times == [0.0, 1.0]


# Events.


@virtual_time
async def test_our_own_writes_make_no_turn_even_if_their_events_come_before_their_responses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The watch shows finalizer and status before the responses come: nothing is read or written again."""
    world = World()
    write = world.cluster._write  # noqa: SLF001

    async def answer_late(*what: Any) -> Resource:  # noqa: ANN401
        answer = await write(*what)
        await asyncio.sleep(0.1)
        return answer

    monkeypatch.setattr(world.cluster, "_write", answer_late)
    world.atlas.invite()
    world.cluster.watch = lambda resource, deleted: world.engine.on_event(resource, deleted=deleted)
    world.cluster.apply(spec=wire_spec(invitationId=INVITATION_ID))
    workers = asyncio.create_task(world.engine.work())
    await asyncio.sleep(30)
    assert world.write_kinds == ["finalizer", "status"]
    assert world.atlas.names == ["Look", "Look"]  # which project it is, then what is observed: one fetch serves both
    world.queue.close()
    await workers


@pytest.mark.parametrize("is_relisted", [True, False])
@virtual_time
async def test_a_watch_that_relists_causes_a_complete_list(is_relisted: bool) -> None:  # noqa: FBT001
    """Objects that were deleted before that list get no event, and are dropped at once.

    The first list causes no other.
    """
    world = World()
    for key in (KEY, JOE):
        world.cluster.apply(key)
    lost(world)
    await world.engine.list_first()
    listing = asyncio.create_task(world.engine.keep_listing())
    for _ in range(2 if is_relisted else 1):
        world.cluster.objects.pop(JOE, None)  # without an event
        kept = Resource.from_body(world.cluster.objects[KEY])
        world.engine.on_event(kept, deleted=False, listed=True)
        await asyncio.sleep(RELISTED + 1)
    assert {resource.key for resource in world.store} == ({KEY} if is_relisted else {KEY, JOE})
    listing.cancel()


@virtual_time
async def test_labels_are_no_work() -> None:
    """Metadata that Argo CD, Flux and kubectl write queues nothing."""
    world = World()
    world.cluster.apply()
    assert await world.woken() == [KEY]
    for number in range(5):
        world.cluster.apply(labels={"n": str(number)}, annotations={"n": str(number)}, managedFields=[{"n": number}])
    assert await world.woken() == []
    stored = world.store.get(KEY)
    assert stored is not None
    assert stored.resource_version == world.cluster.objects[KEY]["metadata"]["resourceVersion"]
    world.cluster.annotate(RECONCILE_REQUESTED_AT, "now")
    assert await world.woken() == [KEY]


@virtual_time
async def test_a_deleted_object_is_dropped() -> None:
    """Its timer is dropped too: nothing is woken for an object that is gone."""
    bench = Bench(Outcome(Reason.SECRET_NOT_FOUND, "m", requeue_after=60))
    bench.cluster.apply()
    asyncio.get_running_loop().call_later(5, bench.cluster.delete)
    await bench.run_for(600)
    assert bench.times == [0.0]
    assert len(bench.store) == 0


@virtual_time
async def test_wake_takes_only_named_objects() -> None:
    """Every object that is named is queued, and no other."""
    bench = Bench()
    for key in (KEY, JOE):
        bench.store.put(bench.cluster.apply(key))
    bench.engine.wake([JOE])
    assert (await bench.queue.get()).key == JOE
    assert len(bench.queue) == 0


# The complete list.


def lost(world: World | Bench) -> None:
    """Let the watch lose the events that it has not delivered yet."""
    world.cluster.watch = None
    world.cluster.events.clear()


@virtual_time
async def test_the_first_list_waits_for_the_cluster(caplog: pytest.LogCaptureFixture) -> None:
    """The CRD may be installed after the operator starts: it waits, with one log line for each new reason."""
    bench = Bench()
    lost(bench)
    bench.cluster.apply()
    bench.cluster.faults.fail("list", *[ClusterUnavailable("its CRD is not installed")] * 3, ClusterUnavailable("403"))
    assert not bench.engine.listed
    await bench.engine.list_first()
    assert bench.engine.listed
    assert now() == pytest.approx(4 * LIST_RETRY, abs=1)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "waiting for the cluster: its CRD is not installed",
        "waiting for the cluster: 403",
    ]
    assert len(bench.queue) == 1


@virtual_time
async def test_a_bug_in_listing_does_not_end_the_first_list(caplog: pytest.LogCaptureFixture) -> None:
    """Any exception of a list is logged, and the list is tried again."""
    bench = Bench()
    bench.cluster.faults.fail("list", RuntimeError("a bug"), KeyError("items"))
    await bench.engine.list_first()
    assert bench.engine.listed
    assert now() == pytest.approx(2 * LIST_RETRY, abs=1)
    assert [r.levelname for r in caplog.records if r.exc_info] == ["ERROR"] * 2


@virtual_time
async def test_the_first_list_queues_only_what_the_resync_does_not() -> None:
    """A restart is quiet: settled objects wait for the resync, the others are reconciled."""
    world = World()
    for name in ("settled", "changed", "new", "waiting", "deleted", "requested", "resend", "stripped", "resumed"):
        key = Key("team-a", name)
        world.atlas.groups[GROUP_ID].invitations.clear()
        world.atlas.invite(invitation(username=f"{name}@example.com", id=f"{len(world.cluster.objects):024x}"))
        spec = wire_spec(username=f"{name}@example.com")
        world.cluster.apply(key, spec=spec)
        if name == "new":
            continue
        if name == "waiting":
            world.atlas.faults.fail("Look", Failure(Reason.ATLAS_UNAVAILABLE, "m"))
        await world.turn(key)
    resumed = wire_spec(username="resumed@example.com")
    world.cluster.apply(Key("team-a", "resumed"), spec=resumed | {"suspend": True})
    await world.turn(Key("team-a", "resumed"))
    world.cluster.apply(Key("team-a", "resumed"), spec=resumed)
    world.cluster.apply(Key("team-a", "changed"), spec=wire_spec(username="changed@example.com", roles=[OWNER]))
    world.cluster.delete(Key("team-a", "deleted"))
    world.cluster.annotate(RECONCILE_REQUESTED_AT, "now", Key("team-a", "requested"))
    world.cluster.annotate(RESEND_REQUESTED_AT, "now", Key("team-a", "resend"))
    world.cluster.apply(Key("team-a", "stripped"), finalizers=[])
    lost(world)
    world.restart()
    world.store = world.engine._store = Store()  # noqa: SLF001 - a new process knows nothing before its first list
    await world.engine.list_first()
    queued = {key.name for key in await world.woken()}
    assert queued == {"changed", "new", "waiting", "deleted", "requested", "resend", "stripped", "resumed"}


@virtual_time
async def test_ghosts_are_dropped() -> None:
    """Objects deleted while the watch was cut: the complete list drops them, and no invitation is sent for them."""
    world = World()
    world.cluster.apply()
    world.deliver()
    world.cluster.delete()
    lost(world)
    listing = asyncio.create_task(world.engine.keep_listing())
    await asyncio.sleep(RELIST_INTERVAL + 1)
    assert len(world.store) == 0
    for key in await world.woken():
        assert await world.reconciler.reconcile(key, now()) is None
    assert world.atlas.calls == []
    listing.cancel()


@pytest.mark.parametrize("trouble", [ClusterUnavailable("no answer"), RuntimeError("a bug"), TypeError("a bug")])
@virtual_time
async def test_a_list_that_fails_is_tried_again_soon(trouble: Exception) -> None:
    """The complete list keeps being repeated, whatever the cluster returns and whatever fails in processing it."""
    world = World()
    world.cluster.faults.fail("list", trouble, trouble)
    listing = asyncio.create_task(world.engine.keep_listing())
    await asyncio.sleep(RELIST_INTERVAL + 1)
    world.cluster.apply()
    lost(world)
    await asyncio.sleep(2 * LIST_RETRY + 1)
    assert await world.woken() == [KEY]
    assert not listing.done()
    listing.cancel()


# How far the watch lags.


async def relisted(world: World) -> None:
    """Take the complete list again."""
    listing = asyncio.create_task(world.engine.keep_listing())
    await asyncio.sleep(RELIST_INTERVAL + 1)
    listing.cancel()
    with suppress(asyncio.CancelledError):
        await listing


@virtual_time
async def test_a_watch_that_shows_nothing_lags() -> None:
    """What only our own list has shown must also come by the watch: the lag grows until it does."""
    world = World()
    await world.engine.list_first()
    assert world.engine.watch_lag() == pytest.approx(0, abs=0.001)
    world.cluster.apply()
    events = list(world.cluster.events)
    world.cluster.events.clear()
    await relisted(world)
    await asyncio.sleep(WATCH_LAG_AT_MOST)
    assert world.engine.watch_lag() > WATCH_LAG_AT_MOST
    resource, deleted = events[0]
    world.engine.on_event(resource, deleted=deleted)
    assert world.engine.watch_lag() == pytest.approx(0, abs=0.001)


@pytest.mark.parametrize("change", [lambda _: None, lambda w: w.cluster.apply(labels={"a": "b"})])
@virtual_time
async def test_a_quiet_watch_does_not_lag(change: Callable[[World], object]) -> None:
    """A quiet cluster sends no events, and labels that only the list has shown prove nothing about the watch."""
    world = World()
    world.cluster.apply()
    world.deliver()
    await world.engine.list_first()
    change(world)
    lost(world)
    for _ in range(3):
        await relisted(world)
    assert world.engine.watch_lag() == pytest.approx(0, abs=0.001)


@virtual_time
async def test_the_first_list_does_not_count() -> None:
    """What the first list shows need not come by the watch."""
    world = World()
    world.cluster.apply()
    lost(world)
    await world.engine.list_first()
    await asyncio.sleep(1000)
    assert world.engine.watch_lag() == pytest.approx(0, abs=0.001)


@virtual_time
async def test_a_ghost_ends_the_lag() -> None:
    """An object that was in the list and no longer is does not count."""
    world = World()
    await world.engine.list_first()
    world.cluster.apply()
    lost(world)
    await relisted(world)
    world.cluster.delete()
    lost(world)
    assert world.engine.watch_lag() > 0.5
    await relisted(world)
    assert world.engine.watch_lag() == pytest.approx(0, abs=0.001)


# Everything together.


@virtual_time
async def test_twenty_quick_changes_end_with_the_last_one() -> None:
    """Law 7: whatever was overtaken, Atlas and status end with the last spec, in few turns."""
    world = World()
    world.atlas.invite()
    async with world.running():
        world.cluster.apply()
        await asyncio.sleep(5)
        world.forget_calls()
        for number in range(20):
            world.cluster.apply(spec=wire_spec(roles=[OWNER if number % 2 else STREAMS]))
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
    assert world.atlas.groups[GROUP_ID].invitations[INVITATION_ID].roles == (OWNER,)
    status = world.cluster.status()
    assert status.observed_generation == 21
    assert status.invitation == invitation(roles=[OWNER])
    assert len(world.atlas.writes) <= 6


@virtual_time
async def test_an_outage_ends() -> None:
    """Law 6: a hundred objects, ten minutes of outage: one write each when it begins, and one each when it ends."""
    world = World(workers=10)
    async with world.running():
        for number in range(100):
            world.atlas.invite(invitation(id=f"{number:024x}", username=f"p{number}@example.com"))
            world.cluster.apply(Key("team-a", f"p{number}"), spec=wire_spec(username=f"p{number}@example.com"))
        await asyncio.sleep(60)
        world.forget_calls()
        world.atlas.faults.fail_always("UpdateInvite", Failure(Reason.ATLAS_UNAVAILABLE, "503", error=error(503, "X")))
        for number in range(100):
            spec = wire_spec(username=f"p{number}@example.com", roles=[OWNER])
            world.cluster.apply(Key("team-a", f"p{number}"), spec=spec)
        await asyncio.sleep(600)
        assert len(world.cluster.writes) == 100
        world.atlas.faults.fail_always("UpdateInvite", None)
        await asyncio.sleep(310)
    assert len(world.cluster.writes) == 200
    for number in range(100):
        status = world.cluster.status(Key("team-a", f"p{number}"))
        assert (status.state, status.error, status.observed_generation) == (State.PENDING, None, 2)
        assert world.atlas.groups[GROUP_ID].invitations[f"{number:024x}"].roles == (OWNER,)


@virtual_time
async def test_a_finalizer_that_is_removed_while_the_operator_runs_comes_back() -> None:
    """The event of the change requeues the object: one write, none to Atlas."""
    world = World()
    world.atlas.invite()
    async with world.running():
        world.cluster.apply()
        await asyncio.sleep(5)
        world.forget_calls()
        world.cluster.apply(finalizers=[])
        await asyncio.sleep(5)
    assert world.cluster.objects[KEY]["metadata"]["finalizers"] == [FINALIZER]
    assert world.write_kinds == ["finalizer"]
    assert world.atlas.writes == []


@virtual_time
async def test_a_secret_that_appears_wakes_every_object_that_names_it() -> None:
    """No object waits longer than a minute for a Secret, and it is read once for all of them."""
    world = World()
    secret, credentials = next(iter(world.cluster.secrets.items()))
    world.cluster.secrets.clear()
    async with world.running():
        for number in range(20):
            world.atlas.invite(invitation(id=f"{number:024x}", username=f"p{number}@example.com"))
            world.cluster.apply(Key("team-a", f"p{number}"), spec=wire_spec(username=f"p{number}@example.com"))
        await asyncio.sleep(30)
        assert len(world.cluster.reads) == 1
        world.cluster.secrets[secret] = credentials
        await asyncio.sleep(61)
        assert len(world.cluster.reads) == 2
    assert all(world.cluster.status(key).state is State.PENDING for key in world.cluster.objects)


@virtual_time
async def test_a_secret_that_hangs_delays_no_other_object() -> None:
    """Objects of many projects wait for one Secret: changes in another namespace are still made.

    When the Secret can be read again, all objects go on.
    """
    world, joe = World(workers=10), Key("team-b", "joe")
    world.cluster.hanging = {SECRET}
    world.cluster.secrets[Key("team-b", SECRET.name)] = CREDENTIALS
    async with world.running():
        for number in range(200):
            spec = wire_spec(groupId=f"{number:024x}", username=f"p{number}@example.com")
            world.cluster.apply(Key("team-a", f"p{number}"), spec=spec)
        for roles in ([READER], [OWNER]) * 5:
            spec = wire_spec(username="joe@example.com", roles=roles)
            generation = world.cluster.apply(joe, spec=spec).generation
            await asyncio.sleep(WAIT_AT_MOST + 1)
            status = world.cluster.status(joe)
            assert (status.observed_generation, status.state) == (generation, State.PENDING)
        world.cluster.hanging.clear()
        await asyncio.sleep(310)
    assert all(world.cluster.status(key).state is State.PENDING for key in world.cluster.objects)


@virtual_time
async def test_closing_finishes_running_reconciles() -> None:
    """A worker in a reconcile ends it before the worker ends."""
    bench = Bench()
    bench.cluster.apply()
    workers = asyncio.create_task(bench.engine.work())
    await asyncio.sleep(0.5)
    bench.queue.close()
    await workers
    assert bench.times == [0.0]
    assert now() >= 1
    await settle()
