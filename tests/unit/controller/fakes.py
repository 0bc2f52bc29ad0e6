"""A cluster and an Atlas in memory.

They satisfy ``controller.ports``, follow the rules of the real ones and record calls. ``World`` connects them to the
real store, queue, access, reconciler, deletion and engine, in virtual time.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from atlas_invites.atlas.calls import Entries
from atlas_invites.controller.assembly import Controller
from atlas_invites.failures import ClusterUnavailable, Failure, Stale
from atlas_invites.invitation.credentials import Allowed, ApiKey, Credentials, StoredCredentials
from atlas_invites.invitation.model import Api, AtlasInfo, Invitation, Membership, Observation, User, View
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, Key, Listed, Resource
from atlas_invites.kube.connection import REQUEST_TIMEOUT
from tests.unit.builders import GROUP_ID, KEY, NOW, SECRET, body, error, invitation, time_text, wire_spec
from tests.unit.virtual_time import now, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from atlas_invites.controller.ports import Atlas, Events, Invites, Project, References
    from atlas_invites.invitation.case import Target
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.notices import Notice
    from atlas_invites.invitation.outcome import Outcome

E = TypeVar("E", Invitation, User)

CREDENTIALS = ApiKey("public", "private-canary-5c7d")
OTHER_CREDENTIALS = ApiKey("public", "private-canary-9e1f")
RESYNC_INTERVAL = 600.0
READS = frozenset({"Look", "Confirm", "Snapshot", "ReadUser", "ListInvites", "ListUsers", "ReadProject"})


class Faults:
    """Which calls fail, and what happens between calls: by call, each once, in order."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[Exception]] = defaultdict(deque)
        self._always: dict[str, Exception] = {}
        self._before: dict[str, deque[Callable[[], object]]] = defaultdict(deque)

    def fail(self, call: str, *failures: Exception) -> None:
        """Let the next such calls fail before they have any effect."""
        self._failures[call].extend(failures)

    def fail_always(self, call: str, failure: Exception | None) -> None:
        """Let every such call fail until this is called with None."""
        if failure is None:
            self._always.pop(call, None)
        else:
            self._always[call] = failure

    def before(self, call: str, happens: Callable[[], object]) -> None:
        """Let something happen right before the next such call takes effect."""
        self._before[call].append(happens)

    def meet(self, call: str) -> None:
        """Do what is scheduled for this call."""
        if self._before[call]:
            self._before[call].popleft()()
        if self._failures[call]:
            raise self._failures[call].popleft()
        if call in self._always:
            raise self._always[call]


# Atlas.


@dataclass(slots=True)
class Group:
    """What Atlas holds for one project."""

    invitations: dict[str, Invitation] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)


class FakeAtlas:
    """Atlas: its projects, its clock, and every call that reached it, in order.

    ``calls`` holds tuples: the operation (``Look`` for a read of the lists), the id or e-mail, and roles if there are
    any.
    """

    def __init__(self) -> None:
        self.time = NOW
        self._numbers = itertools.count(1)
        self.api = Api.INVITES
        self.groups: dict[str, Group] = defaultdict(Group)
        self.rejected: set[Credentials] = set()
        self.faults = Faults()
        self.calls: list[tuple[Any, ...]] = []
        self.credentials: list[Credentials] = []
        self.read_since: list[float] = []
        self.lists = View.LISTED
        self.elsewhere: Sequence[User] = ()
        """People who are in the project only through a team or the organization."""
        self.keeps: Sequence[str] = ()
        """The roles that Atlas keeps, whatever is written; None: those that are written."""
        self.unlisted: dict[str, Any] = {}
        """What lagging lists show instead of the entries with these ids: an older version, or None for nothing."""
        self._projects: dict[tuple[Credentials, str], FakeProject] = {}

    def now(self) -> datetime:
        return self.time + timedelta(seconds=now())

    def project(self, credentials: Credentials, group_id: str) -> FakeProject:
        key = (credentials, group_id)
        return self._projects.setdefault(key, FakeProject(self, credentials, group_id))

    def new_id(self) -> str:
        """Return an id that was never used."""
        return f"{next(self._numbers):024x}"

    def invite(self, pending: Invitation | None = None) -> Invitation:
        """Let an invitation of the Invites API be pending; without arguments, the usual one."""
        pending = pending or invitation()
        self.groups[GROUP_ID].invitations[pending.id] = pending
        return pending

    def let_in(self, user: User) -> User:
        """Let the Users API show this user."""
        self.groups[GROUP_ID].users[user.id] = user
        return user

    def accept(self, invitation_id: str, user_id: str) -> None:
        """Let the person of a pending invitation become a member with its roles."""
        pending = self.groups[GROUP_ID].invitations.pop(invitation_id)
        self.let_in(User(id=user_id, username=pending.username or "", roles=pending.roles))

    @property
    def names(self) -> list[str]:
        """Return the names of the calls, in order."""
        return [call[0] for call in self.calls]

    @property
    def writes(self) -> list[tuple[Any, ...]]:
        """Return the calls that would change something."""
        return [call for call in self.calls if call[0] not in READS]


