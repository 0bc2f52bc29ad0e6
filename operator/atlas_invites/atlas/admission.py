"""Decides whether and when a request may go to Atlas: by the rate limit and, for a write, the lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable
from atlas_invites.atlas.throttle import Throttle
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.telemetry.metrics import ATLAS_REQUEST_SECONDS, ATLAS_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx


class Admission:
    """Admits every request of the process, including those for challenges and tokens.

    Args:
        gate: returns how many seconds a write that starts now may take; raises ``ClusterUnavailable`` if none may.
        clock: returns monotonic seconds.
    """

    def __init__(self, gate: Callable[[], float], clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock
        self._throttle = Throttle(clock)

    def stop_writes(self) -> None:
        """Admit no more writes: each raises ``ClusterUnavailable`` and is not sent. Writes in progress continue."""
        self._gate = _stopping

    async def admit(self, request: httpx.Request) -> float:
        """Wait until a request may be sent, and return how many seconds it may take.

        Raises:
            ClusterUnavailable: it is a write, and the gate is closed.
            RateLimited: the wait would be long.
            AtlasUnavailable: the same, because Atlas does not respond.
        """
        operation, of = request.extensions["operation"], request.extensions["of"]
        seconds = self.time_for(request)  # first: a place for a trial that is never sent would delay other calls
        while (place := self._throttle.ask(operation, of)).seconds:
            asked = self._clock()
            await asyncio.sleep(place.seconds)
            seconds = self.time_for(request)
            if place.taken and not self._throttle.struck_since(operation, of, asked):
                break
        request.extensions["began"] = self._clock()
        return seconds

    def time_for(self, request: httpx.Request) -> float:
        """Return how many seconds a request that is sent now may take.

        Raises:
            ClusterUnavailable: it is a write, and the gate is closed.
        """
        return float("inf") if request.extensions["operation"].is_read else self._gate()

    def learn(self, request: httpx.Request, outcome: httpx.Response | AtlasUnavailable) -> None:
        """Record the outcome of a request in the throttle and the metrics."""
        operation, began = request.extensions["operation"], request.extensions["began"]
        failure: AtlasFailure | None
        if isinstance(outcome, AtlasUnavailable):
            status, failure = "none", outcome
        else:
            status, failure = str(outcome.status_code), outcome.extensions["failure"]
        self._throttle.learn(operation, request.extensions["of"], began, failure)
        ATLAS_REQUESTS.labels(operation, status).inc()
        ATLAS_REQUEST_SECONDS.observe(self._clock() - began)


def _stopping() -> NoReturn:
    raise ClusterUnavailable("the operator is stopping and does not write to Atlas any more")
