"""The custom resource as the operator keeps it in memory: only what a reconcile uses."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pydantic import ValidationError

from atlas_invites.invitation.model import Spec, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP, VERSION, PLURAL, KIND = "atlasinvites.io", "v1alpha1", "atlasprojectinvites", "AtlasProjectInvite"
FINALIZER = f"{GROUP}/invitation"
RECONCILE_REQUESTED_AT = f"{GROUP}/reconcile-requested-at"
RESEND_REQUESTED_AT = f"{GROUP}/resend-requested-at"
FORCE_DELETE = f"{GROUP}/force-delete"


PARSED_AT_MOST = 128
"""How many specs and statuses are kept parsed. A parsed object takes four times the memory."""


class Key(NamedTuple):
    """Namespace and name of an object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Listed(NamedTuple):
    """A list of objects.

    Attributes:
        resources: every object of the namespaces that could be listed.
        unlisted: the namespaces that could not be listed. Nothing is known about their objects.
    """

    resources: list[Resource]
    unlisted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Resource:
    """One ``AtlasProjectInvite``. Spec and status stay encoded until used, so that 10,000 idle objects are cheap."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    created_at: str
    deleted_at: datetime | None
    finalizers: tuple[str, ...]
    reconcile_requested_at: str | None
    resend_requested_at: str | None
    force_delete: bool
    spec_json: str
    status_json: str

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """Return the resource for an object from the Kubernetes API (decoded JSON). Other fields are ignored.

        Raises:
            KeyError: ``metadata`` lacks a field that every stored object has.
        """
        meta = body["metadata"]
        annotations = meta.get("annotations") or {}
        deleted = meta.get("deletionTimestamp")
        return cls(
            key=Key(intern(meta["namespace"]), meta["name"]),
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
            generation=meta.get("generation", 0),
            created_at=meta["creationTimestamp"],
            deleted_at=datetime.fromisoformat(deleted) if deleted else None,
            finalizers=tuple(map(intern, meta.get("finalizers") or ())),
            reconcile_requested_at=annotations.get(RECONCILE_REQUESTED_AT),
            resend_requested_at=annotations.get(RESEND_REQUESTED_AT) or None,
            force_delete=annotations.get(FORCE_DELETE) == "true",
            spec_json=json.dumps(body.get("spec") or {}, separators=(",", ":")),
            status_json=json.dumps(body.get("status") or {}, separators=(",", ":"), sort_keys=True),
        )

    @property
    def spec(self) -> Spec:
        """``.spec``.

        Raises:
            pydantic.ValidationError: it is invalid (the CRD is older, or validation was bypassed).
        """
        return _parse_spec(self.spec_json)

    @property
    def readable_spec(self) -> Spec | None:
        """``.spec``, or None if it is invalid."""
        try:
            return self.spec
        except ValueError:
            return None

    @property
    def status(self) -> Status:
        """``.status`` as stored. A field that cannot be read counts as absent, and the next status write replaces it.

        The other fields are kept: an operator that forgets an invitation would send another one.
        """
        return _parse_status(self.status_json)

    @property
    def has_finalizer(self) -> bool:
        """Whether the object has our finalizer."""
        return FINALIZER in self.finalizers

    @property
    def deleting(self) -> bool:
        """Whether the object has a deletion timestamp."""
        return self.deleted_at is not None

    def is_evaluated_by(self, status: Status) -> bool:
        """Return whether a status is up to date with the generation and with the last requested reconcile."""
        return status.observed_generation == self.generation and self.reconcile_requested_at in {
            None,
            status.last_handled_reconcile_at,
        }

    def asks_to_resend(self, status: Status) -> bool:
        """Return whether a resend is requested that the status does not show as handled."""
        return self.resend_requested_at not in {None, status.last_handled_resend_at}

    def needs_reconcile(self, known: Resource | None) -> bool:
        """Return whether this newer version of ``known`` needs a reconcile.

        A change of labels, other annotations, other finalizers or managed fields never needs one. A change of
        ``status`` does: the operator's own writes are known before their events arrive, so a status that differs was
        written by another client.
        """
        return known is None or known.substance != self.substance

    @property
    def substance(self) -> tuple[object, ...]:
        """The parts of the object that a reconcile depends on."""
        return (
            self.uid,
            self.generation,
            self.deleted_at,
            self.has_finalizer,
            self.reconcile_requested_at,
            self.resend_requested_at,
            self.force_delete,
            self.status_json,
        )

    def newer_than(self, other: Resource) -> bool:
        """Return whether this resource version is newer. Since Kubernetes 1.35 clients may compare them as integers."""
        if not (self.resource_version.isdigit() and other.resource_version.isdigit()):
            return self.resource_version != other.resource_version
        return int(self.resource_version) > int(other.resource_version)

    def with_status(self, status: Mapping[str, Any]) -> Resource:
        """Return this object with another status (wire form)."""
        return replace(self, status_json=json.dumps(status, separators=(",", ":"), sort_keys=True))

    def with_finalizer(self) -> Resource:
        """Return this object with our finalizer."""
        return replace(self, finalizers=(*self.finalizers, FINALIZER))

    def without_finalizer(self) -> Resource:
        """Return this object without our finalizer."""
        return replace(self, finalizers=tuple(name for name in self.finalizers if name != FINALIZER))


@lru_cache(PARSED_AT_MOST)
def _parse_spec(text: str) -> Spec:
    return Spec.model_validate_json(text)


@lru_cache(PARSED_AT_MOST)
def _parse_status(text: str) -> Status:
    try:
        return Status.model_validate_json(text)
    except ValidationError:
        return Status.read(json.loads(text))