class FakeProject:
    """One project with one credential; see ``ports.Project``."""

    def __init__(self, atlas: FakeAtlas, credentials: Credentials, group_id: str) -> None:
        self._atlas = atlas
        self._credentials = credentials
        self.group_id = group_id

    @property
    def api(self) -> Api:
        return self._atlas.api

    @property
    def info(self) -> AtlasInfo:
        return AtlasInfo(api=self.api, deprecated_since="2023-10-04T00:00:00Z", sunset="2027-07-01T00:00:00Z")

    async def look(self, target: Target, since: float, enough: Callable[[Observation], bool]) -> Observation:
        self._atlas.read_since.append(since)
        await self._call("Look", target.username or target.invitation_id)
        seen = self.find(target)
        if not enough(seen):
            await self._call("Confirm", target.username or target.invitation_id)
            seen = self._find(target, View.CONFIRMED)
        return seen

    async def snapshot(self, since: float) -> FakeProject:
        self._atlas.read_since.append(since)
        await self._call("Snapshot")
        return self

    def find(self, target: Target) -> Observation:
        """Return what the lists show."""
        return self._find(target, self._atlas.lists)

    def _find(self, target: Target, view: View) -> Observation:
        lagging = self._atlas.unlisted if view is not View.CONFIRMED else {}

        def wanted(found: Invitation | User) -> bool:
            same = target.username is not None and (found.username or "").lower() == target.username.lower()
            return same or found.id in {target.invitation_id, target.member_id}

        def shown(entries: Mapping[str, E]) -> tuple[E, ...]:
            listed = (lagging.get(id_, entry) for id_, entry in entries.items())
            return tuple(entry for entry in listed if entry is not None and wanted(entry))

        invitations = () if self.api is Api.USERS else shown(self._group.invitations)
        return Observation(invitations=invitations, users=shown(self._group.users), view=view)

    async def create_invite(self, username: str, roles: Iterable[str]) -> Invitation:
        await self._call("CreateInvite", username, *sorted(roles))
        created = self._atlas.now()
        return self._atlas.invite(
            invitation(
                id=self._atlas.new_id(),
                username=username,
                roles=sorted(self._atlas.keeps or roles),
                createdAt=time_text(created),
                expiresAt=time_text(created + timedelta(days=30)),
            )
        )

    async def add_user(self, username: str, roles: Iterable[str]) -> User:
        await self._call("AddUser", username, *sorted(roles))
        created = self._atlas.now()
        return self._atlas.let_in(
            User(
                id=self._atlas.new_id(),
                username=username,
                roles=tuple(self._atlas.keeps or roles),
                org_membership_status=Membership.PENDING,
                invitation_created_at=time_text(created),
                invitation_expires_at=time_text(created + timedelta(days=30)),
            )
        )

    async def read_project(self) -> None:
        await self._call("ReadProject")

    async def list_invites(self, username: str) -> Entries[Invitation]:
        await self._call("ListInvites", username)
        return Entries(tuple(i for i in self._group.invitations.values() if i.username == username))

    async def list_users(self, username: str, *, flatten_teams: bool, include_org_users: bool) -> Entries[User]:
        await self._call("ListUsers", username)
        found = [*self._group.users.values(), *(self._atlas.elsewhere if flatten_teams and include_org_users else ())]
        return Entries(tuple(u for u in found if u.username.lower() == username.lower()))

    async def update_invite(self, invitation_id: str, roles: Iterable[str]) -> Invitation | None:
        await self._call("UpdateInvite", invitation_id, *sorted(roles))
        pending = self._group.invitations.get(invitation_id)
        kept = tuple(sorted(self._atlas.keeps or roles))
        return pending and self._atlas.invite(pending.model_copy(update={"roles": kept}))

    async def cancel_invite(self, invitation_id: str) -> bool:
        await self._call("CancelInvite", invitation_id)
        return self._group.invitations.pop(invitation_id, None) is not None

    async def read_user(self, user_id: str) -> User | None:
        await self._call("ReadUser", user_id)
        return self._group.users.get(user_id)

    async def remove_user(self, user_id: str) -> bool:
        await self._call("RemoveUser", user_id)
        return self._group.users.pop(user_id, None) is not None

    async def add_role(self, user_id: str, role: str) -> User | None:
        await self._call("AddRole", user_id, role)
        return self._with_roles(user_id, lambda roles: roles | {role})

    async def remove_role(self, user_id: str, role: str) -> User | None:
        await self._call("RemoveRole", user_id, role)
        return self._with_roles(user_id, lambda roles: roles - {role})

    def _with_roles(self, user_id: str, change: Callable[[frozenset[str]], frozenset[str]]) -> User | None:
        user = self._group.users.get(user_id)
        if user is None:
            return None
        roles = change(frozenset(user.roles))
        if not roles:
            raise Failure(Reason.INVALID_REQUEST, "a user never has zero roles", error=error(400, "CANNOT_REMOVE_ROLE"))
        return self._atlas.let_in(user.model_copy(update={"roles": tuple(sorted(self._atlas.keeps or roles))}))

    @property
    def _group(self) -> Group:
        return self._atlas.groups[self.group_id]

    async def _call(self, name: str, *about: str | None) -> None:
        self._atlas.calls.append((name, *about))
        self._atlas.credentials.append(self._credentials)
        await asyncio.sleep(0.05)
        self._atlas.faults.meet(name)
        if self._credentials in self._atlas.rejected:
            raise Failure(
                Reason.CREDENTIALS_REJECTED, "Atlas rejected the credentials.", error=error(401, "UNAUTHORIZED")
            )


