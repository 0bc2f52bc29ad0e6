"""Wires the parts of the operator together, starts them and stops them."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atlas_invites.atlas.client import Atlas
from atlas_invites.controller.assembly import Controller
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
from atlas_invites.kube.session import LOST_AFTER, Session, open_session
from atlas_invites.stopping import CUT_AT, SENDS_UNTIL, STOPPED, Stopping
from atlas_invites.telemetry import metrics, probes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from atlas_invites.controller.resync import Resync
    from atlas_invites.invitation.resource import Resource
    from atlas_invites.settings import Settings

log = logging.getLogger(__name__)

CHECK = 20.0
"""Seconds between two checks that the API server responds and that each namespace can be listed."""


Parts = Controller[Invites, Events, Atlas]
"""The controller on a real cluster and the real Atlas."""


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT, or until the lease is lost or a part of it ends unexpectedly.

    Returns:
        The exit code: 0 after a signal, else 1.

    Raises:
        StartupError: no cluster is configured, or the address of the probes cannot be bound.
    """
    stopping = Stopping()
    stopping.handle_signals()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        lease, gate = None, no_election
        if settings.leader_election:
            lease = Lease(LeaseObject(client_of(session), settings.lease_namespace, session.succeed), new_identity())
            gate = lease.time_to_write
        atlas = await stack.enter_async_context(
            Atlas(settings.atlas_url, envelope=settings.atlas_envelope, api=settings.atlas_api, gate=gate)
        )
        process = Process(session, wire(settings, session, atlas, gate=gate), lease, stopping)
        stack.enter_context(process.gauges().exported())
        if settings.listen != "off":
            host, _, port = settings.listen.rpartition(":")
            app = probes.build_app(process.why_dead, process.why_not_ready, process.namespaces)
            try:
                await stack.enter_async_context(probes.serve(app, host.strip("[]"), int(port)))
            except OSError as error:
                raise StartupError(f"--listen {settings.listen}: {error.strerror}") from None
        return await process.run()


def wire(  # noqa: PLR0913 - each is a choice of the caller's
    settings: Settings,
    session: Session,
    atlas: Atlas,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    gate: Callable[[], float] = no_election,
) -> Parts:
    """Assemble the controller on the cluster and Atlas.

    ``clock`` returns monotonic seconds, ``wall`` the local time in UTC; ``gate`` is that of the lease, if there is one.
    """
    client = client_of(session)
    parts: Parts = Controller(
        invites=Invites(client, settings.namespaces, gate, session.succeed),
        references=References(client),
        events=Events(client, gate, lambda: not parts.queue.idle),
        atlas=atlas,
        workers=settings.workers,
        resync_interval=settings.resync_interval,
        deletion_grace=settings.deletion_grace,
        clock=clock,
        wall=wall,
        default_secret=settings.default_secret,
    )
    return parts


