"""Makes the plan: from manifests, Atlas and (with ``--cluster``) the cluster to a line for each object."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.atlas.client import Atlas
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.resource import Resource
from atlas_invites.preview import documents, manifests
from atlas_invites.preview.describe import line_of, with_duplicates
from atlas_invites.preview.forecast import Rehearsal
from atlas_invites.preview.imagined import FromEnvironment, for_user, newer
from atlas_invites.preview.rules import with_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from atlas_invites.controller import ports
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.resource import Key
    from atlas_invites.preview.documents import Fault
    from atlas_invites.preview.lines import Line
    from atlas_invites.preview.manifests import Manifest
    from atlas_invites.preview.settings import PlanSettings


_NOTHING_TO_COMPARE = (
    "--prune has nothing to compare: no AtlasProjectInvite was found, so no namespace of the cluster is compared, "
    "but a GitOps tool would delete every object that it has applied. Check --file, or keep a manifest in each "
    "namespace."
)


class PlanError(Exception):
    """There is no plan; the message is one line for the terminal."""


class Plan(NamedTuple):
    """The lines, one for each object; none if the manifests have faults.

    ``compared``: the namespaces that were compared for pruning.
    """

    lines: Sequence[Line]
    faults: Sequence[Fault]
    warnings: Sequence[str]
    compared: Sequence[str] = ()


@dataclass(slots=True)
class Cluster:
    """The objects in the cluster, and a reader of its AtlasProjects.

    Attributes:
        live: the objects by key.
        references: reads AtlasProjects; None without a cluster.
        warning: what could not be read, if anything.
    """

    live: Mapping[Key, Resource]
    references: ports.References | None = None
    warning: str | None = None


async def plan(settings: PlanSettings, credentials: Credentials, progress: Callable[[int, int], None]) -> Plan:
    """Read the manifests, Atlas and (if requested) the cluster, and return the plan.

    Raises:
        PlanError: the objects of the cluster cannot be read, or there is nothing to compare for pruning.
        StartupError: no cluster is configured, or the proxy of the environment cannot be used.
    """
    found, faults = documents.read(settings.files)
    wanted, more = manifests.check(found)
    namespaces = sorted({manifest.key.namespace for manifest in wanted})
    if settings.prune and not (wanted or faults or more):
        raise PlanError(_NOTHING_TO_COMPARE)
    async with AsyncExitStack() as stack:
        cluster = Cluster({})
        if settings.cluster:
            try:
                cluster = await _read_cluster(stack, namespaces)
            except PlanError as error:
                if not (faults or more):
                    raise
                cluster = Cluster({}, warning=str(error))
        warnings = [cluster.warning] if cluster.warning else []
        faults = [*faults, *more, *manifests.check_changes(wanted, cluster.live)]
        if faults:
            return Plan([], sorted(faults, key=_position), warnings)
        atlas = await stack.enter_async_context(Atlas(settings.atlas_url))
        atlas.stop_sending()  # safeguard: no write leaves this process
        rehearsal = Rehearsal(atlas, FromEnvironment(credentials, cluster.references), credentials, time.monotonic)
        try:
            lines = await rehearse(rehearsal, wanted, cluster.live, prune=settings.prune, progress=progress)
        except ClusterUnavailable as error:
            raise PlanError(for_user(str(error))) from None
    return Plan(lines, [], warnings, namespaces if settings.prune else ())


async def rehearse(
    rehearsal: Rehearsal,
    wanted: Sequence[Manifest],
    live: Mapping[Key, Resource],
    *,
    prune: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Line]:
    """Return the lines of the plan: what happens after the manifests are applied.

    There is a line for each manifest and each pruned object. An object that takes over from one of these has a line if
    it writes to Atlas, or may do so.

    Args:
        rehearsal: the rehearsal in which the manifests are applied.
        wanted: the manifests.
        live: the objects in the cluster.
        prune: whether to delete objects without a manifest in the namespaces of the manifests.
        progress: see ``Rehearsal.read``.

    Raises:
        ClusterUnavailable: the API server did not show an AtlasProject.
    """
    store, now = rehearsal.store, datetime.now(UTC)
    applied = [_applied(manifest, live.get(manifest.key), number, now) for number, manifest in enumerate(wanted)]
    for resource in (*live.values(), *applied):
        store.put(resource)
    keys = {manifest.key: manifest.source for manifest in wanted}
    namespaces = {key.namespace for key in keys}
    pruned = [key for key in live if prune and key not in keys and key.namespace in namespaces]
    rivals = {rival for key in (*keys, *pruned) for rival in store.claims.possible_rivals(key)}.difference(keys, pruned)
    before = [r for key in (*keys, *pruned, *sorted(rivals)) if (r := store.get(key)) is not None]
    await rehearsal.read(before, progress)
    rehearsal.attend(rivals)
    unproven = [key for key in (*pruned, *rivals) if not store.claims.is_proven(key)]
    await rehearsal.reconcile([*keys, *unproven])
    holders = {key: holder for key in keys if (holder := store.claims.holder(key)) is not None}
    await rehearsal.delete(pruned)
    await rehearsal.reconcile(rival for rival in rivals if not rehearsal.forecasts[rival].writes)
    lines = [line_of(rehearsal, one, keys.get(one.key), is_pruned=one.key in pruned) for one in before]
    lines = [line for line in lines if line.key not in rivals or line.writes or line.failed]
    return with_duplicates(lines, {k: h for k, h in holders.items() if not {k, h} & live.keys()})


def is_changing(lines: Iterable[Line]) -> bool:
    """Return whether something would change in Atlas."""
    return any(line.writes for line in lines)


def _position(fault: Fault) -> tuple[str, int, int]:
    return fault.source.file, fault.source.document or 0, fault.source.item or 0


def _applied(manifest: Manifest, live: Resource | None, number: int, now: datetime) -> Resource:
    """Return the object as the API server would store it after the manifest is applied."""
    if live is None:
        return Resource(
            key=manifest.key,
            uid=f"manifest-{number:06}",
            resource_version="1",
            generation=1,
            created_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            deleted_at=None,
            finalizers=(),
            reconcile_requested_at=manifest.reconcile_requested_at,
            resend_requested_at=manifest.resend_requested_at,
            force_delete=False,
            spec_json=manifest.spec_json,
            status_json='{"observedGeneration":-1}',
        )
    is_same = manifest.spec == with_defaults(json.loads(live.spec_json))
    return newer(
        replace(
            live,
            generation=live.generation if is_same else live.generation + 1,
            spec_json=live.spec_json if is_same else manifest.spec_json,
            reconcile_requested_at=manifest.reconcile_requested_at or live.reconcile_requested_at,
            resend_requested_at=manifest.resend_requested_at or live.resend_requested_at,
        )
    )


async def _read_cluster(stack: AsyncExitStack, namespaces: Sequence[str]) -> Cluster:
    """Read the objects in the cluster: in all namespaces or, if that is forbidden, in those of the manifests."""
    from atlas_invites.kube.connection import client_of  # noqa: PLC0415 - takes time
    from atlas_invites.kube.invites import Invites  # noqa: PLC0415
    from atlas_invites.kube.references import References  # noqa: PLC0415
    from atlas_invites.kube.session import open_session  # noqa: PLC0415

    client = client_of(await stack.enter_async_context(open_session()))
    warning = None
    try:
        try:
            listed = await Invites(client).list_all()
        except ClusterUnavailable as error:
            listed = await Invites(client, namespaces).list_all()
            warning = f"duplicates in other namespaces cannot be detected: {for_user(str(error))}"
    except ClusterUnavailable as error:
        raise PlanError(for_user(str(error))) from None
    if listed.unlisted:
        names = ", ".join(sorted(listed.unlisted))
        raise PlanError(f"the objects in {names} cannot be listed; grant the right to list them")
    return Cluster({resource.key: resource for resource in listed.resources}, References(client), warning)
