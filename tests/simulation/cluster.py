"""A Kubernetes API server in memory: conditional writes, finalizers, and a watch that lags, repeats and breaks."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from atlas_invites.controller.finalizer import PROJECT_GONE
from atlas_invites.failures import ClusterUnavailable, Failure, Stale
from atlas_invites.invitation.credentials import StoredCredentials
from atlas_invites.invitation.notices import EventReason
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, Key, Listed, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.notices import Notice

START = datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)
"""The start of every simulation."""
LATENCY = 0.005
"""The seconds of a call, half of them before it is carried out."""

Json = dict[str, Any]


def secret_of(resource: Resource) -> Key:
    """Return the Secret that an object names: in the simulation it is in the object's namespace."""
    named = resource.spec.connection_secret_ref
    assert named is not None
    return Key(resource.key.namespace, named.name)


@dataclass(slots=True)
class Trouble:
    """The faults of the next calls, each once."""

    skip: int = 0
    """The number of writes that succeed first."""
    stale: int = 0
    """The number of writes before which another client writes a label."""
    lost: int = 0
    """The number of writes that are done, but whose response is lost."""
    down: int = 0
    """The number of calls that are not carried out."""


@dataclass(slots=True)
class Watch:
    """How events reach the operator: in order, ``lag`` seconds late, each twice if ``twice``; none while it is cut."""

    sink: Callable[[Resource, bool], None] | None = None
    lag: float = 0.001
    twice: bool = False
    cut: bool = False
    due: float = 0.0
    line: int = 0
    """The number of the connection; a cut increments it, so that events on their way are lost."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write that the API server carried out for the operator."""

    at: float
    kind: str
    key: Key
    what: str


