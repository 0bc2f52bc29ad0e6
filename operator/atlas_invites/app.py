"""Wires the parts; starts and stops them."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from atlas_invites.atlas.client import Atlas
from atlas_invites.controller.assembly import Controller, assemble
from atlas_invites.controller.engine import WATCH_LAG_AT_MOST
from atlas_invites.environment import StartupError
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.handlers import Watch, keep_watching
from atlas_invites.kube.connection import client_of
from atlas_invites.kube.events import Events
from atlas_invites.kube.invites import Invites, watch_path
from atlas_invites.kube.lease import Lease, new_identity, no_election
from atlas_invites.kube.leases import LeaseObject
from atlas_invites.kube.references import References
from atlas_invites.kube.session import LOST_AFTER, open_session
from atlas_invites.stopping import CUT_AT, SENDS_UNTIL, STOPPED, Stopping
from atlas_invites.telemetry import metrics, probes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from atlas_invites.controller.resync import Resync
    from atlas_invites.handlers import Sink
    from atlas_invites.invitation.resource import Resource
    from atlas_invites.kube.session import Session
    from atlas_invites.settings import Settings

log = logging.getLogger(__name__)

CHECK = 20.0
"""Seconds between two looks at whether the API server is there, and each namespace can be listed."""


class App:
    """The operator of one process.

    Args:
        settings: every knob.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = Stopping()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the lease is lost or a part ends by itself.

        Returns:
            The exit code: 0 after a signal, else 1.

        Raises:
            StartupError: no cluster is configured, or the address of the probes cannot be bound.
        """
        self._stopping.take_signals()
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session())
            settings = self._settings
            lease, gate = None, no_election
            if settings.leader_election:
                leases = LeaseObject(client_of(session), settings.lease_namespace, session.succeed)
                lease = Lease(leases, new_identity())
                gate = lease.time_to_write
            atlas = await stack.enter_async_context(
                Atlas(settings.atlas_url, envelope=settings.atlas_envelope, api=settings.atlas_api, gate=gate)
            )
            parts = wire(settings, session, atlas, gate=gate)
            stack.enter_context(_state(parts, lease).exported())
            await self._serve(stack, session, parts, lease)
            stopping = asyncio.create_task(self._stopping.asked.wait(), name="signal")
            stack.callback(stopping.cancel)
            if lease is None:
                return await self._act(session, parts, stopping)
            return await self._stand_by(session, parts, stopping, lease)

    async def _serve(self, stack: AsyncExitStack, session: Session, parts: Parts, lease: Lease | None) -> None:
        """Serve metrics and probes.

        Raises:
            StartupError: the address cannot be bound.
        """
        listen = self._settings.listen
        if listen == "off":
            return
        host, _, port = listen.rpartition(":")
        app = probes.build_app(
            alive=lambda: _dead(session, parts),
            ready=lambda: _not_ready(session, parts, lease),
            details=lambda: _details(parts),
        )
        try:
            await stack.enter_async_context(probes.serve(app, host.strip("[]"), int(port)))
        except OSError as error:
            raise StartupError(f"--listen {listen}: {error.strerror}") from None

    async def _stand_by(self, session: Session, parts: Parts, stopping: asyncio.Task[Any], lease: Lease) -> int:
        """Wait for the lease, act while it is ours, and give it back."""
        holding: asyncio.Task[None] | None = None
        try:
            if not await _unless(lease.acquire(), stopping):
                return STOPPED
            holding = asyncio.create_task(lease.hold(), name="lease")
            return await self._act(session, parts, stopping, holding)
        finally:
            if holding is not None:
                holding.cancel()
            self._stopping.begin()
            await lease.release(self._stopping.share())

    async def _act(
        self, session: Session, parts: Parts, stopping: asyncio.Task[Any], holding: asyncio.Task[None] | None = None
    ) -> int:
        """List, then work, until a signal comes, the lease is lost or a part ends."""
        ends = [stopping] if holding is None else [stopping, holding]
        if not await _unless(parts.engine.list_first(), *ends):
            return self._stopping.code
        tasks = self._start(session, parts)
        await asyncio.wait([*ends, *tasks], return_when=asyncio.FIRST_COMPLETED)
        code = self._stopping.code
        self._stopping.begin()
        await self._drain(parts, tasks, holding)
        return code

    def _start(self, session: Session, parts: Parts) -> Tasks:
        """Start all that runs side by side."""
        watch = Watch(
            _sink(session, parts),
            session,
            namespaces=lambda: parts.invites.served,
            started=self._stopping.take_signals,
            is_open=lambda namespace: session.watches(watch_path(namespace)),
        )
        return Tasks(
            workers=asyncio.create_task(parts.engine.work(), name="workers"),
            publishing=asyncio.create_task(parts.events.keep_publishing(), name="events"),
            listing=asyncio.create_task(parts.engine.keep_listing(), name="complete-list"),
            checking=asyncio.create_task(keep_checking(parts.invites), name="check"),
            sweeping=asyncio.create_task(_sweep(parts.resync), name="sweep"),
            watching=asyncio.create_task(keep_watching(watch), name="watch"),
        )

    async def _drain(self, parts: Parts, tasks: Tasks, holding: asyncio.Task[None] | None) -> None:
        """Let running reconciles finish while there is time and the lease is ours, then cut them; end all that runs."""
        parts.queue.close()
        tasks.listing.cancel()
        tasks.checking.cancel()
        tasks.sweeping.cancel()
        running = [tasks.workers] if holding is None else [tasks.workers, holding]
        await asyncio.wait(running, timeout=self._stopping.left(SENDS_UNTIL), return_when=asyncio.FIRST_COMPLETED)
        parts.atlas.stop_sending()
        tasks.watching.cancel()  # not before: what is sent until here heeds a change of its object
        await asyncio.wait(running, timeout=self._stopping.left(CUT_AT), return_when=asyncio.FIRST_COMPLETED)
        if tasks.workers.done():
            await parts.events.flush(self._stopping.share())
        tasks.workers.cancel()
        tasks.publishing.cancel()
        await _ended(tasks, self._stopping.share())


async def _ended(tasks: Tasks, seconds: float) -> None:
    """Wait a moment until all have ended, kopf among them, and log what did not end well."""
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        error = task.exception() if task.done() and not task.cancelled() else None
        if error is not None:
            log.error("a part of the operator ended: %s", error, exc_info=error)
    log.info("stopped")


async def _unless(work: Coroutine[Any, Any, None], *ends: asyncio.Task[Any]) -> bool:
    """Do something, and return whether it was done before one of the others ended; then it is cancelled."""
    task = asyncio.create_task(work)
    await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait([task])
    return False


def _state(parts: Parts, lease: Lease | None) -> metrics.Gauges:
    """Return what the metrics tell of the time of a scrape."""
    return metrics.Gauges(
        leader=lambda: (lease is None or lease.leads) and parts.engine.listed,
        queue_depth=lambda: len(parts.queue),
        unserved=lambda: len(parts.invites.unserved),
        invitations=parts.store.states,
        next_expiry=lambda: parts.store.next_end(parts.atlas.now().timestamp()),
        sunset=lambda: ends_at.timestamp() if (ends_at := parts.atlas.sunset.ends_at) else None,
    )


class Tasks(NamedTuple):
    """What runs side by side."""

    workers: asyncio.Task[None]
    publishing: asyncio.Task[None]
    listing: asyncio.Task[None]
    checking: asyncio.Task[None]
    sweeping: asyncio.Task[None]
    watching: asyncio.Task[None]


Parts = Controller[Invites, Events, Atlas]
"""The controller on a real cluster and Atlas."""


def wire(  # noqa: PLR0913 - each is a choice of the caller's
    settings: Settings,
    session: Session,
    atlas: Atlas,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    gate: Callable[[], float] = no_election,
) -> Parts:
    """Put the controller together over the cluster and Atlas.

    Args:
        settings: every knob.
        session: the cluster.
        atlas: Atlas.
        clock: monotonic seconds.
        wall: the local time, UTC.
        gate: returns how many seconds a write that starts now may take; raises ``ClusterUnavailable`` where none may.
    """
    client = client_of(session)
    invites = Invites(client, settings.namespaces, gate, session.succeed)
    events = Events(client, gate, lambda: not parts.queue.idle)
    parts: Parts = assemble(
        invites=invites,
        references=References(client),
        events=events,
        atlas=atlas,
        workers=settings.workers,
        resync_interval=settings.resync_interval,
        clock=clock,
        wall=wall,
    )
    return parts


async def _sweep(resync: Resync) -> None:
    await resync.sweep_all()
    await resync.keep_sweeping()


async def keep_checking(invites: Invites) -> None:
    """Ask the API server for a small list of each namespace now and then, for ever.

    A quiet watch says nothing of whether the API server is there, nor of a namespace that can be listed again.
    """
    said = None
    while True:
        await asyncio.sleep(CHECK)
        try:
            await invites.check()
        except ClusterUnavailable as error:
            if said != str(error):
                log.warning("the check of the API server failed; will retry: %s", error)
            said = str(error)
        except Exception:
            log.exception("asking for the namespaces failed in an unexpected way; will retry")
        else:
            said = None


def _sink(session: Session, parts: Parts) -> Sink:
    """Return what takes the events of the watch, each of which shows that the API server is there."""

    def take(resource: Resource, *, deleted: bool, listed: bool) -> None:
        session.succeed()
        parts.engine.on_event(resource, deleted=deleted, listed=listed)

    return take


def _details(parts: Parts) -> list[str]:
    """Return a line for each namespace, as the probes of Kubernetes have them; none before the first list."""
    if not parts.engine.listed:
        return []
    served = [f"[+]namespace {namespace} ok" for namespace in parts.invites.served if namespace is not None]
    return served + [f"[-]namespace {name} not served: {why}" for name, why in parts.invites.unserved.items()]


def _dead(session: Session, parts: Parts) -> str | None:
    if parts.engine.watch_lag() > WATCH_LAG_AT_MOST:
        return "the watch shows nothing that the list shows"
    return _out_of_touch(session)


def _not_ready(session: Session, parts: Parts, lease: Lease | None) -> str | None:
    """Return why this process is not ready: who stands by is, as long as it can take over."""
    acts = lease is None or lease.leads
    return "the first complete list has not arrived" if acts and not parts.engine.listed else _out_of_touch(session)


def _out_of_touch(session: Session) -> str | None:
    lost = session.lost_for() > LOST_AFTER
    return f"no list, watch or read of the Lease has succeeded for {LOST_AFTER:.0f} s" if lost else None
