"""The session for all requests to the API server, of our own client and of kopf: one identity, one TLS context."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import aiohttp

from atlas_invites.environment import StartupError
from atlas_invites.kube.access import Access, Load, find_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

RELOAD_PAUSE = 5.0
"""The minimum of seconds between two loads of the access, also after a failed one."""

RELOAD_WAIT = 5.0
"""The maximum of seconds that a rejected request waits for the access to be reloaded."""

USER_AGENT = f"atlas-invites/{version('atlas-invites')}"
"""Our name in audit logs. The part before the slash is also the field manager."""

LOST_AFTER = 60.0
"""Seconds without a successful call after which the probes fail: liveness and readiness, also of a standby."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_session(load: Load | None = None) -> AsyncIterator[Session]:
    """Open a session with the cluster of the pod or of the kubeconfig, unless ``load`` names another one.

    aiohttp does not read the environment (``trust_env``): it would look up a proxy and a netrc file in a thread for
    each call, which takes a third of the CPU of a burst. The number of connections is not limited: hung calls could
    use up the hundred connections that aiohttp allows by default, and the renewal of the Lease would get none.

    Raises:
        StartupError: no cluster is configured, or the access to it cannot be used.
    """
    load = load or find_cluster()
    access = await load(None)
    connector, headers = aiohttp.TCPConnector(limit=0), {"User-Agent": USER_AGENT}
    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as http:
        session = Session(http, load, access)
        try:
            yield session
        finally:
            session.end()


class Session:
    """Sends requests, as ``aiohttp.ClientSession`` does, and keeps credentials and trusted CAs up to date.

    It reloads the access before it expires. It also reloads it when the API server rejects our credentials or we reject
    its certificate, and then repeats the request once. ``clock`` returns monotonic seconds.
    """

    def __init__(
        self, http: aiohttp.ClientSession, load: Load, access: Access, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._load_access = load
        self._access = access
        self._clock = clock
        self._loaded_at = clock()
        self._due = self._loaded_at + access.lasts
        self._loading: asyncio.Task[None] | None = None
        self._said = ""
        self._watches: dict[str, aiohttp.ClientResponse] = {}
        self._succeeded_at = clock()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._access.server

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of each request without those of our identity."""
        return self._http.headers

    @property
    def closed(self) -> bool:
        """Whether the session is closed."""
        return self._http.closed

    def succeed(self) -> None:
        """Record that a list, a watch or a call for the Lease has succeeded now."""
        self._succeeded_at = self._clock()

    def lost_for(self) -> float:
        """Return the seconds since the last success; before the first, since the start."""
        return self._clock() - self._succeeded_at

    def watches(self, path: str) -> bool:
        """Return whether a watch of a path is open."""
        response = self._watches.get(f"{self.server}{path}")
        return response is not None and not response.closed

    async def close(self) -> None:
        """Do nothing: kopf and the client library share this session, and both would close it."""

    def end(self) -> None:
        """Stop loading the access."""
        if self._loading is not None:
            self._loading.cancel()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - aiohttp's
    ) -> aiohttp.ClientResponse:
        """Send a request and return the response; see ``aiohttp.ClientSession.request``."""
        access = self._access
        if self._clock() >= self._due:
            _ = self._load()  # in the background: the current access is still valid
        try:
            response = await self._send(access, method, url, headers, options)
        except aiohttp.ClientSSLError:
            if (newer := await self._newer_than(access)) is access:
                raise
        else:
            if response.status != HTTPStatus.UNAUTHORIZED:
                return response
            try:
                newer = await self._newer_than(access)
            except asyncio.CancelledError:
                response.release()
                raise
            if newer is access:
                return response
            response.release()
        return await self._send(newer, method, url, headers, options)

    async def _send(
        self, access: Access, method: str, url: str, headers: Mapping[str, str] | None, options: Mapping[str, Any]
    ) -> aiohttp.ClientResponse:
        response = await self._http.request(
            method,
            url,
            headers=[*(headers or {}).items(), *access.headers],
            ssl=access.tls,
            server_hostname=access.server_name,
            proxy=access.proxy,
            allow_redirects=False,  # else body and impersonation headers would reach another host
            **options,
        )
        path, _, query = url.partition("?")
        if response.ok and "watch=true" in query:
            self._watches[path] = response
        return response

    async def _newer_than(self, rejected: Access) -> Access:
        """Return the current access. Reload it if it is the rejected one; return that if there is no other yet."""
        if self._access is rejected and (self._loading is not None or self._clock() >= self._loaded_at + RELOAD_PAUSE):
            await asyncio.wait({self._load()}, timeout=RELOAD_WAIT)
        return self._access

    def _load(self) -> asyncio.Task[None]:
        """Start to load the access, unless that is in progress. It continues if a request no longer waits for it."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_once(), name="access")
        return self._loading

    async def _load_once(self) -> None:
        self._loaded_at = self._clock()
        self._due = self._loaded_at + RELOAD_PAUSE
        try:
            access = await self._load_access(self._access)
        except Exception as error:  # noqa: BLE001 - only the message of a StartupError is free of secrets
            said = str(error) if isinstance(error, StartupError) else type(error).__name__
            if self._said != said:
                self._said = said
                log.warning("keeping the current credentials for the API server; will retry: %s", said)
        else:
            self._said = ""
            self._due = self._loaded_at + max(access.lasts, RELOAD_PAUSE)
            if access != self._access:  # else a rejected request would be repeated with an equal access
                self._access = access
        finally:
            self._loading = None
