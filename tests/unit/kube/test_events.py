"""Publishing events beside the work that they tell of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atlas_invites.invitation.events import EventReason, EventType, Notice
from atlas_invites.kube.events import PACE, Events
from tests.unit.builders import resource
from tests.unit.virtual_time import now, virtual_time


class Published:
    """Events, of which each is posted at once; ``at`` has the times."""

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


def test_events_give_way_to_work(published: Published) -> None:
    """While there is work to do they go one by one; then at once."""

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


def test_at_the_end_events_do_not_wait(published: Published) -> None:
    """A flush leaves the pace: what is left undone keeps nobody from telling what was done."""

    @virtual_time
    async def test() -> None:
        publishing = asyncio.create_task(published.events.keep_publishing())
        await published.events.flush()
        assert len(published.at) == 4
        assert now() <= PACE
        publishing.cancel()

    test()
