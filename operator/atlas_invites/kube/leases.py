"""The Lease object (coordination.k8s.io/v1) at the API server; the rules are in ``lease``."""

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
"""Seconds without an observed change of the record after which a candidate takes over."""

CALL_AT_MOST = 3.0
"""Seconds for one call to the API server: several calls must fit before the holder gives up."""

NAME = "atlas-invites"
_OPTIONS: dict[str, Any] = {"_request_timeout": CALL_AT_MOST}


@dataclass(frozen=True, slots=True)
class Record:
    """The content of the Lease object.

    Attributes:
        holder: the identity of the holder; empty if there is none.
        duration: seconds for which it is valid without a renewal.
        transitions: how often the holder has changed.
        times: the times of the record, as text. They show that it has changed; they are never compared with a clock.
        version: the resource version; empty for an object that does not exist yet.
    """

    holder: str
    duration: float = DURATION
    transitions: int = 0
    times: tuple[str, str] = ("", "")
    version: str = ""

    def has_same_spec(self, other: Record | None) -> bool:
        """Return whether the spec was not written in between. Labels and annotations are ignored."""
        return other is not None and replace(self, version="") == replace(other, version="")


class LeaseObject:
    """Reads and writes the Lease of the operator in a namespace. Calls ``succeed`` after each successful call.

    Every method raises ``ClusterUnavailable`` if the API server fails.
    """

    def __init__(self, client: ApiClient, namespace: str, succeed: Callable[[], None] = lambda: None) -> None:
        self._api = CoordinationV1Api(client)
        self._namespace = namespace
        self._succeed = succeed

    async def read(self) -> Record | None:
        """Return the record, or None if the Lease does not exist."""
        with cluster_errors(f"reading the Lease {self._namespace}/{NAME}"):
            try:
                return self._record(await self._api.read_namespaced_lease(NAME, self._namespace, **_OPTIONS))
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise

    async def write(self, record: Record, *, taken: bool) -> Record:
        """Create or update the Lease with the current time as renewal time, and return the stored record.

        Only the spec is written: labels and annotations stay.

        Args:
            record: the record to write; ``version`` is that of the object to update.
            taken: whether the holder changes, so that the current time is also the acquisition time.

        Raises:
            Stale: the Lease has changed meanwhile.
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
