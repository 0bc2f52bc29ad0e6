"""The trail of an object: one log line for each new reason, and every line of a reconcile can name its object."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from atlas_invites.failures import Failure
from atlas_invites.invitation.outcome import Reason
from atlas_invites.telemetry.logs import subject
from tests.unit.builders import EMAIL, KEY, error
from tests.unit.controller.fakes import World
from tests.unit.controller.test_engine import JOE, Bench
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "atlas_invites.controller.reconcile"):
        yield


@virtual_time
async def test_each_new_reason_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The first reason, the next one, and nothing for the same reason again; never the message or an e-mail."""
    world = World()
    world.cluster.apply()
    await world.turn()
    refused = Failure(Reason.FORBIDDEN, f"Atlas refuses {EMAIL}.", error=error(403, "FORBIDDEN", detail=EMAIL))
    world.atlas.faults.fail("Look", refused, refused)
    await world.turn()
    await world.turn()
    await world.turn()
    lines = [(record.object, record.getMessage()) for record in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        (KEY, "Invited (Settled)"),
        (KEY, "Forbidden (Stalled); before: Invited"),
        (KEY, "Invited (Settled); before: Forbidden"),
    ]
    assert caplog.records[1].fields == {"reason": "Forbidden", "outcome": "Stalled", "before": "Invited"}  # type: ignore[attr-defined]


@virtual_time
async def test_workers_set_their_object() -> None:
    """Each of two concurrent reconciles has its own object, and none remains afterwards."""
    bench = Bench(None, None)
    named: list[object] = []
    bench.script.meanwhile = lambda: named.append(subject())
    bench.queue.add(KEY)
    bench.queue.add(JOE)
    await bench.run_for(5)
    assert sorted(map(str, named)) == sorted([str(KEY), str(JOE)])
    assert subject() is None
