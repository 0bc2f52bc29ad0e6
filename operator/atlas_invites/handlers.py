"""All code that uses kopf. kopf lists and watches; every event is passed on.

This module also relies on behavior of kopf that is not documented. ``tests/unit/test_kopf.py`` tests each point with
the real kopf; ``pyproject.toml`` allows only versions with which these tests were run.

1. When ``spawn_tasks`` returns, kopf has installed its signal handlers; it does not install them later.
2. The tasks of ``spawn_tasks`` start only tasks and generators whose code is in kopf's own files.
3. Of the session that a login handler returns, kopf uses only ``request``, ``headers``, ``closed`` and ``close``.
4. For each request, kopf iterates over ``error_backoffs`` from the beginning; it does not need its length.
5. With only an event handler, kopf writes nothing to an object, even if its diff-base storage keeps nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import kopf

from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from types import CodeType

    import aiohttp

RESTART_FIRST, RESTART_LAST = 1.0, 30.0
"""Seconds until a watch that has ended is restarted: doubled each time, unless the watch lasted longer than that."""

STOP_TIMEOUT = 5.0
"""Seconds that kopf may take to stop."""

OPEN_TIMEOUT, OPEN_TIMEOUT_LAST = 60.0, 120.0
"""Seconds that a watch may take to open or reopen: the first limit, and the limit after it was exceeded."""

LOOK = 1.0
"""Seconds between two checks of whether the watch is open."""

_PAGE = 500
_KOPF = Path(kopf.__file__).parent

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the events of the watch."""

    def __call__(self, resource: Resource, *, deleted: bool, listed: bool) -> None:
        """Take an object as it is, or was when it was deleted. ``listed``: it comes from a list, not from a change."""


class Session(Protocol):
    """Sends requests to the API server. kopf uses it as an ``aiohttp.ClientSession``."""

    @property
    def server(self) -> str:
        """The URL of the API server."""


