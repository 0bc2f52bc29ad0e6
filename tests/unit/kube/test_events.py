"""Publish events in the background: their pace, and how often the same event was published."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from atlas_invites.invitation.notices import EventReason, EventType, Notice
from atlas_invites.kube.events import PACE, Events
from tests.unit.builders import resource
from tests.unit.kube.server import api_server
from tests.unit.virtual_time import now, virtual_time


class Published:
    """Events that are each posted at once; ``at`` has the times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy = True
        self.at: list[float] = []
        client: Any = None
        self.events = Events(client, busy=lambda: self.busy)
        monkeypatch.setattr(self.events, "_post", self._post)
        for number in range(4):
            self.events.publish(resource(), Notice(EventType.NORMAL, EventReason.CANCELED, f"{number}"))

    async def _post(self, *_: object) -> None:
        self.at.append(now())


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    return Published(monkeypatch)


def test_events_yield_to_work(published: Published) -> None:
    """While there is work to do they go one by one; then all at once."""

    @virtual_time
    async def test() -> None:
        publishing = asyncio.create_task(published.events.keep_publishing())
        await asyncio.sleep(1.5 * PACE)
        assert published.at == [0, pytest.approx(PACE)]
        published.busy = False
        await asyncio.sleep(PACE)
        assert published.at[2:] == [pytest.approx(2 * PACE)] * 2
        publishing.cancel()

    test()


def test_a_flush_does_not_wait_for_the_pace(published: Published) -> None:
    """At the end, unfinished work does not keep the operator from publishing."""

    @virtual_time
    async def test() -> None:
        publishing = asyncio.create_task(published.events.keep_publishing())
        await published.events.flush()
        assert len(published.at) == 4
        assert now() <= PACE
        publishing.cancel()

    test()


# The same event again.


class EventServer:
    """The events API: creates and patches. Like the operator's Role it rejects any other request."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}

    async def respond(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.method == "POST":
            name = body["metadata"]["name"]
            if name in self.events:
                return web.json_response({"code": 409, "reason": "AlreadyExists"}, status=409)
            self.events[name] = body
            return web.json_response(body, status=201)
        if request.method == "PATCH":
            event = self.events[request.path.rpartition("/")[2]]
            event.update(body)
            return web.json_response(event)
        return web.json_response({"code": 403}, status=403)

    @property
    def counts(self) -> list[int]:
        """Return how often each event was published, as its series says."""
        return [event.get("series", {}).get("count", 1) for event in self.events.values()]


async def publish(events: Events, *notes: str) -> None:
    """Publish events about one object with these notes."""
    publishing = asyncio.create_task(events.keep_publishing())
    for note in notes:
        events.publish(resource(), Notice(EventType.NORMAL, EventReason.ROLES_UPDATED, note))
    await events.flush()
    publishing.cancel()


async def test_the_same_event_again_is_counted() -> None:
    """The same event of the same object is one event, with a count; another text is another event."""
    server = EventServer()
    async with api_server(server.respond) as client:
        await publish(Events(client), "one", "two", "one", "one")
    assert server.counts == [3, 1]


async def test_a_restart_does_not_lower_a_count() -> None:
    """The count continues from the API server's, not from what a process remembers."""
    server = EventServer()
    async with api_server(server.respond) as client:
        await publish(Events(client), *["one"] * 5)
        await publish(Events(client), "one")
        assert server.counts == [6]
        await publish(Events(client), "one", "one")
    assert server.counts == [8]


async def test_an_event_that_expired_is_counted_from_the_start() -> None:
    """The API server removes an event after an hour: the next one starts at one."""
    server = EventServer()
    async with api_server(server.respond) as client:
        events = Events(client)
        await publish(events, "one", "one")
        server.events.clear()
        await publish(events, "one", "one")
    assert server.counts == [2]
