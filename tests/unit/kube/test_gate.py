"""The Lease's gate for writes to Kubernetes: no write goes out if the Lease may end before it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.notices import EventReason, EventType, Notice
from atlas_invites.kube.connection import REQUEST_TIMEOUT
from atlas_invites.kube.events import Events
from atlas_invites.kube.invites import Invites
from tests.unit.builders import resource
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class FakeClient:
    """Replace the connection: record the calls, and how long each might take."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.hangs = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the generated client asks for
        async def call(*_: object, _request_timeout: float, **__: object) -> Any:  # noqa: ANN401
            self.calls.append((name, _request_timeout))
            if self.hangs:
                await asyncio.Event().wait()
            return {"items": [], "metadata": {}}

        return call


def closed() -> float:
    raise ClusterUnavailable("the lease is not ours for long enough")


def invites(gate: Callable[[], float]) -> tuple[Invites, FakeClient]:
    client: Any = FakeClient()
    made = Invites(client, gate=gate)
    made._api = client  # noqa: SLF001 - in place of the generated client
    return made, client


WRITES: list[Callable[[Invites], Awaitable[Any]]] = [
    lambda made: made.add_finalizer(resource()),
    lambda made: made.remove_finalizer(resource()),
    lambda made: made.write_status(resource(), {}),
]


@pytest.mark.parametrize("write", WRITES, ids=["finalizer-on", "finalizer-off", "status"])
async def test_a_closed_gate_lets_no_write_out(write: Callable[[Invites], Awaitable[Any]]) -> None:
    """No finalizer and no status is written while the gate is closed."""
    made, client = invites(closed)
    with pytest.raises(ClusterUnavailable):
        await write(made)
    assert client.calls == []


@pytest.mark.parametrize("write", WRITES, ids=["finalizer-on", "finalizer-off", "status"])
@pytest.mark.parametrize(("left", "seconds"), [(3.5, 3.5), (13.0, REQUEST_TIMEOUT), (float("inf"), REQUEST_TIMEOUT)])
async def test_a_write_gets_the_time_of_the_gate(
    write: Callable[[Invites], Awaitable[Any]], left: float, seconds: float
) -> None:
    """A write may take as long as the gate says, and never longer than any call."""
    made, client = invites(lambda: left)
    with pytest.raises(ClusterUnavailable, match="did not come from a Kubernetes API server"):
        await write(made)
    assert [given for _, given in client.calls] == [seconds]


@pytest.mark.parametrize("write", WRITES, ids=["finalizer-on", "finalizer-off", "status"])
def test_a_write_is_cut_when_its_time_is_over(write: Callable[[Invites], Awaitable[Any]]) -> None:
    """It is not cut up to a second later, which is how aiohttp rounds time-outs of more than five seconds."""

    @virtual_time
    async def test() -> None:
        made, client = invites(lambda: 7.25)
        client.hangs = True
        with pytest.raises(ClusterUnavailable, match="TimeoutError"):
            await write(made)
        assert now() == pytest.approx(7.25)

    test()


@virtual_time
async def test_an_event_is_cut_when_its_time_is_over() -> None:
    """It is cut like any other write."""
    client: Any = FakeClient()
    client.hangs = True
    events = Events(client, lambda: 7.25)
    events._api = client  # noqa: SLF001 - in place of the generated client
    with pytest.raises(ClusterUnavailable, match="TimeoutError"):
        await events._post("team-a", "e", {"reason": "X"})  # noqa: SLF001 - what the background task does
    assert now() == pytest.approx(7.25)


async def test_a_closed_gate_lets_reads_pass() -> None:
    """A replica that may not write may read."""
    made, client = invites(closed)
    assert (await made.list_all()).resources == []
    assert len(client.calls) == 1


async def test_a_closed_gate_loses_an_event() -> None:
    """An event that may not be written is logged and lost; later events are published."""
    client: Any = FakeClient()
    events = Events(client, closed)
    events._api = client  # noqa: SLF001 - in place of the generated client
    with pytest.raises(ClusterUnavailable):
        await events._post("team-a", "e", {"reason": "X"})  # noqa: SLF001 - what the background task does
    assert client.calls == []
    events.publish(resource(), Notice(EventType.NORMAL, EventReason.CANCELED, "y"))
