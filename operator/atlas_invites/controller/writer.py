"""Our writes to the cluster: each is in the store before its event can come, so that none wakes its own object."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlas_invites.telemetry.metrics import STATUS_WRITES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.controller.ports import Invites
    from atlas_invites.controller.store import Store
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Key, Resource


class Writer:
    """Writes finalizers and statuses, and keeps the store up to date with them.

    Every write raises ``Stale`` where the object has changed meanwhile, and ``ClusterUnavailable`` where the API server
    failed.

    Args:
        store: the latest of every object.
        invites: writes to Kubernetes.
    """

    def __init__(self, store: Store, invites: Invites) -> None:
        self._store = store
        self._invites = invites
        self._being_written: dict[Key, Resource] = {}

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Put our finalizer on; return the object as it is then: the same spec, a newer version."""
        with self._announced(resource.with_finalizer()):
            written = await self._invites.add_finalizer(resource)
            self._store.put(written)
        return written

    async def remove_finalizer(self, resource: Resource) -> None:
        """Take our finalizer off."""
        self._store.put(await self._invites.remove_finalizer(resource))

    async def write_status(self, resource: Resource, wanted: Status) -> None:
        """Write the whole status, unless it is what is there."""
        if wanted == resource.status:
            return
        status = wanted.to_wire()
        with self._announced(resource.with_status(status)):
            self._store.put(await self._invites.write_status(resource, status))
        STATUS_WRITES.inc()

    def is_ours(self, resource: Resource) -> bool:
        """Tell whether this is just what a write of ours makes of the object, whose event came before its answer."""
        expected = self._being_written.get(resource.key)
        return expected is not None and expected.substance == resource.substance

    @contextmanager
    def _announced(self, expected: Resource) -> Iterator[None]:
        self._being_written[expected.key] = expected
        try:
            yield
        finally:
            del self._being_written[expected.key]
