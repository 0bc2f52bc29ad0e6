"""One process of the operator: its real parts, connected to the simulated network and cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from unittest.mock import patch

from atlas_invites.atlas import client
from atlas_invites.controller.assembly import Controller
from atlas_invites.controller.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.atlas.sunset import Mode
    from atlas_invites.invitation.resource import Resource
    from tests.simulation.cluster import Cluster
    from tests.simulation.network import Network

URL = "http://127.0.0.1:8081"
RESYNC_INTERVAL = 600.0
DELETION_GRACE = 5.0
WORKERS = 3


class TellingStore(Store):
    """A store that also reports what it was told, because the safety laws judge the operator by what it knew."""

    def __init__(self, told: Callable[[Resource], None]) -> None:
        super().__init__()
        self._told = told

    def put(self, resource: Resource) -> bool:
        """Store a version of an object."""
        wants = super().put(resource)
        if self.get(resource.key) is resource:
            self._told(resource)
        return wants


class Process:
    """A running operator.

    Args:
        cluster: the API server.
        network: the network to Atlas.
        api: the setting ``--atlas-api``.
        told: called with every version of an object that the operator takes for the latest one.
        wall: the clock of its node.
    """

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        api: Mode,
        told: Callable[[Resource], None],
        wall: Callable[[], datetime],
    ) -> None:
        clock = cluster.time
        self._cluster = cluster
        with patch.object(client, "HttpClient", network.client):
            self.atlas = client.Atlas(URL, api=api, clock=clock)
        self.store = TellingStore(told)
        controller = Controller(
            invites=cluster,
            references=cluster,
            events=cluster,
            atlas=self.atlas,
            workers=WORKERS,
            resync_interval=RESYNC_INTERVAL,
            deletion_grace=DELETION_GRACE,
            clock=clock,
            wall=wall,
            store=self.store,
        )
        self.queue, self.engine, self.resync = controller.queue, controller.engine, controller.resync
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def kill(self) -> None:
        """Kill it: its memory is lost, but its requests still arrive."""
        self._cluster.detach()
        self.queue.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.atlas.aclose()

    def check(self) -> None:
        """Raise the exception that ended it, if it has ended."""
        if self._task.done():
            self._task.result()

    async def _run(self) -> None:
        await self.engine.list_first()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.work())
            group.create_task(self.engine.keep_listing())
            group.create_task(self._resync())
            self._cluster.attach(lambda resource, deleted: self.engine.on_event(resource, deleted=deleted))

    async def _resync(self) -> None:
        await self.resync.resync_all()
        await self.resync.keep_resyncing()