# Kubernetes.


class FakeCluster:
    """The API server: objects with resource versions and generations, conditional writes, a watch that may be cut.

    ``writes`` holds tuples: ``finalizer`` or ``status``, the key, and what was written. Events wait in ``events`` until
    ``World.deliver``; if ``watch`` is set, they go there directly. A read of a Secret or AtlasProject in ``hanging``
    ends with its time-out. Namespaces in ``unlisted`` can be neither listed nor watched.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.objects: dict[Key, dict[str, Any]] = {}
        self.secrets: dict[Key, Credentials | Failure] = {SECRET: CREDENTIALS}
        self.allowed: dict[Key, Allowed] = {}
        self.project_ids: dict[Key, str | Failure] = {}
        self.writes: list[tuple[str, Key, Any]] = []
        self.reads: list[Key] = []
        self.hanging: set[Key] = set()
        self.ending: set[str] = set()
        """The namespaces that are being deleted."""
        self.unlisted: frozenset[str] = frozenset()
        self.unknown_fields: set[str] = set()
        """The fields of a status that an older CRD does not store."""
        self.events: deque[tuple[Resource, bool]] = deque()
        self.watch: Callable[[Resource, bool], None] | None = None
        self._version = 1000

    # What users and other controllers do.

    def apply(self, key: Key = KEY, *, spec: dict[str, Any] | None = None, **metadata: Any) -> Resource:  # noqa: ANN401 - JSON
        """Create or update an object as kubectl does: a changed spec is a new generation."""
        known = self.objects.get(key)
        if known is None:
            new = body(key, spec=spec or wire_spec(), uid=f"uid-{self._version}", **metadata)
        else:
            new = copy.deepcopy(known)
            new["metadata"].update(metadata)
            if spec is not None and spec != known["spec"]:
                new["spec"] = spec
                new["metadata"]["generation"] += 1
        return self._store(key, new)

    def annotate(self, name: str, value: str, key: Key = KEY) -> Resource:
        """Set one annotation."""
        annotations = self.objects[key]["metadata"].get("annotations") or {}
        return self.apply(key, annotations={**annotations, name: value})

    def put_status(self, status: Status, key: Key = KEY) -> Resource:
        """Give an object this status, without a record of the write."""
        return self._store(key, {**copy.deepcopy(self.objects[key]), "status": status.to_wire()})

    def delete(self, key: Key = KEY) -> None:
        """Delete an object as kubectl does: it stays as long as it has finalizers."""
        new = copy.deepcopy(self.objects[key])
        if new["metadata"].get("finalizers"):
            new["metadata"]["deletionTimestamp"] = time_text(NOW + timedelta(seconds=now()))
            new["metadata"]["generation"] += 1
            self._store(key, new)
        else:
            self._remove(key)

    def status(self, key: Key = KEY) -> Status:
        """Return the status as the operator would read it."""
        return Resource.from_body(self.objects[key]).status

    # ports.Invites

    async def list_all(self) -> Listed:
        listed = [Resource.from_body(o) for key, o in self.objects.items() if key.namespace not in self.unlisted]
        await asyncio.sleep(0.01)
        self.faults.meet("list")
        return Listed(listed, self.unlisted)

    async def add_finalizer(self, resource: Resource) -> Resource:
        wanted = [*resource.finalizers, FINALIZER]
        return await self._write("finalizer", resource, lambda o: o["metadata"].update(finalizers=wanted))

    async def remove_finalizer(self, resource: Resource) -> Resource:
        left = [f for f in resource.finalizers if f != FINALIZER]
        return await self._write("finalizer", resource, lambda o: o["metadata"].update(finalizers=left))

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        stored = {name: value for name, value in status.items() if name not in self.unknown_fields}
        return await self._write("status", resource, lambda o: o.update(status=stored))

    # ports.References

    async def credentials(self, secret: Key) -> StoredCredentials:
        await self._read("secret", secret)
        found = self.secrets.get(secret, Failure(Reason.SECRET_NOT_FOUND, f"The Secret {secret.name} does not exist."))
        if isinstance(found, Failure):
            raise found
        return StoredCredentials(found, self.allowed.get(secret, Allowed()))

    async def group_id(self, project: Key) -> str:
        await self._read("project", project)
        found = self.project_ids.get(project, Failure(Reason.PROJECT_NOT_READY, "The AtlasProject does not exist."))
        if isinstance(found, Failure):
            raise found
        return found

    async def is_ending(self, namespace: str) -> bool:
        await self._read("namespace", Key("", namespace))
        return namespace in self.ending

    async def _read(self, kind: str, key: Key) -> None:
        self.reads.append(key)
        if key in self.hanging:
            await asyncio.sleep(REQUEST_TIMEOUT)
            raise ClusterUnavailable(f"reading the {kind} {key}: TimeoutError")
        await asyncio.sleep(0.01)
        self.faults.meet(kind)

    async def _write(self, kind: str, resource: Resource, change: Callable[[dict[str, Any]], object]) -> Resource:
        await asyncio.sleep(0.005)
        self.faults.meet(kind)
        stored = self.objects.get(resource.key)
        if stored is None or stored["metadata"]["resourceVersion"] != resource.resource_version:
            raise Stale(f"{resource.key} has changed or gone")
        new = copy.deepcopy(stored)
        change(new)
        part = new["metadata"]["finalizers"] if kind == "finalizer" else copy.deepcopy(new["status"])
        self.writes.append((kind, resource.key, part))
        if new == stored:
            return Resource.from_body(stored)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self.objects[resource.key] = new
            self._remove(resource.key)
            return Resource.from_body(new)
        return self._store(resource.key, new)

    def _store(self, key: Key, new: dict[str, Any]) -> Resource:
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = new
        return self._tell(new, deleted=False)

    def _remove(self, key: Key) -> None:
        self._version += 1
        gone = self.objects.pop(key)
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(gone, deleted=True)

    def _tell(self, object_: dict[str, Any], *, deleted: bool) -> Resource:
        resource = Resource.from_body(object_)
        if resource.key.namespace in self.unlisted:
            return resource
        if self.watch is None:
            self.events.append((resource, deleted))
        else:
            asyncio.get_running_loop().call_later(0.001, self.watch, resource, deleted)
        return resource


class FakeEvents:
    """Kubernetes Events: what was published, in order."""

    def __init__(self) -> None:
        self.published: list[tuple[Key, Notice]] = []

    def publish(self, resource: Resource, notice: Notice) -> None:
        self.published.append((resource.key, notice))

    @property
    def reasons(self) -> list[str]:
        """Return only the reasons, in order."""
        return [str(notice.reason) for _, notice in self.published]


# Everything together.


class World:
    """The engine with the fakes. Create it inside a running (virtual) loop."""

    def __init__(
        self,
        *,
        workers: int = 4,
        resync_interval: float = RESYNC_INTERVAL,
        deletion_grace: float = 0.0,
        default_secret: Key | None = None,
    ) -> None:
        self._default_secret = default_secret
        self.cluster = FakeCluster()
        self.atlas = FakeAtlas()
        self.events = FakeEvents()
        self._workers = workers
        self._resync_interval = resync_interval
        self._deletion_grace = deletion_grace
        self.restart()

    def restart(self, *, listed: bool = True) -> None:
        """Start as a new process does: only the cluster and Atlas remember anything.

        Unless it has ``listed`` the cluster already, the first list finds every object.
        """
        controller = Controller(
            invites=self.cluster,
            references=self.cluster,
            events=self.events,
            atlas=self.atlas,
            workers=self._workers,
            resync_interval=self._resync_interval,
            deletion_grace=self._deletion_grace,
            clock=now,
            wall=self.wall,
            jitter=lambda: 1.0,
            default_secret=self._default_secret,
        )
        self.store, self.queue, self.resync = controller.store, controller.queue, controller.resync
        self.reconciler, self.engine = controller.reconciler, controller.engine
        for key, stored in self.cluster.objects.items():
            if listed and key.namespace not in self.cluster.unlisted:
                self.store.put(Resource.from_body(stored))

    @staticmethod
    def wall() -> datetime:
        """Return the local time. It equals Atlas's time unless a test moves it."""
        return NOW + timedelta(seconds=now())

    def deliver(self) -> None:
        """Deliver the waiting events to the engine."""
        while self.cluster.events:
            resource, deleted = self.cluster.events.popleft()
            self.engine.on_event(resource, deleted=deleted)

    async def turn(self, key: Key = KEY) -> Outcome | None:
        """Deliver the waiting events, then reconcile once."""
        self.deliver()
        return await self.reconciler.reconcile(key, now())

    async def woken(self) -> list[Key]:
        """Deliver the waiting events, take every ready key from the queue, and return the keys."""
        self.deliver()
        keys = []
        while len(self.queue):
            keys.append((await self.queue.get()).key)
            self.queue.done(keys[-1])
        return keys

    def forget_calls(self) -> None:
        """Start to count calls from zero."""
        self.atlas.calls.clear()
        self.atlas.credentials.clear()
        self.cluster.writes.clear()
        self.cluster.reads.clear()
        self.events.published.clear()

    @property
    def write_kinds(self) -> list[str]:
        """Return what was written to the cluster, in order."""
        return [kind for kind, _, _ in self.cluster.writes]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the watch and the workers after the first list."""
        self.cluster.events.clear()
        self.cluster.watch = lambda resource, deleted: self.engine.on_event(resource, deleted=deleted)
        await self.engine.list_first()
        workers = asyncio.create_task(self.engine.work())
        try:
            yield
        finally:
            self.queue.close()
            await workers
            self.cluster.watch = None
            await settle()


def check_protocols(atlas: FakeAtlas, project: FakeProject, cluster: FakeCluster, events: FakeEvents) -> None:
    """Let the type checker compare the fakes with the ports."""
    _a: Atlas = atlas
    _p: Project = project
    _i: Invites = cluster
    _r: References = cluster
    _e: Events = events
