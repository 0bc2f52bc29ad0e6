"""The Atlas client of the process: one connection pool and one rate limit for all projects and credentials."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from atlas_invites.atlas.admission import Admission
from atlas_invites.atlas.authenticated import AuthenticatedClient
from atlas_invites.atlas.calls import LIST_PROJECTS, Call
from atlas_invites.atlas.clock import AtlasClock
from atlas_invites.atlas.codec import Codec
from atlas_invites.atlas.errors import AtlasUnavailable
from atlas_invites.atlas.project import PAGE_SIZE, PAGES, Project
from atlas_invites.atlas.sunset import Mode, Sunset
from atlas_invites.atlas.transport import HttpClient
from atlas_invites.invitation.model import Operation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.invitation.credentials import Credentials

CLIENTS, PROJECTS = 1_000, 10_000
"""How many are cached. The least recently used are dropped, so that rotated credentials do not accumulate."""


class Atlas:
    """Gives access to the Atlas projects at one host. Create one for the process, in a running loop, and close it.

    Each part uses only the parts below it; docs/architecture.md describes the path of a call through them.

    Args:
        url: ``https://cloud.mongodb.com``: host of the API and of the token endpoint.
        envelope: whether to request responses in an envelope, whose status then counts.
        api: ``auto``, ``invites`` or ``users``.
        clock: monotonic seconds.
        gate: returns how many seconds a write that starts now may take; raises ``ClusterUnavailable`` if none may.
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
        # httpx logs each URL at INFO, and our URLs contain e-mails.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._clock = clock
        self._time = AtlasClock(clock)
        self.sunset = Sunset(api, self._time.now)
        self._admission = Admission(gate, clock)
        self._http = HttpClient(self._admission, url)
        self._codec = Codec(url, self._time, self.sunset, envelope=envelope)
        self._client = lru_cache(CLIENTS)(self._new_client)
        self._project = lru_cache(PROJECTS)(self._new_project)
        self._projects: WeakSet[Project] = WeakSet()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel calls in progress and close the connections."""
        for project in list(self._projects):
            await project.aclose()
        await self._http.aclose()

    def stop_sending(self) -> None:
        """Start no more writes: each raises ``ClusterUnavailable`` and is not sent. Writes in progress continue."""
        self._admission.stop_writes()

    def now(self) -> datetime:
        """Return the time of Atlas, UTC."""
        return self._time.now()

    def project(self, credentials: Credentials, group_id: str) -> Project:
        """Return the project as these credentials see it: the same object for the same arguments."""
        return self._project(credentials, group_id)

    async def project_ids(self, credentials: Credentials) -> list[str]:
        """List the ids of all projects that the credentials can see.

        Raises:
            AtlasFailure: Atlas did not return the list.
        """
        client, found = self._client(credentials), dict[str, None]()
        for number in range(1, PAGES + 1):
            query = [("itemsPerPage", str(PAGE_SIZE)), ("pageNum", str(number))]
            page = await client.call(Call(LIST_PROJECTS, "", query=query))
            more = len(page) == PAGE_SIZE and not found.keys() >= set(page)
            found |= dict.fromkeys(page)
            if not more:
                return list(found)
        raise AtlasUnavailable(Operation.READ_PROJECT, "a list that does not end")

    def _new_client(self, credentials: Credentials) -> AuthenticatedClient:
        return AuthenticatedClient(credentials, self._http, self._codec, self._clock)

    def _new_project(self, credentials: Credentials, group_id: str) -> Project:
        project = Project(self._client(credentials), self.sunset, group_id, self._clock)
        self._projects.add(project)
        return project
