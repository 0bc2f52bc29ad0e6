"""The life of the process: it acts while it may, and ends in order and in time, even if calls hang."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites import app as module
from atlas_invites import stopping
from atlas_invites.app import CHECK, Process, keep_checking
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.kube.lease import Lease
from atlas_invites.kube.session import LOST_AFTER, Session
from atlas_invites.stopping import CUT_AT, FAILED, LAST, SENDS_UNTIL, STOPPED, Stopping
from tests.unit.kube.lease_fakes import FakeLeases
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.handlers import Watch

NEVER = 10_000.0


async def for_ever() -> None:
    await asyncio.Event().wait()


@dataclass
class Fakes:
    """The parts of the process, each of which does nothing and never ends, unless a test changes that.

    Attributes:
        finish: seconds that running reconciles take to finish once the queue is closed.
        unwind: seconds that they take to end once they are cut.
        flush: seconds that it would take to publish the waiting events.
        list: what the first list does.
        listing: what the complete list does.
        said: what was done, in order.
        sent_until: when writes to Atlas were ended.
    """

    finish: float = 0.0
    unwind: float = 0.0
    flush_takes: float = 0.0
    first: Callable[[], Any] = lambda: asyncio.sleep(0)
    listing: Callable[[], Any] = for_ever
    said: list[str] = field(default_factory=list)
    sent_until: float = NEVER
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def parts(self) -> Any:  # noqa: ANN401 - each part is this object
        names = ("store", "queue", "engine", "resync", "invites", "events", "atlas")
        return SimpleNamespace(**dict.fromkeys(names, self))

    def stop_sending(self) -> None:
        self.said.append("sends no more")
        self.sent_until = now()

    # The queue.

    def close(self) -> None:
        self.closed.set()

    # The engine.

    def on_event(self, what: str, **_: bool) -> None:
        """Record the end of the watch, which is the only event that it reports."""
        self.said.append(what)

    async def list_first(self) -> None:
        await self.first()

    async def keep_listing(self) -> None:
        await self.listing()

    async def work(self) -> None:
        try:
            await self.closed.wait()
            await asyncio.sleep(self.finish)
            self.said.append("finished")
        except asyncio.CancelledError:
            self.said.append("cut")
            await asyncio.sleep(self.unwind)
            raise

    # The session.

    def succeed(self) -> None:
        pass

    # Events and the resync.

    async def keep_publishing(self) -> None:
        await for_ever()

    async def flush(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, self.flush_takes))
        self.said.append("flushed")

    async def resync_all(self) -> None:
        await for_ever()

    async def keep_resyncing(self) -> None:
        await for_ever()


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record when the process would have been killed at once, which would end the tests."""
    ended: list[float] = []
    monkeypatch.setattr(stopping, "exit_immediately", lambda _: ended.append(now()))

    async def keep_watching(watch: Watch) -> None:
        try:
            await for_ever()
        finally:
            watch.sink("watches no more", deleted=False, listed=False)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "keep_watching", keep_watching)
    return ended


@dataclass
class Life:
    """One process, and when it ended."""

    process: Process
    leases: FakeLeases
    running: asyncio.Task[int]
    began: float = 0.0

    @classmethod
    async def begin(cls, fakes: Fakes) -> Life:
        """Run a process that is leading."""
        leases = FakeLeases()
        session: Any = fakes
        process = Process(session, fakes.parts(), Lease(leases, "one", clock=now), Stopping())
        running = asyncio.create_task(process.run())
        await asyncio.sleep(3)
        return cls(process, leases, running)

    def signal(self) -> None:
        """Send SIGTERM."""
        self.began = now()
        self.process.stopping._on_signal()  # noqa: SLF001 - what the signal calls

    async def end(self) -> tuple[int, float]:
        """Return the exit code, and the seconds since the shutdown began."""
        return await asyncio.wait_for(self.running, 60), now() - self.began


HUNG: list[dict[str, float]] = [
    {"finish": NEVER},
    {"finish": NEVER, "flush_takes": NEVER},
    {"finish": NEVER, "unwind": NEVER, "flush_takes": NEVER},
    {"finish": 7.9, "flush_takes": NEVER},
    {"flush_takes": NEVER},
    {},
]


@pytest.mark.parametrize("hung", HUNG, ids=str)
def test_with_a_hung_api_server_it_ends_in_order_and_in_time(hung: dict[str, float], ends: list[float]) -> None:
    """A status write, an event and the release of the Lease hang together: exit code 0, before the deadline."""

    @virtual_time
    async def test() -> None:
        life = await Life.begin(Fakes(**hung))  # type: ignore[arg-type]
        life.leases.before = lambda: asyncio.sleep(NEVER)
        life.signal()
        code, seconds = await life.end()
        assert code == STOPPED
        assert seconds < LAST
        assert ends == []

    test()


def is_given_back(life: Life) -> bool:
    return life.leases.stored is not None and not life.leases.stored.holder


@virtual_time
async def test_reconciles_finish_events_are_published_and_the_lease_is_released() -> None:
    """In that order, if nothing hangs. A send checks for changes of its object until the last one."""
    fakes = Fakes(finish=5, flush_takes=0.5)
    life = await Life.begin(fakes)
    life.signal()
    assert (await life.end())[0] == STOPPED
    assert fakes.said == ["finished", "sends no more", "watches no more", "flushed"]
    assert is_given_back(life)


