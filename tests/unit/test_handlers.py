"""The kopf handlers: every event reaches the sink, and an error loses at most one event."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import kopf
import pytest

from atlas_invites import handlers
from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Resource
from tests.unit.builders import EMAIL, body, resource
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


SESSION: Any = None  # the session with which kopf sends its requests


class Sink:
    """Record what it was given."""

    def __init__(self) -> None:
        self.taken: list[tuple[Resource, str]] = []

    def __call__(self, resource: Resource, *, deleted: bool, listed: bool) -> None:
        assert not (deleted and listed)
        self.taken.append((resource, "deleted" if deleted else "listed" if listed else "there"))


def handler(sink: handlers.Sink) -> Any:  # noqa: ANN401 - kopf's
    """Return the one registered handler."""
    registry = kopf.OperatorRegistry()
    handlers.register(registry, sink, SESSION)
    (registered,) = registry._watching.get_all_handlers()  # noqa: SLF001 - kopf shows it nowhere else
    return registered


@pytest.mark.parametrize(
    ("type_", "what"), [(None, "listed"), ("ADDED", "there"), ("MODIFIED", "there"), ("DELETED", "deleted")]
)
def test_every_event_reaches_the_sink(type_: str | None, what: str) -> None:
    """Listed, added, modified, deleted: the trimmed object, and whether it still exists."""
    sink = Sink()
    asyncio.run(handler(sink).fn(event={"type": type_, "object": body()}, namespace="team-a", name="jane"))
    assert sink.taken == [(resource(), what)]


def test_only_our_resource_is_watched() -> None:
    """The handler is for AtlasProjectInvite, and has no filter that could hide an event."""
    registered = handler(Sink())
    selector = registered.selector
    assert (selector.group, selector.version, selector.any_name) == (GROUP, VERSION, PLURAL)
    assert (registered.labels, registered.annotations, registered.when) == (None, None, None)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "MODIFIED", "object": {"metadata": {"name": "jane"}}},
        {"type": "MODIFIED", "object": {}},
        {"type": "MODIFIED", "object": {**body(deletionTimestamp="yesterday")}},
        {"type": "MODIFIED"},
    ],
)
def test_an_unreadable_event_is_logged(event: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """A handler that raises loses the event: it is logged, and covered by the next complete list."""
    asyncio.run(handler(Sink()).fn(event=event))
    (record,) = [r for r in caplog.records if r.name == "atlas_invites.handlers"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "could not process a watch event; the next complete list will have the object"


def test_a_sink_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the sink raises, the handler returns, and the log names no person."""

    class Broken(Sink):
        def __call__(self, resource: Resource, *, deleted: bool, listed: bool) -> None:
            super().__call__(resource, deleted=deleted, listed=listed)
            raise RuntimeError("a bug")

    sink = Broken()
    asyncio.run(handler(sink).fn(event={"type": "MODIFIED", "object": body()}))
    assert sink.taken == [(resource(), "there")]
    (record,) = [r for r in caplog.records if r.name == "atlas_invites.handlers"]
    assert EMAIL not in logging.Formatter().format(record)


class Kopf:
    """Replace kopf: at each start one of its tasks ends in a chosen way, and another one continues."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.started = 0
        self.watched: list[list[str]] = []
        self.canceled = 0
        monkeypatch.setattr(kopf, "spawn_tasks", self.spawn_tasks)

    async def spawn_tasks(self, *, namespaces: list[str], clusterwide: bool, **_: object) -> list[asyncio.Task[None]]:
        assert clusterwide is not bool(namespaces)
        self.started += 1
        self.watched.append(namespaces)
        return [asyncio.create_task(self._watcher()), asyncio.create_task(self._other())]

    async def _watcher(self) -> None:
        await asyncio.sleep(1)
        if not self.ends:
            await asyncio.Event().wait()
        elif (error := self.ends.pop(0)) is not None:
            raise error

    async def _other(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.canceled += 1


def watch(
    started: Callable[[], None] = lambda: None,
    namespaces: Sequence[str] = (),
    is_open: Callable[[str | None], bool] = lambda _: True,
) -> handlers.Watch:
    return handlers.Watch(Sink(), SESSION, lambda: namespaces or (None,), started, is_open)


@virtual_time
async def test_a_watch_that_ends_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    """However kopf ends, its remaining tasks are ended, and it is started again; the signal handlers are restored."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake, taken = Kopf(monkeypatch, RuntimeError("410"), None, RuntimeError("404")), []
        watching = asyncio.create_task(handlers.keep_watching(watch(lambda: taken.append(1))))
        await asyncio.sleep(60)
        assert fake.started == len(taken) == 4
        assert fake.canceled == 3
        watching.cancel()
        await asyncio.wait([watching])
        assert fake.canceled == 4
        said = [r.getMessage() for r in caplog.records if r.name == "atlas_invites.handlers"]
        assert said[0] == "the watch ended; restarting in 2 s: 410"


@virtual_time
async def test_a_watch_that_ends_at_once_is_started_less_and_less_often() -> None:
    """If there is nothing to watch, kopf is started twice a minute, not all the time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake = Kopf(monkeypatch, *[RuntimeError("404")] * 1000)
        watching = asyncio.create_task(handlers.keep_watching(watch()))
        await asyncio.sleep(600)
        assert 15 <= fake.started <= 25
        watching.cancel()
        await asyncio.wait([watching])


@virtual_time
async def test_a_watch_that_does_not_begin_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    """If kopf found no CRD to watch, or one namespace's watch stays closed; later if it never began."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake, closed = Kopf(monkeypatch), {"b"}
        fake.ends = []
        watched = watch(namespaces=("a", "b"), is_open=lambda namespace: namespace not in closed)
        watching = asyncio.create_task(handlers.keep_watching(watched))
        await asyncio.sleep(59)
        assert fake.started == 1
        await asyncio.sleep(6)
        assert fake.started == 2
        await asyncio.sleep(100)
        assert fake.started == 2, "a watch that takes its time is never let begin"
        await asyncio.sleep(30)
        assert fake.started == 3
        await asyncio.sleep(130)
        assert fake.started == 4, "what comes back late is not watched for long"
        closed.clear()
        await asyncio.sleep(10_000)
        assert fake.started == 4
        closed.add("a")
        await asyncio.sleep(65)
        assert fake.started == 5
        said = {r.getMessage() for r in caplog.records if r.name == "atlas_invites.handlers"}
        assert "the watch ended; restarting in 1 s: it did not open within 60 s in namespace b" in said
        watching.cancel()
        await asyncio.wait([watching])


@virtual_time
async def test_namespaces_come_and_go() -> None:
    """Another namespace is watched at once; a forbidden one does not disturb the others.

    With none there is nothing to do.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake = Kopf(monkeypatch)
        fake.ends = []
        served: list[str] = []
        watched = handlers.Watch(Sink(), SESSION, lambda: tuple(served), lambda: None, served.__contains__)
        watching = asyncio.create_task(handlers.keep_watching(watched))
        await asyncio.sleep(100)
        assert fake.watched == []
        served[:] = ["a"]
        await asyncio.sleep(5)
        served[:] = ["a", "b"]
        await asyncio.sleep(5)
        assert fake.watched == [["a"], ["a", "b"]]
        served[:] = ["a"]
        await asyncio.sleep(50)
        assert fake.watched == [["a"], ["a", "b"]], "a refusal of a moment costs the others their watch"
        await asyncio.sleep(10_000)
        assert fake.watched == [["a"], ["a", "b"], ["a"]]
        watching.cancel()
        await asyncio.wait([watching])
