"""What the operator never shows (law 9), never writes (law 10), and never requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.e2e.api import OPERATOR, PLURAL, WRITES
from tests.e2e.kstatus import reason
from tests.e2e.world import CLUSTER, OWNER, READ_ONLY
from tests.stack import ROOT, wait_until

if TYPE_CHECKING:
    from tests.e2e.api import Object
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World

BREAKAGES = ("html", "empty", "truncated", "garbage", "reset", "close")


def test_no_secret_is_shown(own: World, vault: World, start_operator: StartOperator) -> None:
    """No log, status or event has keys, client secrets or tokens, valid or not, in any failure.

    The same holds for Secrets of another namespace and their annotations.
    """
    options = ["--resync-interval", "1", "--log-format", "json", "--default-secret", f"{vault.namespace}/refused"]
    started = start_operator(*options)
    canaries = [f"canary-{kind}-{own.namespace}" for kind in ("public", "private", "id", "secret", "good")]
    own.sandbox.control(
        "POST", "/credentials", {"kind": "serviceAccount", "id": f"sa-{own.project}", "secret": canaries[4]}
    )
    own.put_secret("wrong-key", publicApiKey=canaries[0], privateApiKey=canaries[1])
    own.put_secret("wrong-account", clientId=canaries[2], clientSecret=canaries[3])
    own.put_secret("account", clientId=f"sa-{own.project}", clientSecret=canaries[4])
    for name in ("wrong-key", "wrong-account"):
        own.create(name, own.invite(name)["id"], connectionSecretRef={"name": name})
        own.until(name, "CredentialsRejected")
    shared = [f"canary-{kind}-{vault.namespace}" for kind in ("refused", "half", "wrong", "annotation")]
    vault.put_secret("refused", publicApiKey=shared[0], privateApiKey=shared[0])
    vault.put_secret("half", privateApiKey=shared[1])
    vault.put_secret("wrong", publicApiKey=shared[2], privateApiKey=shared[2])
    for name, namespaces in (("refused", f"team-a,{shared[3]}/*"), ("half", "*"), ("wrong", own.namespace)):
        vault.allow_namespaces(name, namespaces)
        reference = {"name": name, "namespace": vault.namespace}
        own.create(f"by-{name}", own.invite(f"by-{name}")["id"], connectionSecretRef=reference)
    own.create("by-default", own.invite("by-default")["id"], connectionSecretRef=None)
    for name in ("by-refused", "by-half", "by-default"):
        own.until(name, "SecretNotAllowed")
    own.until("by-wrong", "CredentialsRejected")
    canaries += shared
    objects = {f"{kind}-{secret}": kind for kind in BREAKAGES for secret in ("account", "atlas-credentials")}
    for name in objects:
        own.create(name, own.invite(name)["id"], connectionSecretRef={"name": name.partition("-")[2]})
    for name, kind in objects.items():
        own.until(name, "Invited")
        own.fault(kind=kind, username=own.email(name), count=1, challenges=True)
        own.edit(name, roles=[OWNER])
    for name in objects:
        own.until(name, "Invited")
    own.sandbox.fault(operations=["Token"], count=2, status=500, body=f'{{"access_token": "{canaries[4]}"')
    own.sandbox.control("DELETE", "/tokens")
    own.edit("html-account", roles=[READ_ONLY])
    own.until("html-account", "Invited")

    shown = [started.log, own.plane.api.ask("GET", f"apis/events.k8s.io/v1/namespaces/{own.namespace}/events").text]
    for name in own.plane.history.names(own.namespace):
        shown.extend(str(version) for version in own.versions(name))
    for secret in [*canaries, own.key, "Bearer ", "Basic ", "response=", "nonce=", "access_token"]:
        assert not [text for text in shown if secret in text], secret


def test_no_e_mail_is_logged(own: World, start_operator: StartOperator) -> None:
    """Logs at level debug name objects, but no e-mail of an object, an invitation or a member."""
    started = start_operator("--resync-interval", "1")
    own.adopt("jane", username=own.email("jane"))
    own.adopt("joan", deletionPolicy="Cancel")
    own.create("john", own.invite("somebody-else")["id"], username=own.email("john"))
    own.until("john", "IdentityMismatch")
    own.happen("accept")
    own.handle("jane", "accepted")
    fault = own.fault("ListInvites", "ListUsers", "ReadInvite", "CancelInvite", kind="reset")
    own.delete("joan")
    own.until_it("joan", "is AtlasUnavailable", lambda i: reason(i) == "AtlasUnavailable")
    own.sandbox.mend(fault)
    own.until_gone("joan")
    started.wait_for_line(f"[{own.namespace}/joan]")
    log = started.log
    assert "example.com" not in log
    assert "somebody-else" not in log


def test_only_status_and_finalizer_are_written(world: World) -> None:
    """Labels, annotations, owners, the finalizers of others and spec stay unchanged, in every version."""
    kept: Object = {
        "labels": {"app": "one", "argocd.argoproj.io/instance": "two"},
        "annotations": {"example.com/three": "four"},
        "finalizers": ["example.com/of-somebody-else"],
    }
    invitation = world.invite(roles=[OWNER])
    world.create("jane", invitation["id"], metadata=kept, deletionPolicy="Cancel")
    world.until("jane", "Invited")
    fault = world.fault("UpdateInvite", status=500)
    world.edit("jane", roles=[CLUSTER])
    world.until("jane", "AtlasUnavailable")
    world.sandbox.mend(fault)
    world.until("jane", "Invited")
    world.delete("jane")
    world.until_it("jane", "is let go", lambda i: i["metadata"]["finalizers"] == kept["finalizers"])
    for version in world.versions("jane"):
        meta, generation = version["metadata"], version["metadata"]["generation"]
        assert {"labels": meta["labels"], "annotations": meta["annotations"]} == {
            "labels": kept["labels"],
            "annotations": kept["annotations"],
        }
        assert set(meta["finalizers"]) - {"atlasinvites.io/invitation"} == set(kept["finalizers"])
        assert version["spec"]["roles"] == ([READ_ONLY] if generation == 1 else [CLUSTER])
    path = f"apis/atlasinvites.io/v1alpha1/namespaces/{world.namespace}/{PLURAL}/jane"
    world.plane.api.do("PATCH", path, {"metadata": {"finalizers": []}})
    world.until_gone("jane")


def test_every_right_is_needed_and_none_is_missing(own: World, start_operator: StartOperator) -> None:
    """The operator uses all rights of deploy/base, none of its requests is forbidden, and it writes nothing else."""
    started = start_operator("--resync-interval", "1")
    mark = own.plane.api.audit_mark()
    own.adopt(deletionPolicy="Cancel")
    own.create("by-ref", own.invite("by-ref")["id"], groupId=None, projectRef={"name": "my-project"})
    own.until("by-ref", "ProjectNotReady")
    own.create("lost", own.invite("lost")["id"], connectionSecretRef={"name": "lost"})
    own.until("lost", "SecretNotFound")
    own.delete("jane")
    own.until_gone("jane")
    requests = own.plane.api.audit(mark)
    assert {r["user"]["username"] for r in requests} == {OPERATOR}
    assert [r for r in requests if r["responseStatus"]["code"] == 403] == []
    asked = {(r["verb"], r["objectRef"]["resource"]) for r in requests if "objectRef" in r}
    assert {("patch", PLURAL), ("get", "secrets"), ("get", "atlasprojects")} <= asked
    assert {resource for verb, resource in asked if verb in WRITES} <= {PLURAL, "events", "leases"}
    assert started.process.popen.poll() is None


def test_no_right_is_wide() -> None:
    """The manifests grant no wildcard, no list of Secrets, and only writes to status, finalizers, Events and Leases."""
    documents = list(yaml.safe_load_all((ROOT / "deploy/base/rbac.yaml").read_text()))
    rules = [rule for document in documents for rule in document.get("rules", [])]
    assert rules
    for rule in rules:
        assert "*" not in [*rule["verbs"], *rule["apiGroups"], *rule["resources"]]
        if "secrets" in rule["resources"] or "atlasprojects" in rule["resources"]:
            assert rule["verbs"] == ["get"]
        if WRITES & set(rule["verbs"]):
            assert set(rule["resources"]) <= {PLURAL, f"{PLURAL}/status", "events", "leases"}


def test_a_missing_right_is_reported(own: World, start_operator: StartOperator) -> None:
    """If RBAC does not allow a Secret, status says so, and nothing crashes."""
    path = "apis/rbac.authorization.k8s.io/v1/clusterroles/atlas-invites"
    role = own.plane.api.do("GET", path)
    without = [rule for rule in role["rules"] if "secrets" not in rule["resources"]]
    own.plane.api.do("PATCH", path, {"rules": without})
    try:
        _wait_for_rbac(own, allowed=False)
        start_operator()
        own.create("jane", own.invite()["id"])
        item = own.until("jane", "SecretNotFound")
        assert "RBAC" in str(item["status"]["conditions"])
    finally:
        own.plane.api.do("PATCH", path, {"rules": role["rules"]})
        _wait_for_rbac(own, allowed=True)
    own.ignore_forbidden()


def _wait_for_rbac(world: World, *, allowed: bool) -> None:
    """Wait until the API server applies a change of the ClusterRole."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": OPERATOR,
            "resourceAttributes": {"namespace": world.namespace, "verb": "get", "resource": "secrets"},
        },
    }
    path = "apis/authorization.k8s.io/v1/subjectaccessreviews"
    wait_until("RBAC", lambda: world.plane.api.do("POST", path, review)["status"]["allowed"] is allowed)
