"""Rehearses the reconciles of the operator until nothing is left to do. Waits take no real time."""

from __future__ import annotations

import asyncio
import heapq
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from atlas_invites.controller.assembly import Controller
from atlas_invites.controller.reconcile import Reconciler
from atlas_invites.failures import Failure, Later, Stale
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, Key
from atlas_invites.preview.imagined import ImaginedCluster, newer
from atlas_invites.preview.rehearsal import Observed, RehearsedAtlas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from atlas_invites.atlas.client import Atlas
    from atlas_invites.controller import ports
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.notices import Notice
    from atlas_invites.invitation.outcome import Outcome
    from atlas_invites.invitation.resource import Resource
    from atlas_invites.preview.rehearsal import Write

AT_A_TIME = 25
"""The maximum number of concurrent reconciles, and of projects that are read concurrently."""

ATTEMPTS = 5
"""Reconciles of an object that cannot continue; then the result is reported as it is."""

_NEVER = float("inf")
_ENVIRONMENT = Key("", "environment")
"""Stands for the default Secret: the credentials are always those of the environment."""


@dataclass(slots=True)
class Forecast:
    """What the operator would do for one object.

    Attributes:
        key: the object.
        writes: its writes to Atlas, in order.
        outcome: the result of its last reconcile; None if nothing was evaluated: it is suspended, or was finalized.
        attempts: how many reconciles could not continue, and were repeated.
    """

    key: Key
    writes: list[Write] = field(default_factory=list)
    outcome: Outcome | None = None
    attempts: int = 0


class Rehearsal:
    """The operator with simulated time and without effects.

    Args:
        atlas: the real Atlas, which is only read.
        references: reads what specs refer to.
        credentials: the credentials for Atlas.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        atlas: Atlas,
        references: ports.References,
        credentials: Credentials,
        clock: Callable[[], float],
    ) -> None:
        self.forecasts: dict[Key, Forecast] = {}
        self._clock = clock
        self._skipped = 0.0
        self._since = clock()
        self._atlas = atlas
        self._credentials = credentials
        self._projects: dict[str, Observed] = {}
        self._due: list[tuple[float, int, Key]] = []
        self._numbers = count()
        self._cluster = cluster = ImaginedCluster()
        controller = Controller(
            invites=cluster,
            references=references,
            events=cluster,
            atlas=atlas,
            workers=AT_A_TIME,
            resync_interval=_NEVER,
            deletion_grace=0.0,
            clock=self.now,
            wall=lambda: datetime.now(UTC),
            default_secret=_ENVIRONMENT,
        )
        self.store, self._with = controller.store, controller.collaborators
        self.store.claims.wake = self._wake

    def now(self) -> float:
        """Return monotonic seconds, including the simulated waits."""
        return self._clock() + self._skipped

    def notices(self, key: Key) -> Sequence[Notice]:
        """Return the events of an object."""
        return self._cluster.notices.get(key, [])

    async def read(self, resources: Iterable[Resource], progress: Callable[[int, int], None]) -> None:
        """Read the projects of some objects concurrently.

        Args:
            resources: the objects.
            progress: called with the number of projects read, and the total number.
        """
        groups = {spec.group_id for r in resources if (spec := r.readable_spec) is not None and not spec.suspend}
        self._projects = {
            group: Observed(self._atlas.project(self._credentials, group), self._since)
            for group in sorted(filter(None, groups))
        }
        limit, done = asyncio.Semaphore(AT_A_TIME), count(1)

        async def read(project: Observed) -> None:
            async with limit:
                with suppress(Failure):  # it is raised again for each object of the project
                    await project.lists()
            progress(next(done), len(self._projects))

        await asyncio.gather(*map(read, self._projects.values()))

    def attend(self, keys: Iterable[Key]) -> None:
        """Let objects without a manifest act if another object wakes them: they may take over from it."""
        for key in keys:
            self.forecasts.setdefault(key, Forecast(key))

    async def reconcile(self, keys: Iterable[Key]) -> None:
        """Reconcile objects, oldest first, and the objects that they wake, until nothing is left to do."""
        ages = {key: (r.created_at, r.uid) for key in keys if (r := self.store.get(key)) is not None}
        for key in sorted(ages, key=lambda key: ages[key]):
            self._enqueue(key, 0.0)
        limit = asyncio.Semaphore(AT_A_TIME)

        async def one(key: Key) -> None:
            async with limit:
                await self._reconcile(key)

        while self._due:
            self._skipped += max(self._due[0][0] - self.now(), 0.0)
            ready: dict[Key, None] = {}
            while self._due and self._due[0][0] <= self.now():
                ready[heapq.heappop(self._due)[2]] = None
            await asyncio.gather(*map(one, ready))

    async def delete(self, keys: Iterable[Key]) -> None:
        """Delete objects, as a GitOps tool does after it has applied the others."""
        deleted, now = [], datetime.now(UTC)
        for key in keys:
            if (resource := self.store.get(key)) is None:
                continue
            self.forecasts[key] = Forecast(key)
            if resource.deleting or resource.finalizers:
                marked = resource if resource.deleting else newer(replace(resource, deleted_at=now))
                self.store.put(marked)
                deleted.append(key)
            else:
                self.store.remove(resource)
        await self.reconcile(deleted)

    def _enqueue(self, key: Key, after: float) -> None:
        heapq.heappush(self._due, (self.now() + after, next(self._numbers), key))

    def _wake(self, keys: Iterable[Key]) -> None:
        """Reconcile again the objects that another one has woken, unless they have written to Atlas already."""
        for key in keys:
            if key in self.forecasts and not self.forecasts[key].writes:
                self._enqueue(key, 0.0)

    async def _reconcile(self, key: Key) -> None:
        forecast = self.forecasts.setdefault(key, Forecast(key))
        atlas = RehearsedAtlas(self._atlas, self._projects, self._since)
        reconciler = Reconciler(replace(self._with, atlas=atlas))
        again: float | None = None
        try:
            forecast.outcome = outcome = await reconciler.reconcile(key, self.now())
        except Later as later:
            again = later.seconds
        except Stale:
            again = 0.0
            forecast.attempts += 1
        else:
            if outcome is not None and outcome.reason in {Reason.CONFIRMING_INVITATION, Reason.CONFLICT}:
                again = outcome.requeue_after or 1.0
                forecast.attempts += 1
        forecast.writes += atlas.writes
        resource = self.store.get(key)
        if resource is not None and resource.deleting and FINALIZER not in resource.finalizers:
            self.store.remove(resource)
        elif again is not None and forecast.attempts < ATTEMPTS:
            self._enqueue(key, again)
