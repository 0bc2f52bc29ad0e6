"""All that there is of kopf: it lists and watches, and hands every event on."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import kopf

from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType

Login = Callable[..., Awaitable[kopf.ConnectionInfo]]

AGAIN_FIRST, AGAIN_LAST = 1.0, 30.0
"""Seconds until a watch that has ended begins anew: twice as many each time, unless it lasted."""

ENDS_IN = 5.0
"""Seconds that kopf may take to end."""

_KOPF = Path(kopf.__file__).parent

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the events of the watch."""

    def __call__(self, resource: Resource, *, deleted: bool, listed: bool) -> None:
        """Take in an object as it is now, or was when it was deleted; ``listed``: as a list shows it, no change."""


def register(registry: kopf.OperatorRegistry, sink: Sink) -> None:
    """Send every event of the watch to a sink.

    A handler that raises loses the event (kopf logs it and goes on), so nothing is raised: an object that cannot be
    read is logged; the next complete list finds it.
    """

    async def on_event(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        try:
            sink(Resource.from_body(event["object"]), deleted=event["type"] == "DELETED", listed=event["type"] is None)
        except Exception:
            log.exception("an event was not understood and is left to the next complete list")

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(on_event)


async def keep_watching(sink: Sink, login: Login, namespaces: Sequence[str], started: Callable[[], None]) -> None:
    """Send the events of the watch to the sink, for ever: where kopf gives up, it is started anew.

    Args:
        sink: takes an object, and whether it was deleted.
        login: says how to reach the cluster; asked again after a 401.
        namespaces: which to watch; none means all.
        started: called when kopf has been started, which takes the process's signals for itself.
    """
    loop, pause = asyncio.get_running_loop(), AGAIN_FIRST
    loop.set_exception_handler(_on_loop_error)
    while True:
        began = loop.time()
        error = await _watch(sink, login, namespaces, started)
        pause = AGAIN_FIRST if loop.time() - began > AGAIN_LAST else min(2 * pause, AGAIN_LAST)
        log.warning("the watch ended, and begins anew in %.0f s: %s", pause, error)
        await asyncio.sleep(pause)


async def _watch(
    sink: Sink, login: Login, namespaces: Sequence[str], started: Callable[[], None]
) -> BaseException | None:
    """Run kopf until it ends, and return why it did.

    ``kopf.run_tasks`` is not for us: when kopf ends, it cancels every task of the process that is younger than kopf.
    """
    registry = kopf.OperatorRegistry()
    register(registry, sink)
    kopf.on.login(registry=registry)(login)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    started()
    ended: set[asyncio.Task[None]] = set()
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=ENDS_IN)
        for task in asyncio.all_tasks():
            if _is_kopfs(getattr(task.get_coro(), "cr_code", None)):
                task.cancel()
    return next((error for task in ended if not task.cancelled() and (error := task.exception())), None)


def _is_kopfs(code: CodeType | None) -> bool:
    return code is not None and Path(code.co_filename).is_relative_to(_KOPF)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an error that nobody awaits, unless it is that a watch of kopf does not close as it should."""
    if not _is_kopfs(getattr(context.get("asyncgen"), "ag_code", None)):
        loop.default_exception_handler(context)


class _BackOffs:
    """Seconds between kopf's tries to list and watch, without an end."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13), itertools.repeat(20))


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 0.5  # the handler never awaits
    settings.watching.chunk_size = 500
    settings.networking.error_backoffs = _BackOffs()
    settings.process.ultimate_exiting_timeout = None  # else kopf kills the process ten minutes after it was ended
    return settings
