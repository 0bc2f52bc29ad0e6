"""Many calls that wait at the same time: which one goes when, with the throttle and the waiting together."""

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
    """An Atlas that returns 503 until a given time, then 200, each after a moment.

    It counts the calls it gets, by second.
    """

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
        """Act as a worker does: call until it works.

        Try again a second after each failure, or at the time the failure names.
        """
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
    """Forty workers meet a minute of 503s: when a hold ends, one call goes, and the others wait for its result."""
    outage = Outage(admission(), until=60)
    await asyncio.gather(*(outage.work() for _ in range(40)))
    held = [time for time in outage.heard if 5 < time < 60]
    assert len(held) < 10
    assert len(outage.heard) < 2 * 40 + 40 + 15
    assert max(outage.heard) < 130


@virtual_time
async def test_waiting_calls_go_as_soon_as_the_trial_has_a_response() -> None:
    """They do not wait until the full second is over."""
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
async def test_a_canceled_trial_makes_way() -> None:
    """Another call tries a second later."""
    gate = admission()
    asked = request()
    await gate.admit(asked)
    gate.learn(asked, answer(429))
    await asyncio.sleep(1)
    await gate.admit(request())  # and it has no result
    outage = Outage(gate, until=0)
    await asyncio.gather(*(outage.work() for _ in range(40)))
    assert outage.heard[0] == pytest.approx(2, abs=0.1)
    assert outage.heard[-1] < 5


@virtual_time
async def test_a_call_in_line_does_not_go_after_sending_stops() -> None:
    """Its place in the line comes up too late."""
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