@dataclass(slots=True)
class Cluster:
    """Objects, Secrets and AtlasProjects; satisfies the ports of the controller.

    Args:
        time: seconds of the virtual clock.
    """

    time: Callable[[], float]
    objects: dict[Key, Json] = field(default_factory=dict)
    secrets: dict[Key, Credentials | Failure] = field(default_factory=dict)
    project_ids: dict[Key, str] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    trouble: Trouble = field(default_factory=Trouble)
    writes: list[Write] = field(default_factory=list)
    notices: list[tuple[Key, Notice]] = field(default_factory=list)
    finalized: Callable[[Resource], None] = lambda _: None
    """Called with each object right before our finalizer is removed."""
    warned: set[str] = field(default_factory=set)
    """The uids of the objects with an event that names what may be left in Atlas, or says that the project is gone."""
    failing: dict[Key, tuple[float, float]] = field(default_factory=dict)
    """The times when the operator, since its start, first and last read a Secret that was missing or invalid."""
    stripped: dict[str, float] = field(default_factory=dict)
    """The time when a user removed the finalizers of an object, by uid."""
    version: int = 1000

    def now(self) -> datetime:
        """Return the time, UTC."""
        return START + timedelta(seconds=self.time())

    def resource(self, key: Key) -> Resource | None:
        """Return an object, if it exists."""
        return Resource.from_body(self.objects[key]) if key in self.objects else None

    # Acts of users and other controllers. They do nothing if the object does not exist.

    def create(self, key: Key, spec: Json) -> None:
        """Create an object."""
        self.version += 1
        metadata = {
            "namespace": key.namespace,
            "name": key.name,
            "uid": f"{self.version * 7919 % 10007:05d}",  # uids have no order
            "generation": 1,
            "creationTimestamp": _text(self.now()),
            "finalizers": [],
            "annotations": {},
        }
        self._store(key, {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}})

    def edit(self, key: Key, changes: Json) -> None:
        """Change fields of a spec; None removes a field."""
        if key not in self.objects:
            return
        new = copy.deepcopy(self.objects[key])
        new["spec"] = {k: v for k, v in (new["spec"] | changes).items() if v is not None}
        if new["spec"] != self.objects[key]["spec"]:
            new["metadata"]["generation"] += 1
            self._store(key, new)

    def annotate(self, key: Key, name: str, value: str) -> None:
        """Set one annotation."""
        if key not in self.objects:
            return
        new = copy.deepcopy(self.objects[key])
        new["metadata"]["annotations"][name] = value
        self._store(key, new)

    def delete(self, key: Key) -> None:
        """Delete an object: it stays while it has finalizers."""
        if key not in self.objects:
            return
        new = copy.deepcopy(self.objects[key])
        if not new["metadata"]["finalizers"]:
            self._remove(key)
        elif "deletionTimestamp" not in new["metadata"]:
            new["metadata"]["deletionTimestamp"] = _text(self.now())
            new["metadata"]["generation"] += 1
            self._store(key, new)

    def strip(self, key: Key) -> None:
        """Remove all finalizers of an object, as a user does with kubectl."""
        if key not in self.objects:
            return
        new = copy.deepcopy(self.objects[key])
        new["metadata"]["finalizers"] = []
        self.stripped[new["metadata"]["uid"]] = self.time()
        if "deletionTimestamp" in new["metadata"]:
            self._remove(key)
        else:
            self._store(key, new)

    # The watch.

    def attach(self, sink: Callable[[Resource, bool], None]) -> None:
        """Begin a watch: it first delivers all objects."""
        self.watch.sink = sink
        self.watch.line += 1
        self._tell_all()

    def detach(self) -> None:
        """End the watch, because its process has ended."""
        self.watch.sink = None
        self.watch.line += 1

    def cut(self) -> None:
        """Cut the watch: events on their way, and events until ``mend``, are lost."""
        self.watch.cut = True
        self.watch.line += 1

    def mend(self) -> None:
        """Relist after a cut, as after a 410: existing objects are delivered, deletions are not."""
        if self.watch.cut:
            self.watch.cut = False
            self._tell_all()

    # ports.Invites

    async def list_all(self) -> Listed:
        """Return every object, from one moment."""
        await asyncio.sleep(LATENCY / 2)
        self._meet_down()
        listed = [Resource.from_body(o) for o in self.objects.values()]
        await asyncio.sleep(LATENCY / 2)
        return Listed(listed)

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Add our finalizer."""
        wanted = [*resource.finalizers, FINALIZER]
        return await self._write("finalizer", resource, lambda o: o["metadata"].update(finalizers=wanted))

    async def remove_finalizer(self, resource: Resource) -> Resource:
        """Remove our finalizer."""
        left = [f for f in resource.finalizers if f != FINALIZER]
        return await self._write("finalizer", resource, lambda o: o["metadata"].update(finalizers=left))

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Replace the status."""
        return await self._write("status", resource, lambda o: o.update(status=dict(status)))

    # ports.References, ports.Events

    async def credentials(self, secret: Key) -> StoredCredentials:
        """Read a Secret."""
        await asyncio.sleep(LATENCY)
        self._meet_down()
        found = self.secrets.get(secret) or Failure(Reason.SECRET_NOT_FOUND, f"The Secret {secret.name} is not there.")
        if isinstance(found, Failure):
            first, _ = self.failing.get(secret, (self.time(), 0.0))
            self.failing[secret] = first, self.time()
            raise Failure(found.reason, found.message)
        return StoredCredentials(found)

    async def group_id(self, project: Key) -> str:
        """Read an AtlasProject."""
        await asyncio.sleep(LATENCY)
        self._meet_down()
        if project not in self.project_ids:
            raise Failure(Reason.PROJECT_NOT_READY, f"The AtlasProject {project.name} is not ready.")
        return self.project_ids[project]

    async def is_ending(self, namespace: str) -> bool:  # noqa: ARG002 - no namespace is deleted here
        """Read a namespace."""
        await asyncio.sleep(LATENCY)
        self._meet_down()
        return False

    def publish(self, resource: Resource, notice: Notice) -> None:
        """Record an event."""
        self.notices.append((resource.key, notice))
        if notice.reason == EventReason.ORPHANED_INVITATION or notice == PROJECT_GONE.notice:
            self.warned.add(resource.uid)

    async def _write(self, kind: str, resource: Resource, change: Callable[[Json], object]) -> Resource:
        await asyncio.sleep(LATENCY / 2)
        if self.trouble.skip:
            self.trouble.skip -= 1
            return await self._carry_out(kind, resource, change)
        self._meet_down()
        if self.trouble.stale and resource.key in self.objects:
            self.trouble.stale -= 1
            self._store(resource.key, copy.deepcopy(self.objects[resource.key]))
        response = await self._carry_out(kind, resource, change)
        if self.trouble.lost:
            self.trouble.lost -= 1
            raise ClusterUnavailable(f"writing the {kind} of {resource.key}: the response was lost")
        return response

    async def _carry_out(self, kind: str, resource: Resource, change: Callable[[Json], object]) -> Resource:
        stored = self.objects.get(resource.key)
        if stored is None or stored["metadata"]["resourceVersion"] != resource.resource_version:
            raise Stale(f"{resource.key} was changed or deleted")
        new = copy.deepcopy(stored)
        change(new)
        if resource.has_finalizer and FINALIZER not in new["metadata"]["finalizers"]:
            self.finalized(Resource.from_body(stored))
        self.writes.append(Write(self.time(), kind, resource.key, _said(kind, new)))
        if new["metadata"].get("deletionTimestamp") and not new["metadata"]["finalizers"]:
            self.objects[resource.key] = new
            self._remove(resource.key)
        elif new != stored:
            self._store(resource.key, new)
        response = Resource.from_body(new)
        await asyncio.sleep(LATENCY / 2)
        return response

    def _meet_down(self) -> None:
        if self.trouble.down and not self.trouble.skip:
            self.trouble.down -= 1
            raise ClusterUnavailable("the API server is down")

    def _store(self, key: Key, new: Json) -> None:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = new
        self._tell(Resource.from_body(new), deleted=False)

    def _remove(self, key: Key) -> None:
        self.version += 1
        gone = self.objects.pop(key)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell(Resource.from_body(gone), deleted=True)

    def _tell_all(self) -> None:
        for stored in self.objects.values():
            self._tell(Resource.from_body(stored), deleted=False)

    def _tell(self, resource: Resource, *, deleted: bool) -> None:
        watch = self.watch
        if watch.sink is None or watch.cut:
            return
        loop = asyncio.get_running_loop()
        watch.due = max(watch.due, loop.time() + watch.lag)
        for _ in range(2 if watch.twice else 1):
            loop.call_at(watch.due, self._arrive, watch.line, resource, deleted)

    def _arrive(self, line: int, resource: Resource, deleted: bool) -> None:  # noqa: FBT001 - for call_at
        if self.watch.line == line and self.watch.sink is not None:
            self.watch.sink(resource, deleted)


def _said(kind: str, new: Json) -> str:
    """Return a short description of a write."""
    if kind == "finalizer":
        return str(new["metadata"]["finalizers"])
    ready = [c["reason"] for c in new["status"].get("conditions", ()) if c["type"] in {"Ready", "Suspended"}]
    return f"{ready} {new['status'].get('state')} {new['status'].get('invitation', {}).get('id')}"


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
