"""The operator's parts in this process, on the real API server and the real sandbox, with a clock that a test moves.

Only kopf is left out: the client's own watch feeds the engine. Everything else is what ``atlas-invites run`` runs.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import httpx
from kubernetes.aio.client import ApiClient, ApiException, Configuration, CoreV1Api, CustomObjectsApi, EventsV1Api
from kubernetes.aio.config import load_kube_config
from kubernetes.aio.watch import Watch

from atlas_invites.app import Parts, wire
from atlas_invites.atlas.client import Atlas
from atlas_invites.invitation.resource import FINALIZER, GROUP, PLURAL, VERSION, Resource
from atlas_invites.kube.access import Kubeconfig
from atlas_invites.kube.connection import client_of
from atlas_invites.kube.session import open_session
from atlas_invites.settings import Settings
from atlas_sandbox.app import create_app
from atlas_sandbox.sandbox import PRIVATE_KEY, PROJECT_ID, PUBLIC_KEY
from atlas_sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from atlas_invites.kube.session import Session

Mode = Literal["auto", "invites", "users"]

PATIENCE = 20.0
"""Real seconds that a state may take to appear."""

SECRET = "atlas-credentials"
READ_ONLY, OWNER, CLUSTER_MANAGER = "GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_CLUSTER_MANAGER"


@dataclass
class MovableClock:
    """Real time plus what a test adds."""

    offset: float = 0.0

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic() + self.offset

    def wall(self) -> datetime:
        """Return the local time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.offset)


