"""The client of one set of credentials: it signs requests, and knows whether Atlas accepts the credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from atlas_invites.atlas.bearer import BearerAuth
from atlas_invites.atlas.digest import DigestAuth
from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable, CredentialsRejected
from atlas_invites.atlas.rejections import ProjectScope, Rejections
from atlas_invites.atlas.trail import log_change
from atlas_invites.atlas.transport import DISCONNECTED
from atlas_invites.invitation.credentials import ApiKey, Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from atlas_invites.atlas.calls import Call
    from atlas_invites.atlas.codec import Codec

TURN_TIMEOUT = 2.0
"""Seconds for which calls wait for the one that goes first: credentials are accepted or rejected in less."""

TOKEN_PATH = "/api/oauth/token"  # noqa: S105 - where tokens come from

T = TypeVar("T")


class AuthenticatedClient:
    """Makes calls with one set of credentials, for all who hold them.

    While it is not known that Atlas accepts the credentials, or there is no token, one call goes at a time. So there is
    one first challenge, one token, and one probe of a dead key, for however many wait. The same holds for one project
    that Atlas rejects them for. Calls that waited for the same project share its failure.
    """

    def __init__(
        self, credentials: Credentials, http: httpx.AsyncClient, codec: Codec, clock: Callable[[], float]
    ) -> None:
        self._auth: DigestAuth | BearerAuth
        if isinstance(credentials, ApiKey):
            self._auth = DigestAuth(credentials)
        else:
            self._auth = BearerAuth(credentials, http.base_url.copy_with(path=TOKEN_PATH), clock)
        self._http = http
        self._codec = codec
        self._clock = clock
        self._rejections = Rejections(clock)

    async def call(self, call: Call[T]) -> T:
        """Make one call and return its typed result.

        Raises:
            CredentialsRejected: Atlas rejected the credentials, perhaps for this project only, now or less than a
                minute ago.
            AtlasFailure: every other failure of ``atlas.errors``.
            ClusterUnavailable: it is a write, and the gate is closed.
        """
        request = self._codec.request(call)
        asked, project = self._clock(), self._rejections.project(request.extensions["of"])
        try:
            response = await self._send_in_turn(request, project, asked, is_last=False)
            if "try_again" in response.extensions:
                response = await self._send_in_turn(request, project, asked, is_last=True)
        except AtlasFailure as failure:
            if failure.unanswered:
                log_change(call, None)
            raise
        log_change(call, response.status_code)
        return self._codec.result(call, response)

    async def _send_in_turn(
        self, request: httpx.Request, project: ProjectScope, asked: float, *, is_last: bool
    ) -> httpx.Response:
        """Send a request: with others if Atlas accepts such calls, else alone, after the call that goes first.

        A call that hangs is not waited for, as each call for one project may. A token is waited for, however long it
        takes: no call can go without it, and its endpoint allows few requests.

        Raises:
            AtlasFailure: another call has met it for this one too.
        """
        operation, waits, until = request.extensions["operation"], True, self._clock() + TURN_TIMEOUT
        while not ((is_ready := self._auth.ready_for(request)) and self._rejections.is_open(project, operation)):
            if shared := self._rejections.failure_for(project, operation, asked):
                raise shared.again(operation)
            scope = self._rejections.scope_of(project, operation) if is_ready else self._rejections.credentials
            if not waits:
                return await self._try_alone(request, project, is_last=is_last)
            if (first := scope.turns.running) is None:
                own = scope.turns.start(self._try_alone(request, project, is_last=is_last))
                try:
                    return await own.result()
                finally:
                    own.task.cancel()  # with the caller
            if not await first.has_ended(max(until - self._clock(), 0.0)):
                waits = self._auth.fetching > 0 and not self._auth.ready_for(request)
                until += TURN_TIMEOUT
        return await self._try(request, project, is_last=is_last)

    async def _try_alone(self, request: httpx.Request, project: ProjectScope, *, is_last: bool) -> httpx.Response:
        """Send a request, and send it again in the same turn: no other call tries meanwhile."""
        response = await self._try(request, project, is_last=is_last)
        return await self._try(request, project, is_last=True) if "try_again" in response.extensions else response

    async def _try(
        self, request: httpx.Request, project: ProjectScope, *, is_last: bool, is_repeated: bool = False
    ) -> httpx.Response:
        """Send a request and record the outcome; a 401 is a rejection only if the request is not sent again."""
        began, operation = self._clock(), request.extensions["operation"]
        is_probe = request.extensions["is_probe"] = project.rejects(operation)
        try:
            response = await self._http.send(request, auth=self._auth)
        except AtlasFailure as failure:
            if is_repeated or not self._may_repeat(request, failure):
                self._rejections.learn(project, operation, began, failure)
                raise
        else:
            if "try_again" in response.extensions and not (is_last or is_probe):
                return response
            means, is_unknown = response.extensions["failure"], "unknown_key" in response.extensions
            meant = self._rejections.learn(project, operation, began, means, unknown_key=is_unknown)
            if isinstance(meant, CredentialsRejected):
                raise meant
            return response
        return await self._try(request, project, is_last=is_last, is_repeated=True)

    def _may_repeat(self, request: httpx.Request, failure: AtlasFailure) -> bool:
        """Return whether to send a request again that has failed.

        It goes with the old token, while that is good, if a new one could not be fetched. A read, which a request for a
        token is too, is repeated if its connection was dead. No write is: a POST may send a second invitation, a PATCH
        put older roles over newer ones, and a DELETE that finds nothing the second time hides that the first one did
        it. They go back to the work queue.
        """
        if failure.operation is not request.extensions["operation"] and self._auth.ready_for(request):
            return True
        is_dead = isinstance(failure, AtlasUnavailable) and failure.what == DISCONNECTED
        return is_dead and failure.operation.is_read
