"""The client for one set of credentials. It signs requests, and tracks whether Atlas accepts the credentials."""

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
"""Seconds for which calls wait for the first one: Atlas accepts or rejects credentials faster than that."""

TOKEN_PATH = "/api/oauth/token"  # noqa: S105 - a path

T = TypeVar("T")


class AuthenticatedClient:
    """Makes calls with one set of credentials, for all objects that use them.

    Until Atlas has accepted the credentials, and while there is no token, only one call is sent at a time. So any
    number of waiting calls causes only one first challenge, one token request, or one probe of a rejected key. The same
    applies to a project for which Atlas rejects the credentials. Calls that waited for the same project share its
    failure.
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
        """Send a request: concurrently if Atlas accepts such calls, else after the call that goes first.

        The wait for the first call is limited, because every call for a project may hang. The wait for a token is not:
        no call can be sent without it, and the token endpoint allows few requests.

        Raises:
            AtlasFailure: this call, or one that it waited for, failed.
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
                    own.task.cancel()  # when the caller is canceled
            if not await first.has_ended(max(until - self._clock(), 0.0)):
                waits = self._auth.fetching > 0 and not self._auth.ready_for(request)
                until += TURN_TIMEOUT
        return await self._try(request, project, is_last=is_last)

    async def _try_alone(self, request: httpx.Request, project: ProjectScope, *, is_last: bool) -> httpx.Response:
        """Send a request, and if necessary send it again in the same turn, so that no other call tries in between."""
        response = await self._try(request, project, is_last=is_last)
        return await self._try(request, project, is_last=True) if "try_again" in response.extensions else response

    async def _try(
        self, request: httpx.Request, project: ProjectScope, *, is_last: bool, is_repeated: bool = False
    ) -> httpx.Response:
        """Send a request and record the outcome. A 401 counts as a rejection only if the request is not sent again."""
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
        """Return whether to repeat a request that has failed.

        If a new token could not be fetched, the request is sent with the old one while that is valid. A read, or a
        request for a token, is repeated if its connection was dead. A write is not repeated, but goes back to the work
        queue: a second POST may send a second invitation, a second PATCH may overwrite newer roles, and a second DELETE
        finds nothing, which hides that the first one succeeded.
        """
        if failure.operation is not request.extensions["operation"] and self._auth.ready_for(request):
            return True
        is_dead = isinstance(failure, AtlasUnavailable) and failure.what == DISCONNECTED
        return is_dead and failure.operation.is_read
