"""Kubernetes Events (events.k8s.io/v1), published in the background. kopf uses the old API, without a limit."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import ApiClient, ApiException, EventsV1Api, EventsV1Event

from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.invitation.resource import GROUP, KIND, VERSION, Resource
from atlas_invites.kube.connection import MERGE_PATCH, REQUEST_TIMEOUT, cluster_errors, micro_time
from atlas_invites.kube.lease import no_election

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.invitation.notices import Notice

log = logging.getLogger(__name__)

QUEUE_MAX = 1000
"""The maximum number of events that wait to be published; further events are dropped."""

PACE = 0.05
"""Seconds between two events while there is other work, which has priority at the API server."""

_NOTE_LENGTH = 1000
_NAME_LENGTH = 230
_REPORTER = "atlas-invites"


class Events:
    """Publishes events. If an event of an object repeats, only the count of its series is raised.

    ``gate`` is that of the lease (``Lease.time_to_write``); ``busy`` returns whether there is other work.
    """

    def __init__(
        self, client: ApiClient, gate: Callable[[], float] = no_election, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._api = EventsV1Api(client)
        self._gate = gate
        self._busy = busy
        self._waiting: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue(QUEUE_MAX)
        self._instance = f"{_REPORTER}-{socket.gethostname()}"

    def publish(self, resource: Resource, notice: Notice) -> None:
        """Queue an event; see ``ports.Events``."""
        digest = hashlib.sha256(f"{resource.uid}/{notice.type}/{notice.reason}/{notice.note}".encode()).hexdigest()
        name = f"{resource.key.name[:_NAME_LENGTH]}.{digest[:16]}"
        body = {
            "metadata": {"name": name, "namespace": resource.key.namespace},
            "eventTime": micro_time(),
            "reportingController": _REPORTER,
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": notice.reason,
            "type": notice.type,
            "note": notice.note[:_NOTE_LENGTH],
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": resource.key.namespace,
                "name": resource.key.name,
                "uid": resource.uid,
                "resourceVersion": resource.resource_version,
            },
        }
        try:
            self._waiting.put_nowait((resource.key.namespace, name, body))
        except asyncio.QueueFull:
            log.warning("an event was dropped: %s", notice.reason, extra={"object": resource.key})

    async def flush(self, seconds: float = REQUEST_TIMEOUT) -> None:
        """Wait until the queued events are published, at most the given seconds."""
        self._busy = lambda: False
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), seconds)

    async def keep_publishing(self) -> None:
        """Publish the queued events one after the other, forever."""
        while True:
            namespace, name, body = await self._waiting.get()
            try:
                await self._post(namespace, name, body)
            except (ClusterUnavailable, Stale) as error:
                log.warning("an event was lost: %s", error)
            except Exception:
                log.exception("an event was lost because of an unexpected error")
            finally:
                self._waiting.task_done()
            if self._busy():
                await asyncio.sleep(PACE)

    async def _post(self, namespace: str, name: str, body: Any) -> None:  # noqa: ANN401 - the client takes JSON too
        with cluster_errors(f"publishing the event {body['reason']} in {namespace}"):
            try:
                async with asyncio.timeout(seconds := self._timeout()):
                    await self._api.create_namespaced_event(namespace, body, _request_timeout=seconds)
            except ApiException as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                # An empty patch returns the event, so the operator needs no right to read events.
                event = await self._patch(namespace, name, {})
                count = event.series.count if event.series else 1
                await self._patch(namespace, name, {"series": {"count": count + 1, "lastObservedTime": micro_time()}})

    async def _patch(self, namespace: str, name: str, change: Any) -> EventsV1Event:  # noqa: ANN401 - as above
        async with asyncio.timeout(seconds := self._timeout()):
            return await self._api.patch_namespaced_event(
                name, namespace, change, _content_type=MERGE_PATCH, _request_timeout=seconds
            )

    def _timeout(self) -> float:
        return min(REQUEST_TIMEOUT, self._gate())