@dataclass(frozen=True, slots=True)
class Process:
    """The running operator: the order of its steps, and its probes and gauges.

    ``lease`` is None without leader election.
    """

    session: Session
    parts: Parts
    lease: Lease | None
    stopping: Stopping

    async def run(self) -> int:
        """Wait for the lease, lead while this process holds it, release it, and return the exit code."""
        asked = asyncio.create_task(self.stopping.asked.wait(), name="signal")
        holding: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            if self.lease is not None:
                if not await _unless(self.lease.acquire(), asked):
                    return STOPPED
                holding = asyncio.create_task(self.lease.hold(), name="lease")
            return await self._act(asked, holding)
        finally:
            asked.cancel()
            holding.cancel()
            self.stopping.begin()
            if self.lease is not None:
                await self.lease.release(self.stopping.share())

    async def _act(self, asked: asyncio.Task[Any], holding: asyncio.Future[None]) -> int:
        """List, then work, until a signal arrives, the lease is lost or a part ends."""
        if not await _unless(self.parts.engine.list_first(), asked, holding):
            return self.stopping.code
        tasks = self._start()
        await asyncio.wait([asked, holding, *tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        code = self.stopping.code
        self.stopping.begin()
        await self._drain(tasks, holding)
        return code

    def _start(self) -> dict[str, asyncio.Task[None]]:
        """Start all parts that run concurrently."""
        parts, session = self.parts, self.session
        watch = Watch(
            self.on_event,
            session,
            namespaces=lambda: parts.invites.served,
            started=self.stopping.handle_signals,
            is_open=lambda namespace: session.watches(watch_path(namespace)),
        )
        work: dict[str, Coroutine[Any, Any, None]] = {
            "workers": parts.engine.work(),
            "events": parts.events.keep_publishing(),
            "complete-list": parts.engine.keep_listing(),
            "check": keep_checking(parts.invites),
            "resync": _run_resync(parts.resync),
            "watch": keep_watching(watch),
        }
        return {name: asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()}

    async def _drain(self, tasks: dict[str, asyncio.Task[None]], holding: asyncio.Future[None]) -> None:
        """Let running reconciles finish while there is time and we hold the lease, then cut them; end all parts."""
        self.parts.queue.close()
        for name in ("complete-list", "check", "resync"):
            tasks[name].cancel()
        running, left = [tasks["workers"], holding], self.stopping.left
        await asyncio.wait(running, timeout=left(SENDS_UNTIL), return_when=asyncio.FIRST_COMPLETED)
        self.parts.atlas.stop_sending()
        tasks["watch"].cancel()  # not earlier: a send until now must notice changes to its object
        await asyncio.wait(running, timeout=left(CUT_AT), return_when=asyncio.FIRST_COMPLETED)
        if tasks["workers"].done():
            await self.parts.events.flush(self.stopping.share())
        tasks["workers"].cancel()
        tasks["events"].cancel()
        await asyncio.wait(tasks.values(), timeout=self.stopping.share())
        for task in tasks.values():
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None:
                log.error("a part of the operator ended: %s", error, exc_info=error)
        log.info("stopped")

    def on_event(self, resource: Resource, *, deleted: bool, listed: bool) -> None:
        """Pass on an event of the watch, and record that the API server responds."""
        self.session.succeed()
        self.parts.engine.on_event(resource, deleted=deleted, listed=listed)

    def gauges(self) -> metrics.Gauges:
        """Return the gauges, whose values are read at each scrape."""
        parts = self.parts
        return metrics.Gauges(
            leader=lambda: self._acts() and parts.engine.listed,
            queue_depth=lambda: len(parts.queue),
            unserved=lambda: len(parts.invites.unserved),
            invitations=parts.store.states,
            objects=parts.store.reasons,
            next_expiry=lambda: parts.store.next_end(parts.atlas.now().timestamp()),
            sunset=lambda: ends_at.timestamp() if (ends_at := parts.atlas.sunset.ends_at) else None,
        )

    def namespaces(self) -> list[str]:
        """Return a line for each namespace, in the format of the Kubernetes probes; none before the first list."""
        invites = self.parts.invites
        if not self.parts.engine.listed:
            return []
        served = [f"[+]namespace {namespace} ok" for namespace in invites.served if namespace is not None]
        return served + [f"[-]namespace {name} not served: {why}" for name, why in invites.unserved.items()]

    def why_dead(self) -> str | None:
        """Return why the process should be restarted, if it should."""
        if self.parts.engine.watch_lag() > WATCH_LAG_AT_MOST:
            return "the watch lags behind the list"
        return self._out_of_touch()

    def why_not_ready(self) -> str | None:
        """Return why this process is not ready, if it is not. A standby is ready as long as it can take over."""
        is_listing = self._acts() and not self.parts.engine.listed
        return "the first complete list has not arrived" if is_listing else self._out_of_touch()

    def _acts(self) -> bool:
        return self.lease is None or self.lease.leads

    def _out_of_touch(self) -> str | None:
        lost = self.session.lost_for() > LOST_AFTER
        return f"no list, watch or read of the Lease has succeeded for {LOST_AFTER:.0f} s" if lost else None


async def _unless(work: Coroutine[Any, Any, None], *ends: asyncio.Future[Any]) -> bool:
    """Run some work until one of the futures ends, then cancel it. Return whether the work was done before."""
    task = asyncio.create_task(work)
    await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait([task])
    return False


async def _run_resync(resync: Resync) -> None:
    await resync.resync_all()
    await resync.keep_resyncing()


async def keep_checking(invites: Invites) -> None:
    """Periodically list one object of each namespace, forever.

    A quiet watch does not show whether the API server responds, or that a namespace can be listed again.
    """
    reported = None
    while True:
        await asyncio.sleep(CHECK)
        try:
            await invites.check()
        except ClusterUnavailable as error:
            if reported != str(error):
                log.warning("the check of the API server failed; will retry: %s", error)
            reported = str(error)
        except Exception:
            log.exception("the check of the API server failed unexpectedly; will retry")
        else:
            reported = None
