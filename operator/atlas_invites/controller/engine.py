"""The running engine: it takes in events, runs the workers, and compares the store with a complete list."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from atlas_invites.controller.queue import Closed, Item, WorkQueue
from atlas_invites.controller.reconcile import Reconciler, requeue_of
from atlas_invites.controller.resync import lost_finalizer, waits_for_resync
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.telemetry.logs import about
from atlas_invites.telemetry.metrics import QUEUE_WAIT_SECONDS, RECONCILE_SECONDS, RECONCILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atlas_invites.controller.ports import Invites
    from atlas_invites.controller.store import Store, Writer
    from atlas_invites.invitation.outcome import Outcome
    from atlas_invites.invitation.resource import Key, Resource

log = logging.getLogger(__name__)

RELIST_INTERVAL = 600.0
"""Seconds between two complete lists. They find changes that an interrupted watch has missed."""

RELISTED = 1.0
"""Seconds between the first object of a watch that relists and the complete list that follows."""

LIST_RETRY = 5.0
"""Seconds until a failed complete list is retried."""

WATCH_LAG_AT_MOST = 60.0
"""Seconds without an event for a change that our own list has shown, after which the watch counts as dead."""


class Engine:
    """Feeds the reconciler. ``workers`` reconcile at a time; ``clock`` returns monotonic seconds."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        store: Store,
        queue: WorkQueue[Key],
        invites: Invites,
        reconciler: Reconciler,
        writer: Writer,
        *,
        workers: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._queue = queue
        self._invites = invites
        self._reconciler = reconciler
        self._writer = writer
        self._workers = workers
        self._clock = clock
        store.claims.wake = self.wake
        self._unseen: dict[Key, float] = {}
        self._expected: set[Key] = set()
        self._relisted = asyncio.Event()
        self.listed = False

    def on_event(self, resource: Resource, *, deleted: bool, listed: bool = False) -> None:
        """Handle an event of the watch. It never awaits, and never raises for a complete object.

        A watch that lists objects which it has shown before is relisting: it sends no event for an object that was
        deleted before that list.
        """
        if listed and resource.key not in self._expected and self._store.get(resource.key) is not None:
            self._relisted.set()
        self._expected.discard(resource.key)
        self._unseen.pop(resource.key, None)
        if deleted:
            if self._store.remove(resource):
                self._forget(resource.key)
        elif self._store.put(resource) and not self._writer.is_ours(resource):
            self._queue.add(resource.key)

    def wake(self, keys: Iterable[Key]) -> None:
        """Put keys into the queue."""
        for key in keys:
            self._queue.add(key)

    def _forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._queue.drop(key)
        self._reconciler.forget(key)

    def watch_lag(self) -> float:
        """Return for how many seconds the watch has not shown a change that our own list has shown."""
        return self._clock() - min(self._unseen.values(), default=self._clock())

    async def list_first(self) -> None:
        """Fill the store. Retry until the first list succeeds, and log each new reason once."""
        last_logged = None
        while not self.listed:
            try:
                await self._list()
            except ClusterUnavailable as error:
                if str(error) != last_logged:
                    last_logged = str(error)
                    log.warning("waiting for the cluster: %s", last_logged)
                await asyncio.sleep(LIST_RETRY)
            except Exception:
                log.exception("waiting for the cluster: the complete list failed in an unexpected way; will retry")
                await asyncio.sleep(LIST_RETRY)
        log.info("ready: %d objects", len(self._store))

    async def keep_listing(self) -> None:
        """Compare the store with a complete list every ten minutes and after the watch has relisted, forever."""
        pause = RELIST_INTERVAL
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._relisted.wait(), pause)
                await asyncio.sleep(RELISTED)
            self._relisted.clear()
            pause = LIST_RETRY
            try:
                await self._list()
            except ClusterUnavailable as error:
                log.warning("the complete list failed; will retry: %s", error)
            except Exception:
                log.exception("the complete list failed in an unexpected way; will retry")
            else:
                pause = RELIST_INTERVAL

    async def work(self) -> None:
        """Run the workers until the queue is closed. The workers finish the reconciles that are running then."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._worker(), name=f"worker-{number}")

    async def _list(self) -> None:
        listing = self._store.begin_listing()
        try:
            listed = await self._invites.list_all()
        except BaseException:
            self._store.abort_listing(listing)
            raise
        changed, ghosts = self._store.end_listing(listing, listed)
        for key in ghosts:
            log.info("the object was deleted while the watch was interrupted", extra={"object": key})
            self._forget(key)
            self._unseen.pop(key, None)
        for key in changed:
            if self.listed:
                self._queue.add(key)
                self._unseen.setdefault(key, self._clock())
            elif (resource := self._store.get(key)) is not None and not self._can_wait(resource):
                self._queue.add(key)
        if not self.listed:
            self._expected = {resource.key for resource in self._store}
        self.listed = True

    def _can_wait(self, resource: Resource) -> bool:
        """Return whether an object of the first list can wait for the first resync."""
        if lost_finalizer(resource) or resource.asks_to_resend(resource.status):
            return False
        claims, key = self._store.claims, resource.key
        return claims.is_named(key) and not claims.ending(key) and waits_for_resync(resource)

    async def _worker(self) -> None:
        while True:
            try:
                item = await self._queue.get()
            except Closed:
                return
            try:
                await self._process(item)
            finally:
                self._queue.done(item.key)

    async def _process(self, item: Item[Key]) -> None:
        key, started = item.key, self._clock()
        before = self._store.get(key)
        QUEUE_WAIT_SECONDS.observe(max(started - item.since, 0.0))
        result: Outcome | Exception | None
        try:
            with about(key):
                result = await self._reconciler.reconcile(key, item.since)
        except Exception as error:  # noqa: BLE001 - the worker continues after any error
            result = error
        requeue = requeue_of(result, key)
        if requeue.counted_as is not None:
            RECONCILES.labels(*requeue.counted_as).inc()
        if requeue.ends_back_off:
            self._queue.forget(key)
        if requeue.is_overtaken and self._store.get(key) is not before:
            self._queue.add(key, item.priority)
        elif requeue.backs_off:
            self._queue.add_after(key, requeue.slack + max(requeue.after or 0.0, self._queue.back_off(key)))
        elif requeue.after is not None:
            self._queue.add_after(key, requeue.slack + requeue.after)
        RECONCILE_SECONDS.observe(self._clock() - started)
