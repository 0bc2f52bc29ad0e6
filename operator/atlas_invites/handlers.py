"""All that there is of kopf: it lists and watches, and hands every event on."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import kopf

from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import CodeType

Login = Callable[..., Awaitable[kopf.ConnectionInfo | kopf.AiohttpSession]]

AGAIN_FIRST, AGAIN_LAST = 1.0, 30.0
"""Seconds until a watch that has ended begins anew: twice as many each time, unless it lasted."""

ENDS_IN = 5.0
"""Seconds that kopf may take to end."""

BEGINS_IN, BEGINS_IN_LAST = 60.0, 120.0
"""Seconds that a watch may take to begin, or to begin again; at first, and if it has not begun in time before."""

LOOK = 1.0
"""Seconds between two looks at whether the watch is open."""

_PAGE = 500
_KOPF = Path(kopf.__file__).parent

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the events of the watch."""

    def __call__(self, resource: Resource, *, deleted: bool) -> None:
        """Take in an object as it is now, or was when it was deleted."""


def register(registry: kopf.OperatorRegistry, sink: Sink) -> None:
    """Send every event of the watch to a sink.

    A handler that raises loses the event (kopf logs it and goes on), so nothing is raised: an object that cannot be
    read is logged; the next complete list finds it.
    """

    async def on_event(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        try:
            sink(Resource.from_body(event["object"]), deleted=event["type"] == "DELETED")
        except Exception:
            log.exception("could not process a watch event; the next full list will pick the object up")

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(on_event)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched, and who is told.

    Attributes:
        sink: takes an object, and whether it was deleted.
        login: says how to reach the cluster; asked again after a 401.
        namespaces: returns which to watch now; None means all.
        started: called when kopf has been started, which takes the process's signals for itself.
        lists: called when the watch begins to list, at first or anew: of what was deleted before that list there will
            be no event.
        begun: called when it has listed, and tells of every change from here on; what it has listed is on its way.
        is_open: returns whether the API server responds to the watch of a namespace, or of all.
    """

    sink: Sink
    login: Login
    namespaces: Callable[[], Sequence[str | None]]
    started: Callable[[], None]
    lists: Callable[[], None]
    begun: Callable[[], None]
    is_open: Callable[[str | None], bool]


class NotBegunError(Exception):
    """The watch of these namespaces (None: of all) has not begun within so many seconds."""

    def __init__(self, seconds: float, namespaces: Collection[str | None]) -> None:
        names = ", ".join(sorted(filter(None, namespaces)))
        super().__init__(f"it has not begun within {seconds:.0f} s{names and f' in namespace {names}'}")


class MoreToWatchError(Exception):
    """There is another namespace to watch."""


async def keep_watching(watch: Watch) -> None:
    """Send the events of the watch to the sink, for ever: restart kopf when it ends or makes no progress."""
    loop, pause, patience = asyncio.get_running_loop(), AGAIN_FIRST, BEGINS_IN
    loop.set_exception_handler(_on_loop_error)
    while True:
        if not (namespaces := watch.namespaces()):
            await asyncio.sleep(LOOK)
            continue
        began = loop.time()
        error = await _run_kopf(watch, namespaces, patience)
        pause = AGAIN_FIRST if loop.time() - began > AGAIN_LAST else min(2 * pause, AGAIN_LAST)
        patience = BEGINS_IN_LAST if isinstance(error, NotBegunError) else BEGINS_IN
        log.warning("the watch ended; restarting in %.0f s: %s", pause, error)
        await asyncio.sleep(pause)


async def _run_kopf(watch: Watch, namespaces: Sequence[str | None], patience: float) -> BaseException | None:
    """Run kopf until it ends, or does not watch what it should, and return why.

    ``kopf.run_tasks`` is not for us: when kopf ends, it cancels every task of the process that is younger than kopf. So
    we end kopf's tasks ourselves: those that it gives us, and then those that these have started (streams, a worker for
    each object with events). kopf has no list of the latter that we could ask for, so they are told by the file that
    their code is from.
    """
    registry = kopf.OperatorRegistry()
    register(registry, watch.sink)
    kopf.on.login(registry=registry)(watch.login)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(watch),
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
        await asyncio.wait(tasks, timeout=ENDS_IN)
        for task in asyncio.all_tasks():
            if _is_kopfs(getattr(task.get_coro(), "cr_code", None)):
                task.cancel()
    return next((error for task in ended if not task.cancelled() and (error := task.exception())), None)


async def _look(watch: Watch, namespaces: Sequence[str | None], patience: float) -> None:
    """Look at the watch of each namespace, for as long as none has been closed for too many seconds.

    kopf looks for the resource when it starts. If the CRD is not there then, kopf watches nothing, for ever.

    Raises:
        NotBegunError: one has.
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
            patience = BEGINS_IN
        if not open_at.keys() >= set(watch.namespaces()):
            raise MoreToWatchError("another namespace can be watched")
    raise NotBegunError(patience, open_at.keys() - set(are_open))


def _is_kopfs(code: CodeType | None) -> bool:
    return code is not None and Path(code.co_filename).is_relative_to(_KOPF)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an error that nobody awaits, unless it is kopf's.

    A watch of kopf does not close as it should, and where two of its watches fail it awaits one, having logged both.
    """
    code = getattr(context.get("asyncgen"), "ag_code", None)
    if isinstance(future := context.get("future"), asyncio.Task):
        code = getattr(future.get_coro(), "cr_code", None)
    if not _is_kopfs(code):
        loop.default_exception_handler(context)


class _BackOffs:
    """Seconds between kopf's tries to list and watch, without an end.

    kopf iterates over them anew for each request, all day long: an iterator would be used up by the first outage.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13), itertools.repeat(20))


class _Watching:
    """kopf's settings for watching, which tell when it lists, and when it watches after a list.

    kopf lists when it starts, and anew by itself whenever it cannot go on from where it was (410 Gone), and says so
    nowhere. But it asks for ``chunk_size`` when it is about to list, and for ``server_timeout`` when it has listed and
    is about to watch, both in the task of that watch.
    """

    def __init__(self, settings: Any, watch: Watch) -> None:  # noqa: ANN401 - kopf does not name its type
        self._settings = settings
        self._watch = watch
        self._listing: set[asyncio.Task[Any] | None] = set()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever kopf has
        return getattr(self._settings, name)

    @property
    def chunk_size(self) -> int:
        """How many objects to list at a time."""
        self._listing.add(asyncio.current_task())
        self._watch.lists()
        return _PAGE

    @property
    def server_timeout(self) -> float | None:
        """How long to watch before the API server ends it: as it likes."""
        if (task := asyncio.current_task()) in self._listing:
            self._listing.discard(task)
            self._watch.begun()
        return None


class _NothingToCompare(kopf.DiffBaseStorage):
    """No handler asks what has changed, so no object is copied to compare it later: a tenth of a burst's CPU."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 - kopf's signature
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401
        pass


def _kopf_settings(watch: Watch) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NothingToCompare()
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 0.5  # the handler never awaits
    watching: Any = _Watching(settings.watching, watch)
    settings.watching = watching
    settings.networking.error_backoffs = _BackOffs()
    settings.process.ultimate_exiting_timeout = None  # else kopf kills the process ten minutes after it was ended
    return settings
