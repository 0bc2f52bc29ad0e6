"""Credentials in their own namespace, with a real user: what a team can do, and what it never learns."""

from __future__ import annotations

import json
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from atlas_sandbox.sandbox import CLIENT_ID, CLIENT_SECRET
from tests.deploy.manifests import CRD, DEPLOY
from tests.deploy.running import NAME, invite, start, wait_for
from tests.stack import PRIVATE_KEY, PUBLIC_KEY, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.deploy.manifests import Object
    from tests.stack import Operator, Sandbox

OVERLAY = DEPLOY / "overlays" / "credentials-namespace"
EXAMPLES = DEPLOY / "examples" / "credentials-namespace"
VAULT = "atlas-credentials"
CANARY = "canary-7c2f"
GOOD = {"publicApiKey": PUBLIC_KEY, "privateApiKey": PRIVATE_KEY}
KEYS = {"publicApiKey": f"{CANARY}-public", "privateApiKey": f"{CANARY}-private"}
NAMESPACES, PROJECTS = "atlasinvites.io/allowed-namespaces", "atlasinvites.io/allowed-projects"
OTHER_PROJECT = "5f3c9d2e8a7b6c5d4e3f2a1b"


class Team:
    """A namespace in which the user lea has the role edit, on a cluster with the overlay and a running operator."""

    def __init__(self, cluster: ControlPlane, namespace: str, project: str, operator: Operator) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self.project = project
        self.operator = operator

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        """Run kubectl as lea."""
        return self._cluster.kubectl(*arguments, "--as=lea", **options)

    def invite(self, name: str, reference: dict[str, str] | None) -> None:
        """Apply an invitation as lea, with a reference to a Secret or without."""
        manifest = invite(name, self.project, connectionSecretRef=reference)
        if reference is None:
            del manifest["spec"]["connectionSecretRef"]
        self.kubectl("apply", "--namespace", self.namespace, "-f", "-", input=json.dumps(manifest))

    def get(self, name: str) -> Object:
        """Return an invitation as lea reads it."""
        shown = self.kubectl("get", "ainv", name, "--namespace", self.namespace, "-o", "json").stdout
        found: Object = json.loads(shown)
        return found

    def reason(self, name: str) -> str | None:
        """Return the reason of Ready."""
        conditions = self.get(name)["status"].get("conditions", [])
        return next((c["reason"] for c in conditions if c["type"] == "Ready"), None)

    def is_refused(self, name: str) -> bool:
        """Return whether an invitation is SecretNotAllowed."""
        return self.reason(name) == "SecretNotAllowed"

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Return type, reason and note of the events of an invitation as lea reads them."""
        shown = self.kubectl("get", "events.events.k8s.io", "--namespace", self.namespace, "-o", "json").stdout
        about = [event for event in json.loads(shown)["items"] if event["regarding"]["name"] == name]
        return [(event["type"], event["reason"], event["note"]) for event in about]


def put(cluster: ControlPlane, namespace: str, name: str, values: dict[str, str], **annotations: str) -> None:
    """Create a Secret with annotations."""
    named = {f"atlasinvites.io/allowed-{key}": value for key, value in annotations.items()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "annotations": named},
        "stringData": values,
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(secret))


@pytest.fixture
def team(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox) -> Iterator[Team]:
    """A team, and the operator with a default Secret that allows it."""
    name = f"test-{secrets.token_hex(4)}"
    for namespace in (VAULT, name):
        bare.kubectl("create", "namespace", namespace)
    bare.kubectl("apply", "-k", str(OVERLAY))
    bare.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    bare.kubectl("create", "rolebinding", "lea", "--clusterrole=edit", "--user=lea", "--namespace", name)
    may_create = ["auth", "can-i", "create", "ainv", "--as=lea", "--namespace", name]
    wait_until("lea has her rights", lambda: bare.kubectl(*may_create, check=False).stdout.strip() == "yes")
    put(bare, VAULT, "default", GOOD, namespaces=name)
    project = sandbox.control("POST", "/projects", {})["id"]
    options = ["--default-secret", f"{VAULT}/default", "--resync-interval", "1", "--log-level", "debug"]
    operator = start(processes, bare, sandbox, NAME, *options)
    yield Team(bare, name, project, operator)
    bare.kubectl("delete", "ainv", "--all", "--namespace", name, "--timeout=60s")
    assert operator.stop() == 0
    bare.kubectl("delete", "-k", str(OVERLAY))
    bare.kubectl("delete", "namespace", VAULT, name)


def test_a_team_uses_credentials_that_it_cannot_read(bare: ControlPlane, team: Team) -> None:
    """Lea invites with Secrets of another namespace that allow hers, and can neither read nor change these."""
    put(bare, VAULT, "shared", GOOD, namespaces=f"other,{team.namespace}", projects=team.project)
    team.invite("jane", {"name": "shared", "namespace": VAULT})
    team.invite("joe", None)
    for name in ("jane", "joe"):
        wait_for(bare, team.namespace, name)
        assert team.reason(name) == "Invited"
    annotate = ["annotate", "secret", "shared", f"{NAMESPACES}=*", "--overwrite"]
    for command in (["get", "secret", "shared"], ["get", "secrets"], annotate, ["delete", "secret", "shared"]):
        refused = team.kubectl(*command, "--namespace", VAULT, check=False)
        assert "Forbidden" in refused.stderr, command


def test_the_examples_match(bare: ControlPlane, team: Team) -> None:
    """The example's Secret allows the example's invitation, in the namespace that it lists."""
    texts = {name: (EXAMPLES / f"{name}.yaml").read_text() for name in ("secret", "invitation")}
    account = texts["secret"].replace("clientId: REPLACE_ME", f"clientId: {CLIENT_ID}")
    account = account.replace("clientSecret: REPLACE_ME", f"clientSecret: {CLIENT_SECRET}")
    bare.kubectl("apply", "-f", "-", input=account.replace("team-a", team.namespace))
    team.kubectl("apply", "--namespace", team.namespace, "-f", "-", input=texts["invitation"])
    wait_for(bare, team.namespace, "jane")


def test_no_user_learns_why_a_secret_is_not_available(bare: ControlPlane, team: Team) -> None:
    """Forbidden, absent, unreadable, invalid: lea reads the same status and events, and the log has no key."""
    put(bare, VAULT, "not-annotated", KEYS)
    put(bare, VAULT, "for-others", KEYS, namespaces="team-b,team-c")
    put(bare, VAULT, "malformed", KEYS, namespaces=f"{team.namespace},{CANARY}/*")
    put(bare, VAULT, "other-project", KEYS, namespaces="*", projects=OTHER_PROJECT)
    put(bare, VAULT, "malformed-project", KEYS, namespaces="*", projects=f"{team.project},{CANARY}")
    put(bare, VAULT, "half", {"publicApiKey": CANARY}, namespaces="*")
    put(bare, VAULT, "empty", {}, namespaces="*")
    put(bare, "default", "unreadable", KEYS, namespaces="*")
    references = [
        *((VAULT, name) for name in ("not-annotated", "for-others", "malformed", "other-project")),
        *((VAULT, name) for name in ("malformed-project", "half", "empty", "absent")),
        ("default", "unreadable"),
        ("default", "unreadable-and-absent"),
        ("no-such-namespace", "absent"),
    ]
    for number, (namespace, name) in enumerate(references):
        team.invite(f"jane-{number}", {"namespace": namespace, "name": name})
    seen = []
    for number, (namespace, name) in enumerate(references):
        own = f"jane-{number}"
        wait_until(f"{name} is not allowed", partial(team.is_refused, own))
        events = wait_until(f"{name} has an event", partial(team.events, own))
        status = team.get(own)["status"]
        for condition in status["conditions"]:
            del condition["lastTransitionTime"]
        finalizers = team.get(own)["metadata"].get("finalizers")
        text = json.dumps([status, events, finalizers], sort_keys=True)
        assert CANARY not in text
        seen.append(text.replace(f"{namespace}/{name}", "SECRET"))
    assert [text for text in seen if text != seen[0]] == []
    assert CANARY not in team.operator.log
    assert "its annotation atlasinvites.io/allowed-projects does not list" in team.operator.log
    bare.kubectl("delete", "secret", "unreadable", "--namespace", "default")
