"""The client of the process: one connection pool, one session for each set of credentials, one clock."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from atlas_invites.atlas.authenticated import AuthenticatedClient
from atlas_invites.atlas.errors import READS, AtlasUnavailable
from atlas_invites.atlas.lru import LruCache
from atlas_invites.atlas.project import Project
from atlas_invites.atlas.responses import failure_of, http_date
from atlas_invites.atlas.sunset import Mode, Sunset
from atlas_invites.atlas.throttle import Throttle
from atlas_invites.atlas.transport import HttpClient
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.telemetry.metrics import ATLAS_REQUEST_SECONDS, ATLAS_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from atlas_invites.atlas.calls import Call
    from atlas_invites.atlas.errors import AtlasFailure
    from atlas_invites.invitation.credentials import Credentials

log = logging.getLogger(__name__)

STEP_BACK = timedelta(minutes=1)
"""Atlas's clock goes back by at least so much, or not at all."""
SESSIONS, PROJECTS = 1_000, 10_000
"""How many are remembered; those used least recently are forgotten, so that rotated credentials do not pile up."""

T = TypeVar("T")


class Atlas:
    """Speaks to the Atlas Admin API of one host. Make one a process, inside a running loop, and close it.

    Args:
        url: ``https://cloud.mongodb.com``: host of the API and of the token endpoint.
        envelope: ask for enveloped answers, and take the envelope's status as the truth.
        api: ``auto``, ``invites`` or ``users``.
        clock: monotonic seconds.
        gate: returns how many seconds a write that starts now may take; raises ``ClusterUnavailable`` where none may.
    """

    def __init__(
        self,
        url: str,
        *,
        envelope: bool = False,
        api: Mode = "auto",
        clock: Callable[[], float] = time.monotonic,
        gate: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        # httpx writes each URL at INFO, and ours have e-mails in them.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._envelope = envelope
        self._clock = clock
        self._gate = gate
        self._client = HttpClient(self, url)
        self._agent = f"atlas-invites/{version('atlas-invites')}"
        self._throttle = Throttle(clock)
        self._date: tuple[datetime, float] | None = None
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self._sessions: LruCache[Credentials, AuthenticatedClient] = LruCache(SESSIONS)
        self._projects: LruCache[tuple[Credentials, str], Project] = LruCache(PROJECTS)
        self.sunset = Sunset(api, self.now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what is in flight and close the connections."""
        for project in self._projects:
            await project.aclose()
        await self._client.aclose()

    def stop_sending(self) -> None:
        """Let no write begin any more: it raises ``ClusterUnavailable``, unsent. What is under way goes on."""
        self._gate = _stopping

    def now(self) -> datetime:
        """Return the time that Atlas has, UTC: its last ``Date`` and the seconds since; ours before the first.

        A ``Date`` that is a little behind, as that of an answer which took long, makes it stand, not go back: what has
        expired once must not be found missing before its end a moment later.
        """
        if self._date is None:
            return datetime.now(UTC)
        date, seen_at = self._date
        return max(date + timedelta(seconds=self._clock() - seen_at), self._not_before)

    def project(self, credentials: Credentials, group_id: str) -> Project:
        """Return the project as these credentials see it; the same one for the same arguments."""
        return self._projects.get(
            (credentials, group_id), lambda: Project(self, self._session(credentials), group_id, self._clock)
        )

    async def call(self, session: AuthenticatedClient, call: Call[T]) -> T:
        """Make one call and return its typed answer.

        Raises:
            AtlasFailure: see ``atlas.errors``.
        """
        response = await session.send(self._request(call))
        status, json = response.status_code, response.extensions["json"]
        log.debug("%s answered %d", call.operation, status)
        self._learn(call, response)
        if failure := failure_of(call.operation, status, json, response.headers):
            raise failure
        if json is not None or status == HTTPStatus.NO_CONTENT:  # an empty page with a 200 is a proxy's
            with suppress(ValueError, TypeError, KeyError):  # it prints what it could not read: let nobody see it
                return call.parse(json)
        raise AtlasUnavailable.of(call.operation, "a response that cannot be read")

    def _request(self, call: Call[T]) -> httpx.Request:
        headers = {"Accept": call.media_type, "Accept-Encoding": "identity", "User-Agent": self._agent}
        if call.body is not None:
            headers["Content-Type"] = call.media_type
        return self._client.build_request(
            call.method,
            call.target(envelope=self._envelope),
            headers=headers,
            json=call.body,
            extensions={"operation": call.operation, "of": call.group_id, "envelope": self._envelope},
        )

    def _session(self, credentials: Credentials) -> AuthenticatedClient:
        return self._sessions.get(credentials, lambda: AuthenticatedClient(credentials, self._client, self._clock))

    def _learn(self, call: Call[T], response: httpx.Response) -> None:
        """Take clock and sunset from an answer that is Atlas's own: a proxy has a clock of its own."""
        if not response.is_success and response.extensions["json"] is None:
            return
        if (date := http_date(response.headers.get("Date"))) is not None:
            if self._date is not None:
                was = self.now()
                self._not_before = was if was - date < STEP_BACK else date
            self._date = (date, self._clock())
        self.sunset.learn(call.operation, response.headers)

    async def admit(self, request: httpx.Request) -> float:
        """Let a request go when the throttle and, for a write, the gate let it; return the seconds that it may take."""
        operation, of = request.extensions["operation"], request.extensions["of"]
        self.time_for(request)  # before it takes a place: others would wait for what a try meets that is never made
        while (place := self._throttle.ask(operation, of)).seconds:
            asked = self._clock()
            await asyncio.sleep(place.seconds)
            if place.taken and not self._throttle.struck_since(operation, of, asked):
                break
        seconds = self.time_for(request)
        request.extensions["began"] = self._clock()
        return seconds

    def time_for(self, request: httpx.Request) -> float:
        """Return the seconds that a request may take which goes now.

        Raises:
            ClusterUnavailable: it is a write, and the gate does not let it go.
        """
        return float("inf") if request.extensions["operation"] in READS else self._gate()

    def learn(self, request: httpx.Request, outcome: httpx.Response | AtlasUnavailable) -> None:
        """Take what came of a request into the throttle and the metrics."""
        operation, began = request.extensions["operation"], request.extensions["began"]
        failure: AtlasFailure | None
        if isinstance(outcome, AtlasUnavailable):
            status, failure, headers = "none", outcome, None
        else:
            status, headers = str(outcome.status_code), outcome.headers
            failure = failure_of(operation, outcome.status_code, outcome.extensions["json"], headers)
        self._throttle.learn(operation, request.extensions["of"], began, failure, headers)
        ATLAS_REQUESTS.labels(operation, status).inc()
        ATLAS_REQUEST_SECONDS.observe(self._clock() - began)


def _stopping() -> NoReturn:
    raise ClusterUnavailable("the operator is stopping, and writes to Atlas no more")