@dataclass
class Life:
    """One namespace, one sandbox, one operator; see ``live``."""

    namespace: str
    sandbox_url: str
    levers: httpx.AsyncClient
    admin: ApiClient
    session: Session
    api: Mode = "auto"
    clock: MovableClock = field(default_factory=MovableClock)
    also: tuple[str, ...] = ()
    default_secret: str | None = None
    grace: float = 0.0
    parts: Parts = field(init=False)
    _running: AsyncExitStack | None = None

    # The operator.

    async def start(self) -> None:
        """Start the operator: list, then work, as ``atlas-invites run`` does."""
        stack = AsyncExitStack()
        settings = Settings(
            namespaces=(self.namespace, *self.also),
            atlas_url=self.sandbox_url,
            atlas_api=self.api,
            workers=10,
            default_secret=self.default_secret,
            deletion_grace=self.grace,
        )
        atlas = await stack.enter_async_context(Atlas(self.sandbox_url, api=self.api, clock=self.clock.monotonic))
        self.parts = wire(settings, self.session, atlas, clock=self.clock.monotonic, wall=self.clock.wall)
        await self.parts.engine.list_first()
        tasks = [asyncio.create_task(job) for job in (self.parts.engine.work(), self.parts.events.keep_publishing())]
        tasks += [asyncio.create_task(self._watch(namespace)) for namespace in (self.namespace, *self.also)]

        async def stop() -> None:
            self.parts.queue.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        stack.push_async_callback(stop)
        self._running = stack
        await self.parts.resync.resync_all()

    async def stop(self) -> None:
        """Stop the operator as ``kill -9`` does: it forgets what it knows."""
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    async def remove_finalizers(self) -> None:
        """Remove the finalizers of remaining objects.

        Otherwise the operator would try without end, and the namespace would stay.
        """
        listed: Any = await self._objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL)
        for item in listed["items"]:
            await self._patch(item["metadata"]["name"], {"metadata": {"finalizers": None}})

    async def restart(self, api: Mode | None = None) -> None:
        """Stop and start."""
        await self.stop()
        self.api = api or self.api
        await self.start()

    async def resync(self) -> None:
        """Resync every project now, and wait until the objects that differ are done."""
        await self.parts.resync.resync_all()
        await self.quiet()

    async def move(self, **units: float) -> None:
        """Move every clock (days=, hours=, seconds=, as for timedelta), and let due work begin."""
        await self.quiet()
        await self.move_clock(**units)
        queue = self.parts.queue
        for key, delayed in sorted(queue._delayed.items(), key=lambda item: item[1].due):  # noqa: SLF001 - timers ignore it
            if delayed.due <= self.clock.monotonic():
                queue.add(key, delayed.priority)

    async def move_clock(self, **units: float) -> None:
        """Move every clock while no operator runs."""
        seconds = timedelta(**units).total_seconds()
        self.clock.offset += seconds
        await self.lever("POST", "/clock", {"advanceSeconds": seconds})

    async def quiet(self) -> None:
        """Wait until no key is ready or in work."""
        await self.until("the queue is empty", lambda: self.parts.queue.idle)

    # Kubernetes, as a user.

    def of(self, namespace: str) -> Life:
        """Return the same life as a user of another namespace sees it."""
        other = copy(self)
        other.namespace = namespace
        return other

    async def create(self, name: str, **spec: Any) -> None:  # noqa: ANN401 - the spec as JSON
        """Create an invitation; groupId, roles and the Secret's name have defaults."""
        filled = {"roles": [READ_ONLY], "connectionSecretRef": {"name": SECRET}} | spec
        if "projectRef" not in spec:
            filled.setdefault("groupId", PROJECT_ID)
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "AtlasProjectInvite", "metadata": {"name": name}}
        await self._objects.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, body | {"spec": filled}
        )

    async def create_younger(self, name: str, **spec: Any) -> None:  # noqa: ANN401 - the spec as JSON
        """Create an object that is certainly younger than all others: creation times are whole seconds."""
        began = int(time.time())
        await self.until("the next second", lambda: int(time.time()) > began)
        await self.create(name, **spec)

    async def edit(self, name: str, **spec: Any) -> None:  # noqa: ANN401 - the spec as JSON
        """Change fields of the spec."""
        await self._patch(name, {"spec": spec})

    async def annotate(self, name: str, **annotations: str) -> None:
        """Set annotations; ``_`` stands for ``-`` and the group is added."""
        named = {f"{GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()}
        await self._patch(name, {"metadata": {"annotations": named}})

    async def delete(self, name: str) -> None:
        """Delete an object; the finalizer may keep it."""
        await self._objects.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name)

    async def get(self, name: str) -> dict[str, Any] | None:
        """Return the object, or None."""
        try:
            found: Any = await self._objects.get_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return dict(found)

    async def status(self, name: str) -> dict[str, Any]:
        """Return the status of an existing object."""
        found = await self.get(name)
        assert found is not None, f"{name} is gone"
        return dict(found["status"])

    async def reaches(self, name: str, reason: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - of status
        """Wait until Ready has this reason for the latest generation, and status has these fields.

        Return the status.
        """

        async def there() -> dict[str, Any] | None:
            found = await self.get(name)
            status = found["status"] if found else {}
            current = found is not None and status.get("observedGeneration") == found["metadata"]["generation"]
            right = reason_of(status) == reason and all(status.get(key) == value for key, value in fields.items())
            return status if current and right else None

        status: dict[str, Any] = await self.until(f"{name} is {reason} {fields}", there, lambda: self.get(name))
        return status

    async def gone(self, name: str) -> None:
        """Wait until an object is gone."""

        async def missing() -> bool:
            return await self.get(name) is None

        await self.until(f"{name} is gone", missing, lambda: self.get(name))

    async def put_secret(self, name: str = SECRET, **data: str) -> None:
        """Create or replace a Secret; by default with the sandbox's API key."""
        filled = data or {"publicApiKey": PUBLIC_KEY, "privateApiKey": PRIVATE_KEY}
        core = CoreV1Api(self.admin)
        await self.drop_secret(name)
        body: Any = {"metadata": {"name": name}, "stringData": filled}
        await core.create_namespaced_secret(self.namespace, body)

    async def allow(self, name: str = SECRET, **annotations: str | None) -> None:
        """Annotate a Secret: ``namespaces`` and ``projects`` say who may use it; None removes the annotation."""
        named = {f"{GROUP}/allowed-{key}": value for key, value in annotations.items()}
        body = {"metadata": {"annotations": named}}
        await CoreV1Api(self.admin).patch_namespaced_secret(
            name, self.namespace, body, _content_type="application/merge-patch+json"
        )

    async def drop_secret(self, name: str = SECRET) -> None:
        """Delete a Secret if it exists."""
        with suppress(ApiException):
            await CoreV1Api(self.admin).delete_namespaced_secret(name, self.namespace)

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Return type and reason of the events of an object, oldest first."""
        found = await EventsV1Api(self.admin).list_namespaced_event(self.namespace)
        about = [event for event in found.items if event.regarding and event.regarding.name == name]
        ordered = sorted(about, key=lambda event: str(event.event_time))
        return [(str(event.type), str(event.reason)) for event in ordered]

    async def told(self, name: str, reason: str, type_: str = "Normal") -> None:
        """Wait for an event of an object: events are published in the background."""

        async def found() -> bool:
            return (type_, reason) in await self.events(name)

        await self.until(f"{name} has the event {reason}", found, lambda: self.events(name))

    # Atlas, as people use it.

    async def lever(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Use a control of the sandbox."""
        answer = await self.levers.request(method, f"/_sandbox{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def people(self, act: str, username: str, **more: Any) -> Any:  # noqa: ANN401 - JSON
        """Let someone act in the project: accept, decline, expire, remove; or invitations, members."""
        return await self.lever("POST", f"/projects/{PROJECT_ID}/{act}", {"username": username, **more})

    async def invited_by_hand(
        self, username: str, roles: Sequence[str] = (READ_ONLY,), api: str = "Invites"
    ) -> dict[str, Any]:
        """Invite a person in Atlas's user interface, and return what the API shows of the invitation."""
        shown: list[dict[str, Any]] = await self.people("invitations", username, roles=list(roles), api=api)
        return shown[0]

    async def fault(self, **fault: Any) -> None:  # noqa: ANN401 - JSON
        """Order a fault."""
        await self.lever("POST", "/faults", fault)

    async def truth(self) -> dict[str, Any]:
        """Return everything that the project holds."""
        held: dict[str, Any] = await self.lever("GET", f"/projects/{PROJECT_ID}")
        return held

    async def roles_of(self, username: str) -> list[str] | None:
        """Return the sorted roles of an invitee or member, or None."""
        held = await self.truth()
        people = [
            *held["invitations"],
            *(u for u in held["users"] if u["orgMembershipStatus"] in {"ACTIVE", "PENDING"}),
        ]
        return next((sorted(one["roles"]) for one in people if one["username"].lower() == username.lower()), None)

    async def calls(self) -> dict[str, int]:
        """Return the number of calls that Atlas admitted, by operation, without digest challenges."""
        statuses: dict[str, int] = (await self.lever("GET", "/calls"))["statuses"]
        counts: dict[str, int] = {}
        for answer, number in statuses.items():
            operation, _, status = answer.partition(" ")
            if status != "401":
                counts[operation] = counts.get(operation, 0) + number
        return counts

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[dict[str, int]]:
        """Return the number of calls that are made in the block, by operation, when it ends."""
        before = await self.calls()
        counted: dict[str, int] = {}
        yield counted
        counted |= {key: n - before.get(key, 0) for key, n in (await self.calls()).items() if n != before.get(key, 0)}

    async def until(self, what: str, check: Callable[[], Any], shown: Callable[[], Any] = lambda: None) -> Any:  # noqa: ANN401
        """Wait for the first truthy value of ``check`` and return it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            value = check()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            if time.monotonic() > deadline:
                last = shown()
                raise AssertionError(f"{what}: not in time; there is {await last if last is not None else value!r}")
            await asyncio.sleep(0.02)

    @property
    def _objects(self) -> CustomObjectsApi:
        return CustomObjectsApi(self.admin)

    async def _patch(self, name: str, body: Any) -> None:  # noqa: ANN401 - JSON
        await self._objects.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name, body, _content_type="application/merge-patch+json"
        )

    async def _watch(self, namespace: str) -> None:
        api = CustomObjectsApi(client_of(self.session))
        while True:
            stream = Watch().stream(  # type: ignore[no-untyped-call]
                api.list_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL
            )
            async for event in stream:
                resource = Resource.from_body(event["object"])
                self.parts.engine.on_event(resource, deleted=event["type"] == "DELETED")


def reason_of(status: dict[str, Any]) -> str | None:
    """Return the reason of Ready."""
    return next((c["reason"] for c in status.get("conditions", []) if c["type"] == "Ready"), None)


def has_finalizer(found: dict[str, Any]) -> bool:
    """Return whether our finalizer is on an object."""
    return FINALIZER in found["metadata"].get("finalizers", [])


@asynccontextmanager
async def live(
    namespace: str, admin: Path, operator: Path, api: Mode = "auto", grace: float = 0.0
) -> AsyncIterator[Life]:
    """Give a namespace with its Secret, a sandbox, and a running operator with its own rights.

    Args:
        namespace: an existing one.
        admin: kubeconfig of a user.
        operator: kubeconfig of the operator's ServiceAccount.
        api: which of Atlas's APIs the operator may use.
        grace: seconds that a deletion waits before it removes something in Atlas.
    """
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(create_app()))
        levers = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        user = await stack.enter_async_context(await _client(admin))
        session = await stack.enter_async_context(open_session(Kubeconfig(str(operator)).load))
        life = Life(namespace, url, levers, user, session, api, grace=grace)
        stack.push_async_callback(life.stop)
        await life.put_secret()
        await life.start()
        yield life
        await life.stop()
        for each in (life, *map(life.of, life.also)):
            await each.remove_finalizers()


async def _client(kubeconfig: Path) -> ApiClient:
    configuration = Configuration()
    await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    return ApiClient(configuration)