@virtual_time
async def test_what_was_cut_publishes_nothing() -> None:
    """If reconciles had to be cut there is no time for events; two seconds before, no write to Atlas may begin."""
    fakes = Fakes(finish=NEVER)
    life = await Life.begin(fakes)
    life.signal()
    code, seconds = await life.end()
    assert (code, fakes.said) == (STOPPED, ["sends no more", "watches no more", "cut"])
    assert seconds >= CUT_AT
    assert fakes.sent_until - life.began == pytest.approx(SENDS_UNTIL)
    assert is_given_back(life)


@virtual_time
async def test_while_the_first_list_hangs_a_signal_ends_it() -> None:
    """Nothing runs yet: the Lease is released at once."""
    life = await Life.begin(Fakes(first=for_ever))
    life.signal()
    code, seconds = await life.end()
    assert code == STOPPED
    assert seconds < 1
    assert is_given_back(life)


@virtual_time
async def test_a_part_that_ends_ends_the_process() -> None:
    """Running reconciles finish, the Lease is released, and the exit code is 1."""
    fakes = Fakes(finish=1, listing=lambda: asyncio.sleep(10))
    life = await Life.begin(fakes)
    assert (await life.end())[0] == FAILED
    assert fakes.said == ["finished", "sends no more", "watches no more", "flushed"]
    assert is_given_back(life)


@virtual_time
async def test_a_lost_lease_cuts_at_once_what_runs() -> None:
    """The process waits for nothing and publishes nothing: another replica may act already. Exit code 1."""
    fakes = Fakes(finish=NEVER)
    life = await Life.begin(fakes)
    life.leases.before = lambda: asyncio.sleep(NEVER)
    began = now()
    code, _ = await life.end()
    assert (code, fakes.said) == (FAILED, ["sends no more", "watches no more", "cut"])
    assert now() - began < 15


@pytest.mark.parametrize("why", ["a signal", "a lost lease", "a part that ends"])
def test_a_shutdown_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, why: str, ends: list[float]) -> None:
    """Whatever started the shutdown, the process ends at the deadline at the latest."""

    @virtual_time
    async def test() -> None:
        listing: Callable[[], Any] = (lambda: asyncio.sleep(10)) if why == "a part that ends" else for_ever
        fakes = Fakes(listing=listing)
        life = await Life.begin(fakes)
        began: list[float] = []
        drain = Process._drain  # noqa: SLF001 - hangs

        async def hang(*what: Any) -> None:  # noqa: ANN401
            began.append(now())
            await drain(*what)
            await for_ever()

        monkeypatch.setattr(Process, "_drain", hang)
        if why == "a signal":
            life.signal()
        elif why == "a lost lease":
            life.leases.stored = None
        await asyncio.sleep(60)
        assert ends == [pytest.approx(began[0] + LAST, abs=0.01)]
        life.running.cancel()
        await asyncio.wait([life.running])

    test()


@virtual_time
async def test_the_api_server_is_called_regularly(caplog: pytest.LogCaptureFixture) -> None:
    """In a quiet cluster small lists show that it responds; whatever they return, each new error is logged once."""
    checks: list[float] = []
    errors: list[Exception] = [ClusterUnavailable("HTTP 503")] * 3 + [ValueError("a bug")]

    class Checked:
        async def check(self) -> None:
            checks.append(now())
            if errors:
                raise errors.pop(0)

    invites: Any = Checked()
    keeping = asyncio.create_task(keep_checking(invites))
    await asyncio.sleep(10.5 * CHECK)
    assert checks == [CHECK * number for number in range(1, 11)]
    assert [record.getMessage() for record in caplog.records] == [
        "the check of the API server failed; will retry: HTTP 503",
        "the check of the API server failed unexpectedly; will retry",
    ]
    keeping.cancel()
    await asyncio.wait([keeping])


@pytest.mark.parametrize("leads", [None, False, True], ids=["no election", "standby", "leader"])
@virtual_time
async def test_a_process_without_contact_for_a_minute_is_neither_alive_nor_ready(leads: bool | None) -> None:  # noqa: FBT001
    """Leader or standby, and whatever the cause: the probes count successes, not errors."""
    nothing: Any = SimpleNamespace(lasts=NEVER)
    session = Session(nothing, nothing, nothing, now)
    engine = SimpleNamespace(watch_lag=lambda: 0.0, listed=True, on_event=lambda *_, **__: None)
    parts: Any = SimpleNamespace(engine=engine)
    lease: Any = None if leads is None else SimpleNamespace(leads=leads)

    process = Process(session, parts, lease, Stopping())

    def probes() -> tuple[str | None, str | None]:
        return process.why_dead(), process.why_not_ready()

    await asyncio.sleep(LOST_AFTER)
    assert probes() == (None, None)
    await asyncio.sleep(1)
    why = "no list, watch or read of the Lease has succeeded for 60 s"
    assert probes() == (why, why)
    process.on_event("an event", deleted=False, listed=True)  # type: ignore[arg-type]
    assert probes() == (None, None)
