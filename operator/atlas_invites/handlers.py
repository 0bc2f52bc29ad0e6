"""All that there is of kopf: it lists and watches, and hands every event on."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import kopf

from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Login = Callable[..., Awaitable[kopf.ConnectionInfo]]

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


async def start_watch(sink: Sink, login: Login, namespaces: Sequence[str], stop: asyncio.Event) -> asyncio.Task[None]:
    """Start kopf, which sends the events of the watch to the sink, and takes the process's signals.

    Args:
        sink: takes an object, and whether it was deleted.
        login: says how to reach the cluster; asked again after a 401.
        namespaces: which to watch; none means all.
        stop: ends it.

    Returns:
        kopf's task: it ends after ``stop`` is set, or by itself where the cluster does not let it watch.
    """
    registry = kopf.OperatorRegistry()
    register(registry, sink)
    kopf.on.login(registry=registry)(login)
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


class _BackOffs:
    """Seconds between kopf's tries to list and watch, without an end: it would end the process, which helps nobody."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13), itertools.repeat(20))


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.queueing.idle_timeout = 0.1
    settings.watching.chunk_size = 500
    settings.networking.error_backoffs = _BackOffs()
    return settings
