"""The operator as a real process with a ServiceAccount's rights, and what the API server's audit log has of it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from tests.stack import PRIVATE_KEY, PUBLIC_KEY, Operator, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.deploy.manifests import Object
    from tests.stack import Sandbox

NAME = "atlas-invites"
Right = tuple[str, str, str]
"""API group, resource (with its subresource) and verb."""


def start(
    group: ProcessGroup, cluster: ControlPlane, sandbox: Sandbox, namespace: str = NAME, *options: str
) -> Operator:
    """Start the operator as the ServiceAccount of that namespace, with leader election as in a Pod."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "KUBE"))}
    environment["KUBECONFIG"] = str(cluster.kubeconfig_for(namespace, NAME))
    settings = ["--atlas-url", sandbox.url, "--listen", "off", "--leader-election", "--lease-namespace", namespace]
    command = [sys.executable, "-m", "atlas_invites", "run", *settings, *options]
    name = f"operator-{secrets.token_hex(4)}"
    running = Operator(group.start(name, command, environment))
    running.wait_for_line("ready: ")
    return running


@contextmanager
def operator(
    group: ProcessGroup, cluster: ControlPlane, sandbox: Sandbox, namespace: str = NAME, *options: str
) -> Iterator[Operator]:
    """Run the operator while the context lasts; it must exit with 0."""
    running = start(group, cluster, sandbox, namespace, *options)
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0


def put_secret(cluster: ControlPlane, namespace: str) -> None:
    """Create the Secret that the examples name, with credentials of the sandbox."""
    keys = [f"--from-literal=publicApiKey={PUBLIC_KEY}", f"--from-literal=privateApiKey={PRIVATE_KEY}"]
    cluster.kubectl("create", "secret", "generic", "atlas-credentials", "--namespace", namespace, *keys)


def invite(name: str, project: str, *roles: str, **spec: Any) -> Object:  # noqa: ANN401
    """Return a manifest."""
    return {
        "apiVersion": "atlasinvites.io/v1alpha1",
        "kind": "AtlasProjectInvite",
        "metadata": {"name": name},
        "spec": {
            "groupId": project,
            "username": f"{name}@example.com",
            "roles": list(roles or ["GROUP_READ_ONLY"]),
            "connectionSecretRef": {"name": "atlas-credentials"},
            **spec,
        },
    }


def apply(cluster: ControlPlane, namespace: str, *manifests: Object, **options: Any) -> Any:  # noqa: ANN401
    """Apply manifests as a user does."""
    text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    return cluster.kubectl("apply", "--namespace", namespace, "-f", "-", input=text, **options)


def wait_for(cluster: ControlPlane, namespace: str, name: str, condition: str = "Ready") -> None:
    """Wait until the operator has set a condition of an invitation."""
    cluster.kubectl("wait", f"--for=condition={condition}", f"ainv/{name}", "-n", namespace, "--timeout=60s")


def audited(cluster: ControlPlane, namespace: str, about: str, since: int) -> list[Object]:
    """Return the requests of a namespace's operator since a mark of the audit log.

    Of requests about a namespace, only those about its own and the given one count: in others, objects of earlier tests
    are deleted.
    """
    user = f"system:serviceaccount:{namespace}:{NAME}"
    wanted = {None, namespace, about}
    cluster.kubectl("get", "--raw", "/livez")  # once this request is in the log, all earlier responses are too
    # A watch is in use from its start, and complete only at its end.
    return [
        r
        for r in cluster.audit_log.requests(since)
        if r["user"]["username"] == user
        and r["stage"] in {"ResponseStarted", "ResponseComplete"}
        and r.get("objectRef", {}).get("namespace") in wanted
    ]


def used(requests: list[Object]) -> set[Right]:
    """Return the rights that requests needed and had."""
    found = set()
    for request in requests:
        about = request.get("objectRef")
        if about is not None and request["responseStatus"]["code"] != httpx.codes.FORBIDDEN:
            names = [about["resource"], about.get("subresource")]
            found.add((about.get("apiGroup", ""), "/".join(filter(None, names)), request["verb"]))
    return found


def forbidden(requests: list[Object]) -> list[str]:
    """Return the requests that were forbidden."""
    refused = [r for r in requests if r.get("responseStatus", {}).get("code") == httpx.codes.FORBIDDEN]
    return [f"{request['verb']} {request['requestURI']}" for request in refused]


def granted(*roles: Object) -> set[Right]:
    """Return the rights that roles grant."""
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def wait_for_event(cluster: ControlPlane, namespace: str, note: str, count: int) -> None:
    """Wait until an event with that note was counted this many times."""

    def times() -> bool:
        listed = json.loads(cluster.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "json").stdout)
        counts = [e.get("series", {}).get("count", 1) for e in listed["items"] if note in e["note"]]
        return max(counts, default=0) >= count

    wait_until(f"event {note!r} {count} times", times)
