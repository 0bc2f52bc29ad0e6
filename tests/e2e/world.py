"""The world of one test: its own namespace, Atlas project and credential, so that counts are exact."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e import kstatus
from tests.e2e.api import FIELD_MANAGER, INVITES, PLURAL, WRITES, Api, History, Object
from tests.stack import PATIENCE, ROOT, Operator, Sandbox, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.control_plane.control_plane import ControlPlane

READ_ONLY, OWNER, CLUSTER = "GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_CLUSTER_MANAGER"
REQUESTED_AT = "atlasinvites.io/reconcile-requested-at"
FORCE_DELETE = "atlasinvites.io/force-delete"


@dataclass(slots=True)
class Plane:
    """A control plane with CRD and RBAC, and what has happened on it."""

    control_plane: ControlPlane
    api: Api
    history: History


@dataclass(slots=True)
class World:
    """The world of one test.

    Attributes:
        namespace: where its objects are, with a valid Secret ``atlas-credentials`` for the project.
        project: id of its Atlas project.
        key: its API key's private half, which appears nowhere else.
        operators: the operators that may act on it.
    """

    plane: Plane
    sandbox: Sandbox
    namespace: str
    project: str
    key: str
    operators: list[Operator] = field(default_factory=list)
    _calls_before: int = 0
    _audit_before: int = 0
    _born: int = 0

    @classmethod
    def make(cls, plane: Plane, sandbox: Sandbox, namespace: str) -> World:
        """Create project, credential and Secret for an existing namespace."""
        project = sandbox.control("POST", "/projects", {})["id"]
        world = cls(plane, sandbox, namespace, project, f"canary-{secrets.token_hex(8)}")
        sandbox.control("POST", "/credentials", {"id": world.public_key, "secret": world.key, "projects": [project]})
        world.put_secret(publicApiKey=world.public_key, privateApiKey=world.key)
        world.mark()
        world._born = world._audit_before
        return world

    @property
    def public_key(self) -> str:
        """The API key's public half."""
        return f"key{self.project[-5:]}"

    # Atlas, as people use it

    def email(self, name: str) -> str:
        """Return a person's e-mail: a different one in each world, because all share one Atlas organization."""
        return f"{name}@{self.namespace}.example.com"

    def invite(self, name: str = "jane", roles: Iterable[str] = (READ_ONLY,), **more: Any) -> Object:  # noqa: ANN401
        """Invite someone in Atlas, and return what Atlas shows."""
        order = {"username": self.email(name), "roles": list(roles), **more}
        made: list[Object] = self.sandbox.control("POST", f"/projects/{self.project}/invitations", order)
        return made[0]

    def happen(self, what: str, name: str = "jane") -> None:
        """Let a person ``accept`` or ``decline``, or ``expire`` or ``remove`` them."""
        self.sandbox.control("POST", f"/projects/{self.project}/{what}", {"username": self.email(name)})

    def change_in_atlas(self, name: str, roles: Iterable[str]) -> None:
        """Give a pending invitation other roles, as an administrator does."""
        self.sandbox.update(self.email(name), roles, self.project)

    @property
    def atlas(self) -> Object:
        """Return everything that the project holds."""
        found: Object = self.sandbox.control("GET", f"/projects/{self.project}")
        return found

    def fault(self, *operations: str, kind: str = "status", **attributes: Any) -> str:  # noqa: ANN401
        """Order a fault without a limit for calls of this project, and return its id."""
        return self.sandbox.fault(kind, operations=list(operations), project=self.project, **attributes)

    # Kubernetes, as a user uses it

    def put_secret(self, name: str = "atlas-credentials", **values: str) -> None:
        """Create a Secret, or replace its content."""
        path = f"api/v1/namespaces/{self.namespace}/secrets"
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
        if self.plane.api.ask("GET", f"{path}/{name}").is_success:
            self.plane.api.do("PUT", f"{path}/{name}", body)
        else:
            self.plane.api.do("POST", path, body)

    def allow_namespaces(self, name: str, namespaces: str) -> None:
        """Annotate a Secret with the namespaces that may use it."""
        annotations = {"atlasinvites.io/allowed-namespaces": namespaces}
        path = f"api/v1/namespaces/{self.namespace}/secrets/{name}"
        self.plane.api.do("PATCH", path, {"metadata": {"annotations": annotations}})

    def delete_secret(self, name: str = "atlas-credentials") -> None:
        """Delete a Secret."""
        self.plane.api.do("DELETE", f"api/v1/namespaces/{self.namespace}/secrets/{name}")

    def create(
        self,
        name: str,
        invitation_id: str,
        roles: Iterable[str] = (READ_ONLY,),
        metadata: Object | None = None,
        **spec: Any,  # noqa: ANN401
    ) -> Object:
        """Create an object for an invitation given by its id."""
        wanted = {
            "groupId": self.project,
            "invitationId": invitation_id,
            "roles": list(roles),
            "connectionSecretRef": {"name": "atlas-credentials"},
            **spec,
        }
        return self.plane.api.do(
            "POST",
            self._path(),
            {
                "apiVersion": "atlasinvites.io/v1alpha1",
                "kind": "AtlasProjectInvite",
                "metadata": {"name": name, **(metadata or {})},
                "spec": wanted,
            },
        )

    def edit(self, name: str, **spec: Any) -> Object:  # noqa: ANN401
        """Change fields of a spec."""
        return self.plane.api.do("PATCH", self._path(name), {"spec": spec})

    def annotate(self, name: str, annotation: str, value: str) -> Object:
        """Set an annotation."""
        return self.plane.api.do("PATCH", self._path(name), {"metadata": {"annotations": {annotation: value}}})

    def delete(self, name: str) -> None:
        """Ask for the object's deletion."""
        self.plane.api.do("DELETE", self._path(name))

    def get(self, name: str) -> Object | None:
        """Return the object, or None."""
        answer = self.plane.api.ask("GET", self._path(name))
        return answer.json() if answer.is_success else None

    def finalizers(self, name: str) -> list[str]:
        """Return the finalizers of an existing object."""
        item = self.get(name)
        assert item is not None
        return list(item["metadata"].get("finalizers", []))

    def adopt(self, name: str = "jane", roles: Iterable[str] = (READ_ONLY,), **spec: Any) -> Object:  # noqa: ANN401
        """Invite someone in Atlas, create the object for it, wait until it is Ready, and count from here."""
        invitation = self.invite(name, roles)
        self.create(name, invitation["id"], roles, **spec)
        settled = self.until(name, "Invited")
        self.mark()
        return settled

    # Results

    def until(self, name: str, reason: str, seconds: float = PATIENCE) -> Object:
        """Wait until the object's latest generation was evaluated, with that reason, and return the object."""
        return self.until_it(
            name, reason, lambda i: kstatus.reason(i) == reason and _observed(i) == i["metadata"]["generation"], seconds
        )

    def until_it(self, name: str, what: str, holds: Callable[[Object], bool], seconds: float = PATIENCE) -> Object:
        """Wait until the condition holds for the object, and return the object."""
        seen: Object | None = None

        def check() -> Object | None:
            nonlocal seen
            seen = self.get(name)
            return seen if seen is not None and holds(seen) else None

        try:
            found: Object = wait_until(f"{name}: {what}", check, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seen and seen['status']}") from None
        return found

    def until_gone(self, name: str, seconds: float = PATIENCE) -> None:
        """Wait until there is no such object."""
        wait_until(f"{name} is gone", lambda: self.get(name) is None, seconds)

    def handle(self, name: str, request: str) -> Object:
        """Request one reconcile, and wait until it is done."""
        self.annotate(name, REQUESTED_AT, request)
        return self.until_it(name, f"handles {request}", lambda i: i["status"].get("lastHandledReconcileAt") == request)

    def mark(self) -> None:
        """Count from here."""
        self._calls_before = len(self.sandbox.calls(self.project))
        self._audit_before = self.plane.api.audit_mark()

    def calls(self, *methods: str) -> list[str]:
        """Return the operator's calls to Atlas in the project since ``mark``: operation and status, oldest first."""
        return [
            f"{call['operation']} {call['status']}"
            for call in self.sandbox.calls(self.project)[self._calls_before :]
            if call["credential"] == self.public_key and (not methods or call["method"] in methods)
        ]

    def atlas_writes(self) -> list[str]:
        """Return the calls that change something."""
        return self.calls("POST", "PATCH", "PUT", "DELETE")

    def writes(self, name: str | None = None) -> list[str]:
        """Return the operator's writes to one object, or all, since ``mark``: ``object`` or ``status``."""
        return [
            r["objectRef"].get("subresource", "object")
            for r in self.plane.api.audit(self._audit_before)
            if r["verb"] in WRITES and r["objectRef"]["resource"] == PLURAL
            if r["objectRef"].get("namespace") == self.namespace and name in {None, r["objectRef"].get("name")}
        ]

    def versions(self, name: str) -> list[Object]:
        """Return every version of the object, oldest first."""
        latest, history = self.get(name), self.plane.history
        if latest is not None:
            version = latest["metadata"]["resourceVersion"]
            wait_until("the history is complete", lambda: version in history.versions_of(self.namespace, name))
        return history.of(self.namespace, name)

    def statuses(self, name: str) -> list[Object]:
        """Return every different status that the object has had, oldest first."""
        found: list[Object] = []
        for version in self.versions(name):
            if not found or version["status"] != found[-1]:
                found.append(version["status"])
        return found

    def ignore_forbidden(self) -> None:
        """Let ``check_laws`` ignore the requests that were forbidden so far: the test removed the operator's rights."""
        self._born = self.plane.api.audit_mark()

    def check_laws(self) -> None:
        """Check what must hold after every test.

        Raises:
            AssertionError: a status breaks a rule of GitOps; something other than status and finalizers was written;
                the operator requested what it may not do; a key or an e-mail is in a log, a status or an event.
        """
        for name in self.plane.history.names(self.namespace):
            versions = self.versions(name)
            for before, item in zip([None, *versions], versions, strict=False):
                same = before is not None and before["metadata"]["uid"] == item["metadata"]["uid"]
                kstatus.check(item, before if same else None)
                check_managed_fields(item)
                assert self.key not in str(item)
        check_rights(self.plane.api.audit(self._born))
        events = self.plane.api.ask("GET", f"apis/events.k8s.io/v1/namespaces/{self.namespace}/events").text
        for text in [events, *(operator.log for operator in self.operators)]:
            assert self.key not in text
        for operator in self.operators:
            check_log(operator.log)

    def _path(self, name: str = "") -> str:
        path = f"{INVITES}/namespaces/{self.namespace}/{PLURAL}"
        return f"{path}/{name}" if name else path


