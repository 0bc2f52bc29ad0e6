"""The fault of each alert.

A fault is a generator with its own stage: a namespace, an Atlas project, and an operator process. The code before the
first ``yield`` starts a healthy operator, the code before the second one begins the fault, and the rest ends it.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.e2e.faults.conftest import PLAIN_HTTP, Behind, send
from tests.e2e.faults.proxy import Proxy
from tests.e2e.world import FORCE_DELETE, OWNER, REQUESTED_AT, Plane, World
from tests.monitoring.recording import STRETCH, Recording
from tests.stack import OPERATOR_NAMESPACE, Operator, Sandbox, free_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.stack import Cluster

RESYNC_INTERVAL = 600 / STRETCH


@dataclass(frozen=True, slots=True)
class Account:
    """A cluster for which the operator gets another ServiceAccount."""

    control_plane: ControlPlane
    namespace: str
    name: str

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig file for this ServiceAccount, whatever the arguments are."""
        del namespace, service_account
        return self.control_plane.kubeconfig_for(self.namespace, self.name)


@dataclass(slots=True)
class Stage:
    """The environment of one fault.

    Attributes:
        world: a namespace and an Atlas project, with their own sandbox.
        group: the processes.
        recording: the scrapes of the operator.
        operator: the operator, once it is started.
    """

    world: World
    group: ProcessGroup
    recording: Recording
    operator: Operator | None = None

    @classmethod
    def build(cls, plane: Plane, group: ProcessGroup, name: str) -> Stage:
        """Create the namespace, the project and the sandbox."""
        namespace = f"{name.lower()}-{secrets.token_hex(2)}"
        plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
        sandbox = Sandbox.start(group, name=f"sandbox-{name}")
        return cls(World.make(plane, sandbox, namespace), group, Recording(free_address(), name.lower()))

    def start_operator(self, *options: str, cluster: Cluster | None = None) -> None:
        """Start the operator for the namespace, as its ServiceAccount unless ``cluster`` gives another."""
        self.operator = Operator.start(
            self.group,
            cluster or self.world.plane.control_plane,
            *("--atlas-url", self.world.sandbox.url, "--namespace", self.world.namespace),
            *("--listen", self.recording.address, "--resync-interval", f"{RESYNC_INTERVAL}s"),
            *("--deletion-grace", "0"),  # the default would be minutes on the stretched time axis
            *options,
            name=f"operator-{self.recording.pod}",
        )

    def invite(self, name: str = "jane", **spec: Any) -> None:  # noqa: ANN401 - fields are JSON
        """Create an object, and wait until its invitation is sent."""
        send(self.world, name, **spec)
        self.world.until(name, "Invited")


def orphaned(stage: Stage) -> Iterator[None]:
    """Atlas refuses the cleanup of a deleted object, and a user forces the deletion."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    world.fault("CancelInvite", status=403)
    world.delete("jane")
    world.until("jane", "Forbidden")
    world.annotate("jane", FORCE_DELETE, "true")
    world.until_gone("jane")
    yield


def credentials_rejected(stage: Stage) -> Iterator[None]:
    """The API key is replaced in Atlas and not in the Secret; then it is replaced in the Secret too."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    new = f"canary-{secrets.token_hex(8)}"
    world.sandbox.control("PATCH", f"/credentials/{world.public_key}", {"secret": new})
    yield
    world.put_secret(publicApiKey=world.public_key, privateApiKey=new)


def secret_missing(stage: Stage) -> Iterator[None]:
    """An object is created before its Secret."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    send(world, "joe", connectionSecretRef={"name": "later"})
    world.until("joe", "SecretNotFound")
    yield
    world.put_secret("later", publicApiKey=world.public_key, privateApiKey=world.key)


def project_missing(stage: Stage) -> Iterator[None]:
    """The project is deleted in Atlas; then the object is deleted too."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    world.sandbox.control("DELETE", f"/projects/{world.project}")
    yield
    world.delete("jane")


