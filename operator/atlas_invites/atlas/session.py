"""One set of credentials, shared by all who hold them: how they authenticate, and whether Atlas accepts them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from atlas_invites.atlas.answers import failure_of
from atlas_invites.atlas.auth import auth_for
from atlas_invites.atlas.errors import READS, AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited
from atlas_invites.atlas.transport import DISCONNECTED
from atlas_invites.invitation.model import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

    import httpx

    from atlas_invites.invitation.credentials import Credentials

PROBE_EVERY = 60.0
"""Seconds for which rejected credentials are not tried again; then one call tries them for all."""

PATIENCE = 2.0
"""Seconds for which calls wait for the one that goes first: credentials are accepted or rejected in less."""


class Session:
    """Sends requests with one set of credentials.

    While it is not known that Atlas accepts them, or there is no token, one call goes at a time: so there is one first
    challenge, one token, and one probe of a dead key, however many wait. Who waited for the same project shares its
    failure.
    """

    def __init__(
        self, credentials: Credentials, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._auth = auth_for(credentials, client.base_url, clock)
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._accepted = False
        self._failure: AtlasFailure | None = None
        self._failed_at = 0.0
        self._failed_of: Hashable = None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer.

        Raises:
            CredentialsRejected: Atlas does not accept the credentials, now or less than a minute ago.
            RateLimited: it was not sent, because Atlas asked us to wait.
            AtlasUnavailable: no answer.
        """
        operation: Operation = request.extensions["operation"]
        response = await self._send(request, operation)
        if response.extensions.get("voided"):
            response = await self._send(request, operation)
        return response

    async def _send(self, request: httpx.Request, operation: Operation) -> httpx.Response:
        asked = self._clock()
        if not self._ready:
            async with self._turn():
                self._share(asked, request)
                if not self._ready:
                    return await self._try(request, operation)
        return await self._try(request, operation)

    @property
    def _ready(self) -> bool:
        return self._accepted and self._auth.ready

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the call before, but not for one that hangs, as each call for one project may.

        A token is waited for, however long it takes: without it nobody can go, and its endpoint allows few requests.
        """
        while not await self._is_our_turn():
            if not self._auth.fetching:
                yield
                return
        try:
            yield
        finally:
            self._lock.release()

    async def _is_our_turn(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._lock.acquire()
        except TimeoutError:
            return False

    def _share(self, asked: float, request: httpx.Request) -> None:
        """Raise what another call met since we asked, or within the last minute where it is a rejection.

        What it met at another project says nothing of this one.
        """
        if self._failure is None:
            return
        rejected = isinstance(self._failure, CredentialsRejected)
        for_all = rejected or self._failure.operation is Operation.TOKEN or self._failed_of == request.extensions["of"]
        if for_all and self._failed_at >= (self._clock() - PROBE_EVERY if rejected else asked):
            raise self._failure.again(request.extensions["operation"])

    async def _try(self, request: httpx.Request, operation: Operation) -> httpx.Response:
        began = self._clock()
        try:
            response = await self._exchange(request)
        except AtlasFailure as failure:
            self._note(failure, began, request.extensions["of"])
            raise
        if not response.extensions.get("voided"):
            meant = failure_of(operation, response.status_code, response.extensions["json"], response.headers)
            self._note(meant, began, request.extensions["of"])
            if isinstance(meant, CredentialsRejected):
                raise meant
        return response

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        """Send a request, authenticated; with the old token where a new one could not be had, while it is good."""
        try:
            return await self._exchange_once(request)
        except AtlasFailure as failure:
            if failure.operation is request.extensions["operation"] or not self._auth.ready:
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

    def _note(self, failure: AtlasFailure | None, began: float, of: Hashable) -> None:
        """Remember what a call that began then says of the credentials: an answer other than 401 accepts them."""
        if isinstance(self._failure, CredentialsRejected) and began <= self._failed_at:
            return  # older news than the rejection
        if isinstance(failure, CredentialsRejected | RateLimited | AtlasUnavailable):
            self._failure, self._failed_at = failure, self._clock()
            self._failed_of = of
            self._accepted = self._accepted and not isinstance(failure, CredentialsRejected)
        else:
            self._failure, self._accepted = None, True