def register(registry: kopf.OperatorRegistry, sink: Sink, session: Session) -> None:
    """Register the handlers: every event goes to the sink, and the session sends every request.

    The handlers never raise, because kopf would log the error and lose the event. An object that cannot be read is
    logged; the next complete list finds it.

    After a 401, kopf logs in again. The session has then already retried with its newest credentials. kopf gets the
    same session, and ends.
    """

    async def on_event(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        try:
            resource, type_ = Resource.from_body(event["object"]), event["type"]
            sink(resource, deleted=type_ == "DELETED", listed=type_ is None)
        except Exception:
            log.exception("could not process a watch event; the next complete list will have the object")

    async def login(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401 - kopf's signature
        return kopf.AiohttpSession(server=session.server, aiohttp_session=cast("aiohttp.ClientSession", session))

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(on_event)
    kopf.on.login(registry=registry)(login)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched, and where the events go.

    Attributes:
        sink: takes each event.
        session: sends the requests of kopf and of our own client.
        namespaces: returns the namespaces to watch now; None means all.
        started: called after kopf has started, because kopf replaces the signal handlers of the process.
        is_open: returns whether the watch of a namespace, or of all, is open.
    """

    sink: Sink
    session: Session
    namespaces: Callable[[], Sequence[str | None]]
    started: Callable[[], None]
    is_open: Callable[[str | None], bool]


class NotOpenError(Exception):
    """The watch of these namespaces (None: of all) did not open within the given seconds."""

    def __init__(self, seconds: float, namespaces: Collection[str | None]) -> None:
        names = ", ".join(sorted(filter(None, namespaces)))
        super().__init__(f"it did not open within {seconds:.0f} s{names and f' in namespace {names}'}")


class MoreToWatchError(Exception):
    """There is another namespace to watch."""


async def keep_watching(watch: Watch) -> None:
    """Send the events of the watch to the sink, forever. Restart kopf when it ends or makes no progress."""
    loop, pause, patience = asyncio.get_running_loop(), RESTART_FIRST, OPEN_TIMEOUT
    loop.set_exception_handler(_on_loop_error)
    while True:
        if not (namespaces := watch.namespaces()):
            await asyncio.sleep(LOOK)
            continue
        began = loop.time()
        error = await _run_kopf(watch, namespaces, patience)
        pause = RESTART_FIRST if loop.time() - began > RESTART_LAST else min(2 * pause, RESTART_LAST)
        patience = OPEN_TIMEOUT_LAST if isinstance(error, NotOpenError) else OPEN_TIMEOUT
        log.warning("the watch ended; restarting in %.0f s: %s", pause, error)
        await asyncio.sleep(pause)


async def _run_kopf(watch: Watch, namespaces: Sequence[str | None], patience: float) -> BaseException | None:
    """Run kopf until it ends or does not watch what it should. Return the reason.

    ``kopf.run_tasks`` cannot be used: when kopf ends, it cancels every task of the process that started after kopf.
    So this function cancels kopf's tasks itself: those that ``spawn_tasks`` returns, and then the tasks that they have
    started (streams, a worker for each object with events). kopf has no list of the latter.
    """
    registry = kopf.OperatorRegistry()
    register(registry, watch.sink, watch.session)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=None in namespaces,
        namespaces=[namespace for namespace in namespaces if namespace is not None],
    )
    watch.started()
    tasks = [*tasks, asyncio.create_task(_look(watch, namespaces, patience), name="look")]
    ended: set[asyncio.Task[None]] = set()
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_TIMEOUT)
        for task in asyncio.all_tasks():
            if _is_kopfs(getattr(task.get_coro(), "cr_code", None)):
                task.cancel()
    return next((error for task in ended if not task.cancelled() and (error := task.exception())), None)


async def _look(watch: Watch, namespaces: Sequence[str | None], patience: float) -> None:
    """Check the watch of each namespace until one has been closed for more than ``patience`` seconds.

    kopf discovers the resource only when it starts. If the CRD does not exist then, kopf never watches anything.

    Raises:
        NotOpenError: a watch has been closed for too long.
        MoreToWatchError: there is another namespace to watch.
    """
    clock = asyncio.get_running_loop().time
    open_at: dict[str | None, float] = dict.fromkeys(namespaces, clock())
    are_open: list[str | None] = []
    while clock() - min(open_at.values()) < patience:
        await asyncio.sleep(LOOK)
        are_open = [namespace for namespace in open_at if watch.is_open(namespace)]
        open_at |= dict.fromkeys(are_open, clock())
        if len(are_open) == len(open_at):
            patience = OPEN_TIMEOUT
        if not open_at.keys() >= set(watch.namespaces()):
            raise MoreToWatchError("another namespace can be watched")
    raise NotOpenError(patience, open_at.keys() - set(are_open))


def _is_kopfs(code: CodeType | None) -> bool:
    return code is not None and Path(code.co_filename).is_relative_to(_KOPF)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an error that no task awaits, unless it comes from kopf.

    kopf does not close its watches properly. If two of them fail, it logs both errors, but awaits only one.
    """
    code = getattr(context.get("asyncgen"), "ag_code", None)
    if isinstance(future := context.get("future"), asyncio.Task):
        code = getattr(future.get_coro(), "cr_code", None)
    if not _is_kopfs(code):
        loop.default_exception_handler(context)


class _BackOffs:
    """Seconds between kopf's attempts to list and watch, without end. One outage would exhaust an iterator."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13), itertools.repeat(20))


class _NothingToCompare(kopf.DiffBaseStorage):
    """Keeps no copy of an object for later comparison: copies would take a tenth of the CPU of a burst."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 - kopf's signature
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401
        pass


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NothingToCompare()
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 0.5  # the handler never awaits
    settings.watching.chunk_size = _PAGE
    settings.networking.error_backoffs = _BackOffs()
    settings.process.ultimate_exiting_timeout = None  # else kopf kills the process ten minutes after it was stopped
    return settings