def request_refused(stage: Stage) -> Iterator[None]:
    """Atlas refuses to send an invitation; then it allows it, and a user requests a reconcile."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    refused = world.fault("CreateInvite", status=403)
    send(world, "joe")
    world.until("joe", "Forbidden")
    yield
    world.sandbox.mend(refused)
    world.annotate("joe", REQUESTED_AT, "again")


def departed(stage: Stage) -> Iterator[None]:
    """The invitee declines, and the object settles; then it is deleted."""
    world = stage.world
    stage.start_operator()
    stage.invite(departurePolicy="Settle")
    yield
    world.happen("decline")
    world.annotate("jane", REQUESTED_AT, "now")
    world.until("jane", "InvitationWithdrawn")
    yield
    world.delete("jane")


def stalled(stage: Stage) -> Iterator[None]:
    """An object names an invitation that does not exist; then it is deleted."""
    world = stage.world
    stage.start_operator()
    stage.invite()
    yield
    world.create("joe", "f" * 24)
    world.until("joe", "InvitationNotFound")
    yield
    world.delete("joe")


def no_leader(stage: Stage) -> Iterator[None]:
    """The only operator is killed, and started again."""
    stage.start_operator()
    stage.invite()
    yield
    assert stage.operator is not None
    stage.operator.process.kill()
    yield
    stage.start_operator()


def atlas_errors(stage: Stage) -> Iterator[None]:
    """Atlas responds with 503 to everything."""
    stage.start_operator()
    stage.invite()
    yield
    outage = stage.world.fault(status=503)
    yield
    stage.world.sandbox.mend(outage)


def reconcile_errors(stage: Stage) -> Iterator[None]:
    """The API server fails each write of a status."""
    control_plane = stage.world.plane.control_plane
    authority = json.loads(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    with Proxy(control_plane.url, tls) as proxy:
        stage.start_operator(cluster=Behind(control_plane, proxy, PLAIN_HTTP))
        stage.invite()
        yield
        fault = proxy.fault("PATCH .*/status", 500)
        stage.world.edit("jane", roles=[OWNER])
        yield
        proxy.mend(fault)
        yield  # keeps the proxy until the end


def namespace_unserved(stage: Stage) -> Iterator[None]:
    """The operator loses its rights in one of its namespaces; then it gets them again."""
    api, namespace = stage.world.plane.api, stage.world.namespace
    other, account = f"{namespace}-other", "limited"
    api.do("POST", "api/v1/namespaces", {"metadata": {"name": other}})
    api.do("POST", f"api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": account}})

    def bind(where: str) -> None:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR_NAMESPACE}
        body = {"metadata": {"name": account}, "roleRef": role, "subjects": [subject]}
        api.do("POST", f"apis/rbac.authorization.k8s.io/v1/namespaces/{where}/rolebindings", body)

    def unbind(where: str) -> None:
        api.do("DELETE", f"apis/rbac.authorization.k8s.io/v1/namespaces/{where}/rolebindings/{account}")

    bind(namespace)
    bind(other)
    stage.start_operator("--namespace", other, cluster=Account(stage.world.plane.control_plane, namespace, account))
    stage.invite()
    yield
    unbind(other)
    yield
    bind(other)


def expiring(stage: Stage) -> Iterator[None]:
    """An invitation was sent 28 days ago; then it is accepted."""
    world, days = stage.world, 28 * 24 * 3600
    stage.start_operator()
    stage.invite()
    yield
    world.sandbox.control("POST", "/clock", {"advanceSeconds": -days})
    world.invite("joe")
    world.sandbox.control("POST", "/clock", {"advanceSeconds": days})
    send(world, "joe")
    world.until("joe", "Invited")
    yield
    world.happen("accept", "joe")


def sunset_near(stage: Stage) -> Iterator[None]:
    """Atlas announces the end of the Invites API in a month, and then in a year."""
    world = stage.world

    def announce(days: int) -> None:
        day = (datetime.now(UTC) + timedelta(days=days)).date()
        world.sandbox.control("PATCH", "/settings", {"sunset": {"day": day.isoformat()}})

    announce(365)
    stage.start_operator()
    stage.invite()
    yield
    announce(30)
    yield
    announce(365)


FAULTS: Mapping[str, Callable[[Stage], Iterator[None]]] = {
    "AtlasInvitesOrphaned": orphaned,
    "AtlasInvitesCredentialsRejected": credentials_rejected,
    "AtlasInvitesSecretMissing": secret_missing,
    "AtlasInvitesProjectMissing": project_missing,
    "AtlasInvitesRequestRefused": request_refused,
    "AtlasInvitesDeparted": departed,
    "AtlasInvitesStalled": stalled,
    "AtlasInvitesNoLeader": no_leader,
    "AtlasInvitesAtlasErrors": atlas_errors,
    "AtlasInvitesReconcileErrors": reconcile_errors,
    "AtlasInvitesNamespaceUnserved": namespace_unserved,
    "AtlasInvitesExpiring": expiring,
    "AtlasInvitesSunsetNear": sunset_near,
}
"""The fault for each alert."""
