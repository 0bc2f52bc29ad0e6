"""The measurements: each does one piece of work on a stand and yields lines of the table.

They run in the order of ``of_size``, and each starts from the state that the one before has left.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.audit import last
from tests.bench.report import Line
from tests.bench.stand import LATENCY, ROLES, Stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.stand import Work

SINGLE = 31
"""The number of consecutive changes of one object, for the median."""
BURST = 1000
"""The largest number of objects that are changed at once."""
RESYNC_INTERVAL = 15.0
"""The seconds between two resyncs while resyncs are measured."""
MILLISECONDS = 1000.0


def of_size(objects: int, projects: int, outage: float, say: Callable[[str], None]) -> Iterator[Line]:
    """Measure everything with some objects in some projects.

    Args:
        objects: the number of objects.
        projects: the largest number of projects; there are not more projects than objects.
        outage: the seconds for which Atlas is unavailable.
        say: reports the current measurement.
    """
    with Stand(objects, min(projects, objects)) as stand:
        say(f"{objects:,} objects: creating")
        yield from _creation(stand)
        say(f"{objects:,} objects: restart, memory, resyncs")
        yield from _restart(stand)
        yield from _resync(stand)
        say(f"{objects:,} objects: one change, many changes")
        yield from _one_change(stand)
        if objects > 1:
            yield from _bare_writes(stand)
            yield from _burst(stand)
        say(f"{objects:,} objects: {outage:.0f} s without Atlas")
        yield from _outage(stand, outage)
        say(f"{objects:,} objects: deleting")
        yield from _deletion(stand)


def _creation(stand: Stand) -> Iterator[Line]:
    """Start the operator when all objects exist: all wake at once."""
    count, projects = len(stand.names), len(stand.projects)
    stand.user.create(stand.objects())
    stand.begin()
    began = time.time()
    stand.start()
    stand.settle(lambda writes: writes["status"] >= count)
    work = stand.work(began)
    allowed = 3 if count == 1 else count + 4 * projects
    yield Line(count, "create by e-mail: Atlas calls", allowed, work.atlas, _calls(work))
    yield Line(count, "create by e-mail: Kubernetes writes", 2 * count, work.kubernetes, _writes(work))
    yield Line(count, "create by e-mail: seconds from the operator's start", None, work.seconds, _cpu(work))


def _restart(stand: Stand) -> Iterator[Line]:
    """Restart the operator when nothing has changed meanwhile."""
    count, projects = len(stand.names), len(stand.projects)
    stand.stop()
    stand.begin()
    began = time.time()
    stand.start()
    stand.settle(lambda _: stand.is_resynced())
    work = stand.work(began)
    yield Line(count, "restart: Atlas calls", 4 * projects, work.atlas, _calls(work))
    yield Line(count, "restart: Kubernetes writes", 0, work.kubernetes, _writes(work))
    yield Line(count, "restart: seconds to quiet", 6, work.seconds, _cpu(work))
    yield Line(count, "idle: memory, MiB", 130, stand.memory())


def _resync(stand: Stand) -> Iterator[Line]:
    """Resync when nothing has changed; the counts are for a resync of all projects."""
    count, projects = len(stand.names), len(stand.projects)
    stand.stop()
    stand.start("--resync-interval", f"{RESYNC_INTERVAL:.0f}s")
    stand.wait_for_resync()  # the operator is never quiet: the resyncs of ten projects are spread over the interval
    stand.begin()
    time.sleep(2.5 * RESYNC_INTERVAL)
    work = stand.work(time.time())
    resyncs = max(work.calls["ListInvites"], work.calls["ListUsers"]) / projects  # the last one may be incomplete
    yield Line(
        count,
        "a resync of all projects: Atlas calls",
        2 * projects,
        work.atlas / max(resyncs, 1 / projects),
        _calls(work),
    )
    yield Line(count, "a resync of all projects: Kubernetes writes", 0, work.kubernetes, f"in {resyncs:.1f} resyncs")
    yield Line(count, "a resync of all projects: CPU seconds", None, work.cpu / resyncs)
    stand.stop()
    stand.start()
    stand.settle(lambda _: stand.is_resynced())


def _one_change(stand: Stand) -> Iterator[Line]:
    """Change the roles of one object again and again, each time after the last change is done."""
    count, name = len(stand.names), stand.names[-1]
    added: list[float] = []
    stand.begin()
    began = time.time()
    for number in range(SINGLE):
        stand.audit.forget()
        stand.user.change([name], {"roles": list(ROLES[(number + 1) % 2])})
        stand.wait_for_status(1)
        writes = stand.audit.read()
        asked = max(w.ended for w in writes if not w.by_operator and w.kind == "patch")
        added.append((last(writes, "status") - asked - LATENCY) * MILLISECONDS)
    work = stand.work(began)
    spread = f"{min(added):.0f} to {max(added):.0f} ms"
    yield Line(count, "role change: Atlas calls of one", 1, work.atlas / SINGLE, _calls(work))
    yield Line(count, "role change: ms in addition to Atlas, p50", 15, median(added), spread)


def _bare_writes(stand: Stand) -> Iterator[Line]:
    """Measure the API server with the writes of a burst: one of the user and one of the operator for each object."""
    count, names = len(stand.names), stand.names[:BURST]
    stand.stop()
    began = time.time()
    for number in range(2):
        stand.user.label(names, str(number))
    seconds = time.time() - began
    yield Line(count, f"{2 * len(names):,} writes without an operator: seconds", None, seconds, "the API server's part")
    stand.start()
    stand.settle(lambda _: stand.is_resynced())


def _burst(stand: Stand) -> Iterator[Line]:
    """Change the roles of many objects at once."""
    count, names = len(stand.names), stand.names[:BURST]
    stand.begin()
    stand.user.change(names, {"roles": ["GROUP_OWNER"]})
    stand.settle(lambda writes: writes["status"] >= len(names))
    work = stand.work(stand.first_user_write())
    many = len(names)
    yield Line(count, f"{many:,} role changes at once: Atlas calls", many, work.atlas, _calls(work))
    yield Line(count, f"{many:,} role changes at once: Kubernetes writes", many, work.kubernetes, _writes(work))
    yield Line(count, f"{many:,} role changes at once: seconds", 3 * many / 1000, work.seconds, _cpu(work))


def _outage(stand: Stand, seconds: float) -> Iterator[Line]:
    """Change roles while Atlas responds with 503 to everything, and then end the outage."""
    count, names = len(stand.names), stand.names[:BURST]
    many = len(names)
    fault = stand.sandbox.fault("status", status=503, challenges=True)
    stand.begin()
    began = time.time()
    stand.user.change(names, {"roles": ["GROUP_DATA_ACCESS_ADMIN"]})
    stand.settle(lambda writes: writes["status"] >= many)
    time.sleep(max(began + seconds - time.time(), 0))
    work = stand.work(began)
    yield Line(
        count, f"outage of {seconds:.0f} s, {many:,} changes: Kubernetes writes", many, work.kubernetes, _writes(work)
    )
    yield Line(count, f"outage of {seconds:.0f} s, {many:,} changes: Atlas calls", None, work.atlas, _calls(work))
    stand.sandbox.mend(fault)
    stand.begin()
    began = time.time()
    stand.settle(lambda writes: writes["status"] >= many)
    work = stand.work(began)
    yield Line(count, "after the outage: Kubernetes writes", many, work.kubernetes, _writes(work))
    yield Line(count, "after the outage: Atlas calls", many + 4 * len(stand.projects), work.atlas, _calls(work))
    yield Line(count, "after the outage: seconds until all is done", None, work.seconds, _cpu(work))


def _deletion(stand: Stand) -> Iterator[Line]:
    """Delete objects with pending invitations at once."""
    count, names = len(stand.names), stand.names[:BURST]
    many = len(names)
    stand.begin()
    stand.user.delete(names)
    stand.settle(lambda writes: writes["finalizer"] >= many)
    work = stand.work(stand.first_user_write())
    yield Line(count, f"{many:,} deletions: Atlas calls", many, work.atlas, _calls(work))
    yield Line(count, f"{many:,} deletions: Kubernetes writes", many, work.kubernetes, _writes(work))
    yield Line(count, f"{many:,} deletions: seconds", None, work.seconds, _cpu(work))


def _calls(work: Work) -> str:
    calls = ", ".join(f"{number:,} {name}" for name, number in sorted(work.calls.items()))
    return f"{calls}; {work.challenges} challenges"


def _writes(work: Work) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(work.writes.items()))


def _cpu(work: Work) -> str:
    return f"{work.cpu:.1f} s of CPU"
