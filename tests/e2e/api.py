"""The API server as the tests use it: an administrator's requests, every version of every object, the audit log."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.control_plane.control_plane import ControlPlane

INVITES = "apis/atlasinvites.io/v1alpha1"
PLURAL = "atlasprojectinvites"
OPERATOR = "system:serviceaccount:atlas-invites:atlas-invites"
FIELD_MANAGER = "e2e"
"""The field manager of the tests' own writes."""
FINALIZER = "atlasinvites.io/invitation"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})

Object = dict[str, Any]


class Api:
    """An administrator's client of a control plane.

    Args:
        control_plane: a running one, with an audit log.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self._audit_log = control_plane.audit_log
        config = json.loads(control_plane.kubeconfig.read_text())
        authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._client = httpx.Client(
            base_url=control_plane.url,
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            verify=ssl.create_default_context(cadata=authority),
            timeout=30,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None, **parameters: str) -> httpx.Response:  # noqa: ANN401
        """Send a request, a PATCH as a merge patch, and return any response."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        return self._client.request(method, f"/{path}", content=content, headers=headers, params=parameters)

    def do(self, method: str, path: str, body: Any = None) -> Object:  # noqa: ANN401
        """Send a request that must succeed, and return the response."""
        writes = {"fieldManager": FIELD_MANAGER} if method in {"POST", "PATCH"} else {}
        answer = self.ask(method, path, body, **writes)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Object = answer.json()
        return found

    def watch(self, version: str) -> Iterator[Object]:
        """Yield the events of about a second of all invitations after a resource version, as they come."""
        options = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
        with self._client.stream("GET", f"/{INVITES}/{PLURAL}", params=options) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                yield json.loads(line)

    def audit(self, since: int = 0) -> list[Object]:
        """Return the operator's requests since an earlier ``audit_mark``, oldest first."""
        self.ask("GET", "livez")  # once this request is in the log, all earlier responses are too
        requests = self._audit_log.requests(since)
        return [r for r in requests if r["user"].get("username") == OPERATOR and r["stage"] == "ResponseComplete"]

    def audit_mark(self) -> int:
        """Return the current end of the audit log."""
        return self._audit_log.mark()


@contextmanager
def new_namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Create a namespace, yield its name, and delete it without waiting. This is faster than kubectl."""
    api, name = Api(control_plane), f"test-{secrets.token_hex(4)}"
    try:
        api.do("POST", "api/v1/namespaces", {"metadata": {"name": name}})
        yield name
        api.ask("DELETE", f"api/v1/namespaces/{name}")
    finally:
        api.close()


class History:
    """Every version of every invitation that the API server has shown since the start, oldest first.

    It has its own watch in its own thread, which starts again after an outage.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self._api = Api(control_plane)
        self._versions: dict[tuple[str, str], list[Object]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="history", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._thread.join()
        self._api.close()

    def of(self, namespace: str, name: str) -> list[Object]:
        """Return every version of the object of that name, including earlier objects with the name."""
        return list(self._versions.get((namespace, name), ()))

    def versions_of(self, namespace: str, name: str) -> list[str]:
        """Return the resource versions of ``of``."""
        return [item["metadata"]["resourceVersion"] for item in self.of(namespace, name)]

    def names(self, namespace: str) -> list[str]:
        """Return the names of all objects that existed."""
        return [name for where, name in list(self._versions) if where == namespace]

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._list_and_watch()
            except (httpx.HTTPError, json.JSONDecodeError):  # no API server, or no CRD yet
                time.sleep(0.1)

    def _list_and_watch(self) -> None:
        answer = self._api.ask("GET", f"{INVITES}/{PLURAL}")
        answer.raise_for_status()
        listed = answer.json()
        for item in listed["items"]:
            self._take(item)
        version = listed["metadata"]["resourceVersion"]
        while not self._stopping.is_set():
            for event in self._api.watch(version):
                if event["type"] == "ERROR":
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "DELETED":
                    self._take(event["object"])

    def _take(self, item: Object) -> None:
        meta = item["metadata"]
        versions = self._versions.setdefault((meta["namespace"], meta["name"]), [])
        if all(v["metadata"]["resourceVersion"] != meta["resourceVersion"] for v in versions):
            versions.append(item)
