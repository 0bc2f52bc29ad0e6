"""The resync: it observes each project once per interval, and queues only the objects that differ from Atlas."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atlas_invites.controller.queue import Priority
from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.case import case_of, target
from atlas_invites.invitation.conditions import READY, Evaluated, next_status
from atlas_invites.invitation.model import State
from atlas_invites.invitation.notices import sunset_notice
from atlas_invites.invitation.outcome import RESYNCED, Kind, Reason
from atlas_invites.invitation.plan import TABLE_A, Action, decision_of, outcome_of
from atlas_invites.invitation.refusal import is_conflict, refused_before

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from datetime import datetime

    from atlas_invites.controller.ports import Atlas, Events, Project, Snapshot
    from atlas_invites.controller.queue import WorkQueue
    from atlas_invites.controller.resolve import Access
    from atlas_invites.controller.store import Store
    from atlas_invites.invitation.model import Spec, Status
    from atlas_invites.invitation.resource import Key, Resource

log = logging.getLogger(__name__)

AT_A_TIME = 3
"""Projects that the first resync observes in parallel. The content of each of them is in memory at that time."""

YIELD_EVERY = 100
"""Objects after which a resync lets other tasks run."""

PROBE_INTERVAL = 60.0
"""Seconds between two reads of the Secrets of refused objects."""

REFUSED_INTERVAL = 600.0
"""The most seconds between two resyncs of a project that has refused objects."""

SUNSET_WARNINGS = 100
"""Warnings of the sunset in one resync of a project. The next resyncs warn the other objects."""


_FINALIZED = frozenset(row.report.reason for row in TABLE_A)
"""The reasons that an object has only with our finalizer, which is added before Table A is applied."""


@dataclass(frozen=True, slots=True)
class _Compared:
    """One object in a resync."""

    resource: Resource
    spec: Spec
    known: Status


def waits_for_resync(resource: Resource) -> bool:
    """Return whether an object waits for the resync: it is settled or stalled, and its status is up to date.

    A suspended object does not wait for anything: Atlas is not called for it.
    """
    known, spec = resource.status, resource.readable_spec
    ready = known.condition(READY)
    is_resynced = ready is not None and ready.reason in RESYNCED and (spec is None or not spec.suspend)
    return is_resynced and not resource.deleting and resource.is_evaluated_by(known)


def lost_finalizer(resource: Resource) -> bool:
    """Return whether the object had our finalizer, as status shows, and does not have it now."""
    if resource.has_finalizer:
        return False
    ready = resource.status.condition(READY)
    return ready is not None and ready.reason in _FINALIZED


class Resync:
    """Compares every project with its objects, once per interval.

    Args:
        store: the latest version of every object.
        queue: gets the objects that differ.
        access: credentials and project ids.
        atlas: Atlas.
        events: publishes Kubernetes Events.
        interval: seconds between two resyncs of a project.
        wall: the local time, UTC, for the times of conditions.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: Store,
        queue: WorkQueue[Key],
        access: Access,
        atlas: Atlas,
        events: Events,
        interval: float,
        *,
        wall: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._queue = queue
        self._access = access
        self._atlas = atlas
        self._events = events
        self._interval = interval
        self._wall = wall
        self._clock = clock
        self._warned: set[str] = set()
        self._skipped: list[list[Key]] = []

    async def resync_all(self) -> None:
        """Resync every project now, as after a start."""
        limit = asyncio.Semaphore(AT_A_TIME)

        async def resync(keys: list[Key]) -> None:
            async with limit:
                await self.resync_keys(keys)

        async with asyncio.TaskGroup() as group:
            for keys in await self._projects():
                group.create_task(resync(keys))

    async def keep_resyncing(self) -> None:
        """Resync the projects in turn, spread over the interval with jitter, and probe refused objects, forever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_probing())
            while True:
                projects = await self._projects()
                if not projects:
                    await asyncio.sleep(self._interval)
                for keys in projects:
                    pause = self._interval / len(projects)
                    await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
                    group.create_task(self.resync_keys(keys))

    async def _keep_probing(self) -> None:
        """Probe refused objects forever, so that they continue soon after the cause of the refusal is gone.

        Every minute, read the Secrets of refused objects, because a user who corrects one expects an effect, and try
        skipped resyncs again. Resync the projects of refused objects at least every ten minutes, whatever the interval.
        """
        due = self._clock() + REFUSED_INTERVAL
        while True:
            await asyncio.sleep(PROBE_INTERVAL)
            refused = self._store.refused()
            secrets = {self._access.secret_of(r, spec) for r in refused if (spec := r.readable_spec) is not None}
            for secret in filter(None, secrets):
                await self._access.refresh(secret)
            projects, self._skipped = self._skipped, []
            if self._clock() >= due:
                due = self._clock() + REFUSED_INTERVAL
                if self._interval > REFUSED_INTERVAL:
                    projects += await self._by_project(refused)
            for keys in projects:
                await self.resync_keys(keys)

    async def resync_keys(self, keys: list[Key]) -> None:
        """Observe the project of these objects, which share credentials, and queue the objects that differ."""
        try:
            await self._resync_keys(keys)
        except Exception:
            log.exception("a resync failed in an unexpected way; the next resync tries again")

    async def _resync_keys(self, keys: list[Key]) -> None:
        first, since = next((one for key in keys if (one := self._latest(key))), None), self._clock()
        if first is None:
            return

        try:
            project, snapshot = await self._look(first, since)
        except ClusterUnavailable as error:
            log.warning("resync of the project of this object skipped: %s", error, extra={"object": first.resource.key})
            self._skipped.append(keys)
            return
        except Failure as failure:
            log.info(
                "resync of the project of this object skipped: %s", failure.reason, extra={"object": first.resource.key}
            )
            if failure.reason.kind is not Kind.RETRYING:
                for one in self._alike(keys, first):
                    if not _shows(one.known, failure):
                        self._queue.add(one.resource.key, Priority.RESYNC)
            return
        await self._compare_all(keys, first, project, snapshot)

    async def _look(self, one: _Compared, since: float) -> tuple[Project, Snapshot]:
        """Return the project of an object, and its content. If Atlas rejects the credentials, read them again.

        Raises:
            Failure, ClusterUnavailable: the Secret or the project cannot be read.
        """
        group_id = await self._access.group_id(one.resource, one.spec)
        credentials = await self._access.credentials(one.resource, one.spec, group_id)
        project = self._atlas.project(credentials, group_id)
        try:
            return project, await project.snapshot(since)
        except Failure as failure:
            if failure.reason is not Reason.CREDENTIALS_REJECTED:
                raise
            renewed = await self._access.renewed(one.resource, one.spec, group_id, since)
            if renewed == credentials:
                raise
        project = self._atlas.project(renewed, group_id)
        return project, await project.snapshot(since)

    async def _compare_all(self, keys: list[Key], first: _Compared, project: Project, snapshot: Snapshot) -> None:
        warnings = SUNSET_WARNINGS
        for number, key in enumerate(keys):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            for one in self._alike([key], first):
                self._compare(one, project, snapshot)
                if warnings and self._warn_of_sunset(one, project):
                    warnings -= 1

    async def _projects(self) -> list[list[Key]]:
        """Return the keys of all objects by namespace, Secret and project."""
        self._warned &= {resource.uid for resource in self._store}
        return await self._by_project(self._store)

    async def _by_project(self, resources: Iterable[Resource]) -> list[list[Key]]:
        """Return the keys by namespace, Secret and project, in an order that is the same in each round of this process.

        The objects of one list may use the same credentials, because a Secret allows namespaces and projects.

        Because of the fixed order, each project is observed once per interval, although the order of the store changes
        as objects are created and deleted. It is the order of the hashes, because ids and references have no order.
        """
        found: dict[tuple[Hashable, ...], list[Key]] = defaultdict(list)
        for number, resource in enumerate(resources):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            spec = resource.readable_spec
            if spec is not None:
                found[self._group(resource, spec)].append(resource.key)
        return [found[project] for project in sorted(found, key=hash)]

    def _group(self, resource: Resource, spec: Spec) -> tuple[Hashable, ...]:
        return resource.key.namespace, self._access.secret_of(resource, spec), spec.group_id or spec.project_ref

    def _alike(self, keys: Iterable[Key], first: _Compared) -> Iterator[_Compared]:
        """Return the latest versions of the objects that still share namespace, Secret and project with the first one.

        Since the lists were made, an object may have changed, or another one with its name may have been created.
        """
        group = self._group(first.resource, first.spec)
        return (one for one in filter(None, map(self._latest, keys)) if self._group(one.resource, one.spec) == group)

    def _latest(self, key: Key) -> _Compared | None:
        """Return the latest version of the object if it waits for the resync."""
        resource = self._store.get(key)
        spec = resource.readable_spec if resource is not None else None
        if resource is None or spec is None or not waits_for_resync(resource):
            return None
        return _Compared(resource, spec, resource.status)

    def _compare(self, one: _Compared, project: Project, snapshot: Snapshot) -> None:
        key, claims = one.resource.key, self._store.claims
        claims.resolve(one.resource, project.group_id)
        claims.prove(key)
        claims.mark_evaluated(key)
        if self._differs(one, project, snapshot):
            self._queue.add(key, Priority.RESYNC)
            return
        expires = one.known.invitation.expires if one.known.invitation else None
        if expires is not None and one.known.state is State.PENDING:
            left = (expires - self._atlas.now()).total_seconds()
            if left < 2 * self._interval:
                self._queue.add_after(key, left, at_most=True)

    def _differs(self, one: _Compared, project: Project, snapshot: Snapshot) -> bool:
        """Return whether the observation needs a change in Atlas or on status."""
        if lost_finalizer(one.resource):
            return True
        known = one.known
        ready = known.condition(READY)
        if ready is not None and ready.reason == Reason.DUPLICATE_INVITE:
            return self._store.claims.live_holder(one.resource.key) is None
        if one.resource.asks_to_resend(known):
            return True
        seen = snapshot.find(target(one.spec, known))
        case = case_of(one.spec, known, seen, self._atlas.now(), project.api)
        decision = decision_of(replace(case, is_repeat=True))
        if decision.row.action is not Action.NOTHING:
            return not (decision.row.action is Action.SEND and _is_send_refused(one))
        outcome = replace(outcome_of(decision).in_project(project.group_id), atlas=project.info)
        evaluated = Evaluated(known.observed_generation, known.last_handled_reconcile_at, one.spec.roles)
        return next_status(known, evaluated, outcome, self._wall()) != known

    def _warn_of_sunset(self, one: _Compared, project: Project) -> bool:
        """Warn of the sunset for an object, once in this process. Return whether the warning was published now."""
        notice = sunset_notice(one.known.model_copy(update={"atlas": project.info}), self._atlas.now())
        if notice is None or one.resource.uid in self._warned:
            return False
        self._warned.add(one.resource.uid)
        self._events.publish(one.resource, notice)
        return True


def _shows(known: Status, failure: Failure) -> bool:
    """Return whether status already shows this failure with the same Atlas error."""
    ready = known.condition(READY)
    return ready is not None and ready.reason == failure.reason and known.error == failure.error


def _is_send_refused(one: _Compared) -> bool:
    """Return whether Atlas refused to send, and only a new request or a change in Atlas can change that.

    The cause of a 409 may not be in the lists, so the reconcile looks for it.
    """
    refused = refused_before(one.resource, one.known)
    return refused is not None and refused.reason is Reason.INVALID_REQUEST and not is_conflict(refused)
