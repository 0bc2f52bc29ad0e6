"""One set of credentials, shared by all who hold them: how they authenticate, and whether Atlas accepts them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from atlas_invites.atlas.auth import auth_for
from atlas_invites.atlas.errors import READS, AtlasFailure, AtlasUnavailable, CredentialsRejected
from atlas_invites.atlas.rejections import Rejections
from atlas_invites.atlas.responses import failure_of
from atlas_invites.atlas.transport import DISCONNECTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

    import httpx

    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Operation

PATIENCE = 2.0
"""Seconds for which calls wait for the one that goes first: credentials are accepted or rejected in less."""


class AuthenticatedClient:
    """Sends requests with one set of credentials.

    While it is not known that Atlas accepts them, or there is no token, one call goes at a time: so there is one first
    challenge, one token, and one probe of a dead key, however many wait. The same holds for one project that Atlas
    rejects them for. Who waited for the same project shares its failure.
    """

    def __init__(
        self, credentials: Credentials, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._auth = auth_for(credentials, client.base_url, clock)
        self._client = client
        self._clock = clock
        self._rejections = Rejections(clock)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer.

        Raises:
            CredentialsRejected: Atlas rejected the credentials, perhaps for this project only, now or less than a
                minute ago.
            RateLimited: it was not sent, because Atlas asked us to wait.
            AtlasUnavailable: no answer.
        """
        asked = self._clock()
        async with self._gate(request, asked) as is_alone:
            response = await self._try(request, is_last=False)
            if is_alone and _may_be_sent_again(response):  # in the same turn: nobody else tries meanwhile
                return await self._try(request, is_last=True)
        if not _may_be_sent_again(response):
            return response
        async with self._gate(request, asked):
            return await self._try(request, is_last=True)

    def _is_open(self, request: httpx.Request) -> bool:
        return self._auth.ready_for(request) and self._rejections.is_open(*_about(request))

    @asynccontextmanager
    async def _gate(self, request: httpx.Request, asked: float) -> AsyncIterator[bool]:
        """Wait until a request may go, and yield whether it is the only one.

        Raises:
            AtlasFailure: another call has met it for this one too.
        """
        if not self._is_open(request):
            async with self._turn(request):
                if failure := self._rejections.failure_for(*_about(request), asked):
                    raise failure.again(request.extensions["operation"])
                if not self._is_open(request):
                    yield True
                    return
        yield False

    @asynccontextmanager
    async def _turn(self, request: httpx.Request) -> AsyncIterator[None]:
        """Wait for the call before, but not for one that hangs, as each call for one project may.

        A token is waited for, however long it takes: without it nobody can go, and its endpoint allows few requests.
        """
        is_ready = self._auth.ready_for(request)
        turn = (self._rejections.scope_of(*_about(request)) if is_ready else self._rejections.credentials).turn
        while not await _is_taken(turn):
            if self._auth.ready_for(request) or not self._auth.fetching:
                yield
                return
        try:
            yield
        finally:
            turn.release()

    async def _try(self, request: httpx.Request, *, is_last: bool) -> httpx.Response:
        """Send a request and record what came of it; a 401 is a rejection only if the request is not sent again."""
        began, (of, operation) = self._clock(), _about(request)
        request.extensions["is_probe"] = is_probe = self._rejections.is_rejected(of, operation)
        try:
            response = await self._exchange(request)
        except AtlasFailure as failure:
            self._rejections.learn(of, operation, began, failure)
            raise
        if _may_be_sent_again(response) and not (is_last or is_probe):
            return response
        meant = failure_of(operation, response.status_code, response.extensions["json"], response.headers)
        unknown_key = "unknown_key" in response.extensions
        meant = self._rejections.learn(of, operation, began, meant, unknown_key=unknown_key)
        if isinstance(meant, CredentialsRejected):
            raise meant
        return response

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        """Send a request, authenticated; with the old token where a new one could not be had, while it is good."""
        try:
            return await self._exchange_once(request)
        except AtlasFailure as failure:
            if failure.operation is request.extensions["operation"] or not self._auth.ready_for(request):
                raise
        return await self._exchange_once(request)

    async def _exchange_once(self, request: httpx.Request) -> httpx.Response:
        """Send a request. A read, which a request for a token is too, is sent again when its connection was dead.

        No write is: a POST may send a second invitation, a PATCH put older roles over newer ones, and a DELETE that
        finds nothing the second time hides that the first one did it. They go back to the work queue.
        """
        try:
            return await self._client.send(request, auth=self._auth)
        except AtlasUnavailable as failure:
            if failure.what != DISCONNECTED or failure.operation not in READS:
                raise
        return await self._client.send(request, auth=self._auth)


def _about(request: httpx.Request) -> tuple[Hashable, Operation]:
    """Return the project and the operation that a request is for."""
    return request.extensions["of"], request.extensions["operation"]


def _may_be_sent_again(response: httpx.Response) -> bool:
    return "try_again" in response.extensions


async def _is_taken(turn: asyncio.Lock) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            return await turn.acquire()
    except TimeoutError:
        return False
