"""What the operator relies on beyond kopf's documentation, with the real kopf; see the list in ``handlers.py``."""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import kopf
import pytest
from aiohttp import web

from atlas_invites import handlers
from atlas_invites.invitation.resource import GROUP, KIND, PLURAL, VERSION, Resource
from tests.unit.builders import KEY, body
from tests.unit.kube.server import api_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Cluster:
    """An API server with one object, and the session by which kopf reaches it.

    Attributes:
        fails: requests for a list that are answered HTTP 500.
        gone: watches that are answered 410 Gone, each way in turn, before one is held.
        lists, watches: how often each path was listed and watched.
        writes: the methods of all other requests.
        sent: the requests that were sent by the session.
        closed: as aiohttp's session has it.
    """

    def __init__(self, *, fails: int = 0, gone: int = 0) -> None:
        self.fails = fails
        self.gone = gone
        self.lists: Counter[str] = Counter()
        self.watches: Counter[str] = Counter()
        self.writes: list[str] = []
        self.received = self.sent = 0
        self.shown: list[Resource] = []
        self.signals: dict[int, str] = {}
        self.headers = {"User-Agent": "test"}
        self.closed = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.received += 1
        if request.method != "GET":
            self.writes.append(request.method)
        if request.path in {"/api", "/apis"}:
            version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
            group = {"name": GROUP, "versions": [version], "preferredVersion": version}
            return web.json_response({"versions": ["v1"], "groups": [group]})
        if request.path in {"/api/v1", f"/apis/{GROUP}/{VERSION}"}:
            names = ("namespaces", "Namespace") if request.path == "/api/v1" else (PLURAL, KIND)
            found = {"name": names[0], "kind": names[1], "singularName": "", "namespaced": names[0] == PLURAL}
            return web.json_response({"resources": [found | {"verbs": ["list", "watch", "patch"]}]})
        if request.query.get("watch") == "true":
            return await self.watch(request.path)
        self.lists[request.path] += 1
        if self.lists.total() <= self.fails:
            return web.Response(status=500)
        return web.json_response({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": [body()]})

    async def watch(self, path: str) -> web.StreamResponse:
        self.watches[path] += 1
        if self.watches[path] <= self.gone:
            gone = {"kind": "Status", "status": "Failure", "code": 410, "message": "Gone", "reason": "Expired"}
            if self.watches[path] % 2:
                return web.json_response({"type": "ERROR", "object": gone})
            return web.json_response(gone, status=410)
        if self.watches[path] == self.gone + 1:
            return web.Response()  # ended as the API server ends it now and then: no reason to relist
        await asyncio.Event().wait()
        raise AssertionError

    # What kopf uses of a session.

    async def request(self, **options: Any) -> aiohttp.ClientResponse:  # noqa: ANN401 - aiohttp's
        self.sent += 1
        return await self.http.request(**options)

    async def close(self) -> None:
        """Do nothing."""

    # A life of kopf.

    @asynccontextmanager
    async def watched(self, namespaces: tuple[str, ...] = ()) -> AsyncIterator[None]:
        """Let kopf run, until each watch is held."""
        loop = asyncio.get_running_loop()
        take = loop.add_signal_handler

        def add_signal_handler(number: int, *what: Any) -> None:  # noqa: ANN401 - asyncio's
            self.signals[number] = getattr(what[0], "__qualname__", "")
            take(number, *what)

        def started() -> None:
            assert self.signals.keys() == {signal.SIGINT, signal.SIGTERM}, "kopf has not taken the signals"
            self.signals.clear()
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)

        async with api_server(self.answer) as client, aiohttp.ClientSession() as self.http:
            self.server = client.configuration.host

            def sink(resource: Resource, *, deleted: bool, listed: bool) -> None:
                assert listed
                assert not deleted
                self.shown.append(resource)

            watch = handlers.Watch(sink, self, lambda: namespaces or (None,), started, is_open=lambda _: True)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loop, "add_signal_handler", add_signal_handler, raising=False)
                watching = asyncio.create_task(handlers.keep_watching(watch))
                async with asyncio.timeout(30):
                    while len(self.watches) < (len(namespaces) or 1) or min(self.watches.values()) < self.gone + 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                yield
                watching.cancel()
                await asyncio.wait([watching])


@pytest.fixture(autouse=True)
def _restarts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "RESTART_FIRST", 0.01)


def tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}


@pytest.mark.parametrize("namespaces", [(), ("team-a", "team-b")], ids=["all", "two"])
@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_kopf_leaves_no_task_behind(
    caplog: pytest.LogCaptureFixture, gone: int, namespaces: tuple[str, ...]
) -> None:
    """However its watches ended, what is left of kopf is known by its files, and canceled; no error is logged twice."""
    cluster = Cluster(gone=gone)
    async with cluster.watched(namespaces):
        files = {Path(code.co_filename) for task in tasks() if (code := getattr(task.get_coro(), "cr_code", None))}
        assert any(file.is_relative_to(Path(kopf.__file__).parent) for file in files)
    async with asyncio.timeout(5):
        while tasks():  # noqa: ASYNC110 - canceled, and not awaited
            await asyncio.sleep(0.01)
    assert cluster.lists.total() > gone
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_kopf_takes_the_signals_only_when_it_is_started() -> None:
    """So the operator can take them back at once, for good; each start is the same."""
    cluster = Cluster(gone=2)
    async with cluster.watched():
        assert cluster.signals == {}


async def test_kopf_sends_every_request_by_the_session_it_is_given() -> None:
    """And needs no more of it than there is here: it is not one of aiohttp's."""
    cluster = Cluster()
    async with cluster.watched():
        assert cluster.sent == cluster.received > 0


async def test_kopf_tries_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The back-off of a request may be without an end and without a length, and begins again for each request."""
    begun = 0

    class BackOffs:
        def __iter__(self) -> Iterator[float]:
            nonlocal begun
            begun += 1
            return itertools.repeat(0.001)

    monkeypatch.setattr(handlers, "_BackOffs", BackOffs)
    cluster = Cluster(fails=50)
    async with cluster.watched():
        assert cluster.lists.total() == 51
        assert begun > 2


async def test_kopf_writes_nothing() -> None:
    """An object that is listed, and listed again, is passed on each time, and left as it is."""
    cluster = Cluster(gone=1)
    async with cluster.watched(), asyncio.timeout(5):
        while len(cluster.shown) < 2:  # noqa: ASYNC110 - kopf has a task for it
            await asyncio.sleep(0.01)
    assert {resource.key for resource in cluster.shown} == {KEY}
    assert cluster.writes == []
