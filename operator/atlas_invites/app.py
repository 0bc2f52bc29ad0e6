"""Wires the parts; starts and stops them."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import kopf

from atlas_invites import handlers
from atlas_invites.atlas.client import Atlas
from atlas_invites.controller.access import Access, names_project, names_secret
from atlas_invites.controller.deletion import Deletion
from atlas_invites.controller.engine import WATCH_LAG_AT_MOST, Engine
from atlas_invites.controller.polled import Polled
from atlas_invites.controller.queue import WorkQueue
from atlas_invites.controller.reconciler import Reconciler
from atlas_invites.controller.resync import Resync
from atlas_invites.controller.store import Store
from atlas_invites.kube.connection import connect, load_configuration
from atlas_invites.kube.events import Events
from atlas_invites.kube.invites import Invites
from atlas_invites.kube.projects import Projects
from atlas_invites.kube.secrets import Secrets
from atlas_invites.telemetry import probes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kubernetes.aio.client import ApiClient

    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.resource import Key
    from atlas_invites.settings import Settings

log = logging.getLogger(__name__)

SECRET_TTL, PROJECT_TTL = 60.0, 30.0
"""Seconds for which a Secret or an AtlasProject that was read serves everyone who names it."""

DRAIN = 8.0
"""Seconds that running reconciles have to finish after SIGTERM; then their calls are cut."""


class App:
    """The operator of one process.

    Args:
        settings: every knob.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._kopf_stop = asyncio.Event()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a part of it ends by itself.

        Returns:
            The exit code: 0 after a signal, 1 where the watch ended by itself.

        Raises:
            ValueError: no cluster is configured, or the address of the probes cannot be bound.
        """
        self._take_signals()
        async with AsyncExitStack() as stack:
            client = await connect()
            stack.push_async_callback(client.close)
            settings = self._settings
            atlas = await stack.enter_async_context(
                Atlas(settings.atlas_url, envelope=settings.atlas_envelope, api=settings.atlas_api)
            )
            parts = wire(settings, client, atlas)
            if settings.listen != "off":
                host, _, port = settings.listen.rpartition(":")
                app = probes.build_app(alive=lambda: _dead(parts.engine), ready=lambda: _not_ready(parts.engine))
                try:
                    await stack.enter_async_context(probes.serve(app, host.strip("[]"), int(port)))
                except OSError as error:
                    raise ValueError(f"--listen {settings.listen}: {error.strerror}") from None
            stopping = asyncio.create_task(self._stopping.wait(), name="signal")
            stack.callback(stopping.cancel)
            if not await self._first_list(parts.engine, stopping):
                return 0
            return await self._work(parts, stopping)

    async def _first_list(self, engine: Engine, stopping: asyncio.Task[Any]) -> bool:
        """Wait for the first complete list; return False where a signal came first."""
        listing = asyncio.create_task(engine.list_first(), name="first-list")
        await asyncio.wait([listing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if listing.done():
            listing.result()
            return True
        listing.cancel()
        return False

    async def _work(self, parts: Parts, stopping: asyncio.Task[Any]) -> int:
        """Run everything until a signal comes or a part ends; then stop in order."""
        # kopf cancels every task that was started after its own: the workers come first.
        workers = asyncio.create_task(parts.engine.work(), name="workers")
        background = [
            asyncio.create_task(parts.events.keep_publishing(), name="events"),
            asyncio.create_task(parts.engine.keep_listing(), name="complete-list"),
            asyncio.create_task(_sweep(parts.resync), name="sweep"),
        ]
        watch = await start_watch(parts.engine, self._settings.namespaces, self._kopf_stop)
        self._take_signals()  # kopf has just taken them for itself
        await asyncio.wait([stopping, watch, workers, *background], return_when=asyncio.FIRST_COMPLETED)
        parts.queue.close()
        await asyncio.wait([workers], timeout=DRAIN)
        workers.cancel()
        await parts.events.flush()
        for task in background:
            task.cancel()
        ended_by_itself = not self._stopping.is_set()
        self._kopf_stop.set()
        results = await asyncio.gather(workers, watch, *background, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                log.error("a part of the operator ended: %s", result, exc_info=result)
        log.info("stopped")
        return 1 if ended_by_itself else 0

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs side by side."""

    engine: Engine
    queue: WorkQueue[Key]
    resync: Resync
    events: Events


def wire(
    settings: Settings,
    client: ApiClient,
    atlas: Atlas,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Parts:
    """Wire the parts.

    Args:
        settings: every knob.
        client: the cluster.
        atlas: Atlas.
        clock: monotonic seconds.
        wall: the local time, UTC.
    """
    queue: WorkQueue[Key] = WorkQueue(clock)
    store, events, invites = Store(), Events(client), Invites(client, settings.namespaces)
    secrets: Polled[Key, Credentials] = Polled(
        Secrets(client).credentials, SECRET_TTL, clock, lambda key: engine.wake(names_secret(key))
    )
    projects: Polled[Key, str] = Polled(
        Projects(client).group_id, PROJECT_TTL, clock, lambda key: engine.wake(names_project(key))
    )
    access = Access(secrets, projects)
    deletion = Deletion(store, invites, access, atlas, events, wall=wall, clock=clock)
    reconciler = Reconciler(store, invites, access, atlas, deletion, events, wall=wall, clock=clock)
    engine = Engine(store, queue, invites, reconciler, workers=settings.workers, clock=clock)
    resync = Resync(store, queue, access, atlas, events, settings.resync_interval, clock=clock)
    return Parts(engine, queue, resync, events)


async def start_watch(engine: Engine, namespaces: Sequence[str], stop: asyncio.Event) -> asyncio.Task[None]:
    """Start kopf, which sends the events of the watch to the engine, and takes the process's signals.

    Returns:
        kopf's task: it ends after ``stop`` is set, or by itself where the cluster does not let it watch.
    """
    registry = kopf.OperatorRegistry()
    handlers.register(registry, lambda resource, deleted: engine.on_event(resource, deleted=deleted))
    kopf.on.login(registry=registry)(_login)
    existing = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    return asyncio.create_task(kopf.run_tasks(tasks, ignored=existing), name="kopf")


async def _sweep(resync: Resync) -> None:
    await resync.sweep_all()
    await resync.keep_sweeping()


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.queueing.idle_timeout = 0.1
    settings.watching.chunk_size = 500
    return settings


async def _login(**_kwargs: Any) -> kopf.ConnectionInfo:  # noqa: ANN401 - kopf's signature
    """Give kopf the very connection that our own client uses; called again after a 401."""
    configuration = await load_configuration()
    authorization = await configuration.get_api_key_with_prefix("BearerToken") or ""
    scheme, _, token = authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


def _dead(engine: Engine) -> str | None:
    lag = engine.watch_lag()
    return "the watch shows nothing that the list shows" if lag > WATCH_LAG_AT_MOST else None


def _not_ready(engine: Engine) -> str | None:
    return None if engine.listed else "the first complete list has not arrived"
