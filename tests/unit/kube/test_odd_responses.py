"""A 2xx response that no API server sends, as a load balancer may: it counts as an outage, and ends nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.notices import EventReason, EventType, Notice
from atlas_invites.invitation.resource import Key
from atlas_invites.kube.events import Events
from atlas_invites.kube.invites import Invites
from atlas_invites.kube.leases import LeaseObject, Record
from atlas_invites.kube.references import References
from tests.unit.builders import resource
from tests.unit.kube.server import always, api_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kubernetes.aio.client import ApiClient

ANSWERS = {
    "html": ("<html>Welcome</html>", "text/html"),
    "empty": ("", "application/json"),
    "cut": ("{", "application/json"),
    "nothing": ("{}", "application/json"),
    "list": ("[]", "application/json"),
    "null": ("null", "application/json"),
    "word": ('"fine"', "application/json"),
    "no-items": ('{"metadata": {}, "items": null}', "application/json"),
    "odd-items": ('{"metadata": {}, "items": [{}]}', "application/json"),
    "bytes": ("x", "application/octet-stream"),
}
CALLS: dict[str, Callable[[ApiClient], Awaitable[Any]]] = {
    "list": lambda client: Invites(client).list_all(),
    "list-of-a-namespace": lambda client: Invites(client, ["team-a"]).list_all(),
    "status": lambda client: Invites(client).write_status(resource(), {}),
    "finalizer-on": lambda client: Invites(client).add_finalizer(resource()),
    "finalizer-off": lambda client: Invites(client).remove_finalizer(resource()),
    "project": lambda client: References(client).group_id(Key("team-a", "project")),
    "secret": lambda client: References(client).credentials(Key("team-a", "atlas-credentials")),
    "namespace": lambda client: References(client).is_ending("team-a"),
    "lease": lambda client: LeaseObject(client, "operators").read(),
    "renewal": lambda client: LeaseObject(client, "operators").write(Record("one", version="1"), taken=False),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("text", "content_type"), ANSWERS.values(), ids=ANSWERS)
async def test_an_odd_response_is_an_outage(
    call: Callable[[ApiClient], Awaitable[Any]], text: str, content_type: str
) -> None:
    """Whatever comes instead of an object, the call reports that the API server failed, and raises nothing else."""
    async with api_server(always(200, text, content_type)) as client:
        with pytest.raises(ClusterUnavailable):
            await call(client)


@pytest.mark.parametrize(("text", "content_type"), ANSWERS.values(), ids=ANSWERS)
async def test_an_odd_response_loses_at_most_one_event(text: str, content_type: str) -> None:
    """Publishing goes on, whatever the response is."""
    async with api_server(always(200, text, content_type)) as client:
        events = Events(client)
        publishing = asyncio.create_task(events.keep_publishing())
        for _ in range(3):
            events.publish(resource(), Notice(EventType.NORMAL, EventReason.CANCELED, "y"))
        await events.flush()
        assert not publishing.done()
        publishing.cancel()


async def test_a_bug_in_publishing_loses_one_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No exception while publishing an event ends the publishing; it is logged."""
    client: Any = None
    events = Events(client)
    posted: list[str] = []

    async def post(_namespace: str, name: str, _body: object) -> None:
        posted.append(name)
        raise RuntimeError("a bug")

    monkeypatch.setattr(events, "_post", post)
    publishing = asyncio.create_task(events.keep_publishing())
    for _ in range(2):
        events.publish(resource(), Notice(EventType.NORMAL, EventReason.CANCELED, "y"))
    await events.flush()
    assert len(posted) == 2
    assert not publishing.done()
    assert [r.levelname for r in caplog.records] == ["ERROR"] * 2
    publishing.cancel()
