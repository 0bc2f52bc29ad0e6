"""Many calls that wait at once: who goes when, with the throttle and the waiting together, in virtual time."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from atlas_invites.atlas.admission import Admission
from atlas_invites.atlas.errors import AtlasFailure
from atlas_invites.atlas.responses import failure_of
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.model import Operation
from tests.unit.virtual_time import now, virtual_time

URL = "http://atlas.test"


def admission() -> Admission:
    return Admission(lambda: float("inf"), now)


def request(operation: Operation = Operation.UPDATE_INVITE) -> httpx.Request:
    return httpx.Request("PATCH", URL, extensions={"operation": operation, "of": "g"})


def answer(status: int, code: str = "X") -> httpx.Response:
    json = {"error": status, "errorCode": code}
    failure = failure_of(Operation.UPDATE_INVITE, status, json, {})
    return httpx.Response(status, extensions={"json": json, "failure": failure})


class Outage:
    """An Atlas that answers 503 until a time, then 200, each after a moment; the calls that reach it, by second."""

    def __init__(self, gate: Admission, until: float, latency: float = 0.05) -> None:
        self.gate = gate
        self.until = until
        self.latency = latency
        self.heard: list[float] = []

    async def call(self) -> bool:
        asked = request()
        await self.gate.admit(asked)
        self.heard.append(now())
        status = 200 if now() >= self.until else 503
        await asyncio.sleep(self.latency)
        self.gate.learn(asked, answer(status))
        return status == 200

    async def work(self) -> None:
        """Do as a worker does: call until it works, a second later after each failure, or when it is told to."""
        while True:
            pause: float | None = None
            try:
                if await self.call():
                    return
            except AtlasFailure as failure:
                pause = failure.retry_after
            await asyncio.sleep(1 if pause is None else pause)


@virtual_time
async def test_an_outage_is_met_by_one_call_at_a_time() -> None:
    """Forty workers, a minute of 503: when a hold ends one goes, and the others wait for what it meets."""
    outage = Outage(admission(), until=60)
    await asyncio.gather(*(outage.work() for _ in range(40)))
    held = [time for time in outage.heard if 5 < time < 60]
    assert len(held) < 10
    assert len(outage.heard) < 2 * 40 + 40 + 15
    assert max(outage.heard) < 130


@virtual_time
async def test_who_waits_goes_as_soon_as_the_trial_has_met_an_answer() -> None:
    """Not only when the second is over that they would wait for it."""
    gate = admission()
    asked = request()
    await gate.admit(asked)
    gate.learn(asked, answer(429))
    await asyncio.sleep(0.5)
    outage = Outage(gate, until=0)
    await asyncio.gather(*(outage.call() for _ in range(40)))
    assert outage.heard[0] == pytest.approx(1, abs=0.01)
    assert outage.heard[-1] < outage.heard[1] + 0.01 < 1.2


@virtual_time
async def test_a_trial_that_is_cancelled_makes_way() -> None:
    """Another one tries a second later."""
    gate = admission()
    asked = request()
    await gate.admit(asked)
    gate.learn(asked, answer(429))
    await asyncio.sleep(1)
    await gate.admit(request())  # and nothing comes of it
    outage = Outage(gate, until=0)
    await asyncio.gather(*(outage.work() for _ in range(40)))
    assert outage.heard[0] == pytest.approx(2, abs=0.1)
    assert outage.heard[-1] < 5


@virtual_time
async def test_who_waits_in_line_when_sending_stops_does_not_go() -> None:
    """A place in the line that comes up later is too late."""
    gate = admission()
    asked = request(Operation.CREATE_INVITE)
    await gate.admit(asked)
    gate.learn(asked, answer(400, "INVITATIONS_RATE_LIMITED_IP"))
    await asyncio.sleep(0.5)
    waiting = [asyncio.create_task(gate.admit(request(Operation.CREATE_INVITE))) for _ in range(5)]
    await asyncio.sleep(0.65)
    gate.stop_writes()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(result, ClusterUnavailable) for result in results] == [False, False, True, True, True]
