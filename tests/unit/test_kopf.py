"""What the operator needs of kopf beyond its documentation, tested with the real kopf.

See the list in ``handlers.py``.
"""

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
    """An API server with one object, and the session with which kopf reaches it.

    Attributes:
        fails: the number of list requests that get HTTP 500.
        gone: watches that get 410 Gone, in each form in turn, before one is held.
        lists, watches: how often each path was listed and watched.
        writes: the methods of all other requests.
        sent: the requests that were sent through the session.
        closed: as in aiohttp's session.
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
            return web.Response()  # ended as the API server sometimes ends a watch: no reason to relist
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
        """Let kopf run until each watch is held."""
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
    """However its watches ended, its remaining tasks are found by their files, and canceled.

    No error is logged twice.
    """
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


async def test_kopf_installs_signal_handlers_only_at_its_start() -> None:
    """So the operator can restore its own at once, and finally; each start is the same."""
    cluster = Cluster(gone=2)
    async with cluster.watched():
        assert cluster.signals == {}


async def test_kopf_sends_every_request_through_its_session() -> None:
    """It needs no more of the session than this class has: it is not one of aiohttp's."""
    cluster = Cluster()
    async with cluster.watched():
        assert cluster.sent == cluster.received > 0


async def test_kopf_retries_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The back-off of a request may be endless and without a length, and starts again for each request."""
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
    """An object that is listed again is passed on each time, and not changed."""
    cluster = Cluster(gone=1)
    async with cluster.watched(), asyncio.timeout(5):
        while len(cluster.shown) < 2:  # noqa: ASYNC110 - kopf has a task for it
            await asyncio.sleep(0.01)
    assert {resource.key for resource in cluster.shown} == {KEY}
    assert cluster.writes == []
