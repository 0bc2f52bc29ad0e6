"""The Lease object (coordination.k8s.io/v1) at the API server; ``lease`` has the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import ApiClient, ApiException, CoordinationV1Api

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.kube.connection import MERGE_PATCH, cluster_errors, micro_time

if TYPE_CHECKING:
    from collections.abc import Callable

DURATION = 15.0
"""Seconds that a candidate waits, after the last change of the record that it has seen, before it takes over."""

CALL_AT_MOST = 3.0
"""Seconds for one call to the API server: several must fit before the holder gives up."""

NAME = "atlas-invites"
_OPTIONS: dict[str, Any] = {"_request_timeout": CALL_AT_MOST}


@dataclass(frozen=True, slots=True)
class Record:
    """What the Lease object says.

    Attributes:
        holder: the identity of who holds it; empty where nobody does.
        duration: seconds for which it holds without a renewal.
        transitions: how often it has changed hands.
        times: the record's times, as text: they tell that it has changed, and are never compared with a clock.
        version: the resource version; empty for an object that has yet to be created.
    """

    holder: str
    duration: float = DURATION
    transitions: int = 0
    times: tuple[str, str] = ("", "")
    version: str = ""

    def same_beat(self, other: Record | None) -> bool:
        """Return whether nobody has written the record in between; labels and annotations do not count."""
        return other is not None and replace(self, version="") == replace(other, version="")


class LeaseObject:
    """Reads and writes the one Lease of a namespace. Calls ``succeed`` whenever it has read or written it.

    Every method raises ``ClusterUnavailable`` if the API server fails.
    """

    def __init__(self, client: ApiClient, namespace: str, succeed: Callable[[], None] = lambda: None) -> None:
        self._api = CoordinationV1Api(client)
        self._namespace = namespace
        self._succeed = succeed

    async def read(self) -> Record | None:
        """Return what it says, or None where there is none."""
        with cluster_errors(f"reading the Lease {self._namespace}/{NAME}"):
            try:
                return self._record(await self._api.read_namespaced_lease(NAME, self._namespace, **_OPTIONS))
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise

    async def write(self, record: Record, *, taken: bool) -> Record:
        """Create or replace it, with the time of now as its renewal, and return what is stored.

        Only the spec is written: labels and annotations stay.

        Args:
            record: ``version`` is that of the object which is replaced.
            taken: it changes hands: the time of now is also that of its acquisition.

        Raises:
            Stale: it has changed meanwhile.
        """
        now = micro_time()
        body: dict[str, Any] = {
            "metadata": {"name": NAME},
            "spec": {
                "holderIdentity": record.holder or None,
                "leaseDurationSeconds": round(record.duration),
                "leaseTransitions": record.transitions,
                "renewTime": now,
            },
        }
        if taken:
            body["spec"]["acquireTime"] = now
        with cluster_errors(what := f"writing the Lease {self._namespace}/{NAME}"):
            if not record.version:
                create: Any = self._api.create_namespaced_lease  # takes JSON too
                try:
                    return self._record(await create(self._namespace, body, **_OPTIONS))
                except ApiException as error:
                    if error.status == HTTPStatus.NOT_FOUND:
                        raise ClusterUnavailable(f"{what}: no such namespace; check --lease-namespace") from None
                    raise
            body["metadata"]["resourceVersion"] = record.version
            patch = self._api.patch_namespaced_lease
            return self._record(await patch(NAME, self._namespace, body, _content_type=MERGE_PATCH, **_OPTIONS))

    def _record(self, lease: Any) -> Record:  # noqa: ANN401 - the client's models are not typed
        spec = lease.spec
        record = Record(
            holder=spec.holder_identity or "",
            duration=float(spec.lease_duration_seconds or 0),
            transitions=spec.lease_transitions or 0,
            times=(str(spec.acquire_time), str(spec.renew_time)),
            version=lease.metadata.resource_version,
        )
        self._succeed()
        return record
