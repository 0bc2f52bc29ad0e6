"""The manifests of ``AtlasProjectInvite`` objects, checked by the rules of the CRD."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlas_invites.invitation.resource import (
    GROUP,
    KIND,
    RECONCILE_REQUESTED_AT,
    RESEND_REQUESTED_AT,
    VERSION,
    Key,
)
from atlas_invites.preview.documents import Fault
from atlas_invites.preview.rules import broken_rules, with_defaults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atlas_invites.invitation.resource import Resource
    from atlas_invites.preview.documents import Source

DEFAULT_NAMESPACE = "default"
_NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NAME_LENGTH = 253


@dataclass(frozen=True, slots=True)
class Manifest:
    """One valid manifest.

    Attributes:
        source: where it is.
        key: the key of the object.
        spec: its spec as the API server would store it.
        reconcile_requested_at: the value of this annotation, if it is set.
        resend_requested_at: the value of this annotation, if it is set.
    """

    source: Source
    key: Key
    spec: Mapping[str, Any]
    reconcile_requested_at: str | None
    resend_requested_at: str | None

    @property
    def spec_json(self) -> str:
        """The spec as JSON, as in ``Resource``."""
        return json.dumps(self.spec, separators=(",", ":"))


def check(objects: Iterable[tuple[Source, Mapping[str, Any]]]) -> tuple[list[Manifest], list[Fault]]:
    """Return the valid manifests of ``AtlasProjectInvite``, and the faults of the others. Ignore other kinds."""
    manifests: dict[Key, Manifest] = {}
    faults: list[Fault] = []
    for source, body in objects:
        if body.get("kind") != KIND:
            if str(body.get("apiVersion")).startswith(f"{GROUP}/") and body.get("kind") != f"{KIND}List":
                faults.append(Fault(source, "kind", f"must be {KIND}"))
            continue
        found = [Fault(source, field, rule) for field, rule in _broken(body)]
        faults += found
        if found:
            continue
        manifest = _manifest(source, body)
        if (other := manifests.get(manifest.key)) is not None:
            rule = f"{manifest.key} is also in {other.source}; keep only one manifest for the object"
            faults.append(Fault(source, "metadata.name", rule))
        manifests.setdefault(manifest.key, manifest)
    return list(manifests.values()), faults


def check_changes(manifests: Iterable[Manifest], live: Mapping[Key, Resource]) -> list[Fault]:
    """Return the changes to objects in the cluster that the API server would reject."""
    return [
        Fault(manifest.source, field, rule)
        for manifest in manifests
        if (resource := live.get(manifest.key)) is not None
        for field, rule in broken_rules(manifest.spec, json.loads(resource.spec_json))
    ]


def _broken(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield field and rule of each fault in a manifest."""
    if body.get("apiVersion") != f"{GROUP}/{VERSION}":
        yield "apiVersion", f"must be {GROUP}/{VERSION}"
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        yield "metadata", "Required value"
    else:
        yield from _broken_metadata(metadata)
    yield from broken_rules(body.get("spec"))


def _broken_metadata(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, namespace = metadata.get("name"), _namespace(metadata)
    if name is None:
        yield "metadata.name", "Required value"
    elif not isinstance(name, str) or len(name) > _NAME_LENGTH or not re.fullmatch(_NAME, name):
        yield "metadata.name", "must be a Kubernetes name (lower-case letters, digits, '-' and '.')"
    if not isinstance(namespace, str) or not re.fullmatch(_NAMESPACE, namespace):
        yield "metadata.namespace", "must be the name of a namespace (lower-case letters, digits and '-')"
    for field in ("annotations", "labels"):
        values = {} if metadata.get(field) is None else metadata[field]
        if not isinstance(values, dict):
            yield f"metadata.{field}", "must be of type object"
            continue
        for key, value in values.items():
            if not isinstance(value, str):
                yield f"metadata.{field}[{key}]", "must be of type string; put the value in quotes"


def _namespace(metadata: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever a manifest has
    """Return the namespace of a manifest. An empty one counts as not set."""
    namespace = metadata.get("namespace")
    return DEFAULT_NAMESPACE if namespace is None or namespace == "" else namespace


def _manifest(source: Source, body: Mapping[str, Any]) -> Manifest:
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    return Manifest(
        source,
        Key(_namespace(metadata), metadata["name"]),
        with_defaults(body["spec"]),
        annotations.get(RECONCILE_REQUESTED_AT),
        annotations.get(RESEND_REQUESTED_AT) or None,
    )