def check_managed_fields(item: Object) -> None:
    """Check that only status and our finalizer were set by anyone but the test (law 10)."""
    for entry in item["metadata"]["managedFields"]:
        if entry["manager"] == FIELD_MANAGER:
            continue
        assert entry["manager"] == "atlas-invites", entry
        fields = entry["fieldsV1"]
        if entry.get("subresource") == "status":
            assert fields.keys() == {"f:status"}, entry
        else:
            assert fields.keys() == {"f:metadata"}, entry
            assert fields["f:metadata"].keys() == {"f:finalizers"}, entry
            assert fields["f:metadata"]["f:finalizers"].keys() <= {".", 'v:"atlasinvites.io/invitation"'}, entry


def check_rights(requests: Iterable[Object]) -> None:
    """Check that the operator requested nothing that it may not do, and nothing that ``deploy/base`` does not name."""
    for request in requests:
        refused = request["responseStatus"]["code"] == 403
        assert not refused or "is being terminated" in request["responseStatus"]["message"], request
        if (about := request.get("objectRef")) is None:  # which APIs there are
            continue
        resource = "/".join(filter(None, [about["resource"], about.get("subresource")]))
        assert (request["verb"], about.get("apiGroup", ""), resource) in _RIGHTS, request


def check_log(log: str) -> None:
    """Check that a log names no person and has no unexpected line."""
    assert "example.com" not in log
    for surprise in ("Traceback", "unexpected way", "could not process", "Unclosed", "never awaited"):
        assert surprise not in log


def _observed(item: Object) -> int:
    return int(item["status"]["observedGeneration"])


def _rights() -> set[tuple[str, str, str]]:
    """Return what the manifests allow: verb, API group, resource."""
    documents = yaml.safe_load_all((ROOT / "deploy/base/rbac.yaml").read_text())
    return {
        (verb, group, resource)
        for document in documents
        for rule in document.get("rules", [])
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


_RIGHTS = _rights()
