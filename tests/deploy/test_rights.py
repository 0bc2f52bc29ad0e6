"""Permissions: the operator has exactly what it uses, and users have what the cluster's own roles grant."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import helm_python
import pytest

from tests.deploy.manifests import CHART, CRD, DEPLOY, kustomized, kustomized_with, of_kind
from tests.deploy.running import (
    NAME,
    apply,
    audited,
    forbidden,
    granted,
    invite,
    operator,
    put_secret,
    used,
    wait_for,
    wait_for_event,
)
from tests.stack import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.deploy.manifests import Object
    from tests.stack import Sandbox

OVERLAY = DEPLOY / "overlays" / "one-namespace"
CREDENTIALS = DEPLOY / "overlays" / "credentials-namespace"
VAULT = "atlas-credentials"
PEOPLE = ("atlas-invites-view", "atlas-invites-edit")


def operators_roles(objects: list[Object]) -> list[Object]:
    return [role for role in of_kind(objects, "ClusterRole", "Role") if role["metadata"]["name"] not in PEOPLE]


def test_least_privilege() -> None:
    """No wildcard, Secrets only by name, and no right to create, replace or delete invitations."""
    rights = granted(*operators_roles(kustomized(DEPLOY)))
    assert not [right for right in rights if "*" in "".join(right)]
    assert {verb for _, resource, verb in rights if resource == "secrets"} == {"get"}
    assert {verb for group, _, verb in rights if group == "atlasinvites.io"} == {"list", "watch", "patch"}


def test_one_namespace_has_the_same_rights() -> None:
    """The overlay grants the same rights, in one namespace, and has no cluster-wide object."""
    objects = kustomized(OVERLAY)
    assert granted(*operators_roles(objects)) == granted(*operators_roles(kustomized(DEPLOY)))
    assert {one["metadata"]["namespace"] for one in objects} == {"team-a"}
    subjects = [subject for binding in of_kind(objects, "RoleBinding") for subject in binding["subjects"]]
    assert {subject["namespace"] for subject in subjects} == {"team-a"}


def test_with_a_namespace_for_credentials_only_that_one_has_secrets() -> None:
    """The overlay grants the same rights, except for Secrets: those are in one namespace, by a Role."""
    objects = kustomized(CREDENTIALS)
    assert granted(*operators_roles(objects)) == granted(*operators_roles(kustomized(DEPLOY)))
    (role,) = [role for role in operators_roles(objects) if {right[1] for right in granted(role)} & {"secrets"}]
    assert (role["kind"], role["metadata"]["namespace"], granted(role)) == ("Role", VAULT, {("", "secrets", "get")})


def test_another_namespace_for_credentials(tmp_path: Path) -> None:
    """The component works with the overlay for one namespace.

    Patches name another namespace, and the operator's own.
    """
    patch = [
        {"op": "replace", "path": "/metadata/namespace", "value": "vault"},
        {"op": "replace", "path": "/subjects/0/namespace", "value": "team-a"},
    ]
    patches = [
        {"target": {"kind": kind, "name": "atlas-invites-credentials"}, "patch": json.dumps(operations)}
        for kind, operations in (("Role", patch[:1]), ("RoleBinding", patch))
    ]
    objects = kustomized_with(OVERLAY, "credentials-namespace", scratch=tmp_path, patches=patches)
    assert granted(*operators_roles(objects)) == granted(*operators_roles(kustomized(DEPLOY)))
    (role,) = [role for role in operators_roles(objects) if ("", "secrets", "get") in granted(role)]
    assert (role["metadata"]["name"], role["metadata"]["namespace"]) == ("atlas-invites-credentials", "vault")
    for binding in of_kind(objects, "RoleBinding"):
        assert [subject["namespace"] for subject in binding["subjects"]] == ["team-a"]


@pytest.mark.parametrize("where", ["atlas-invites", "team-a"], ids=["cluster", "namespace"])
def test_every_right_is_used_and_none_is_missing(
    cluster: ControlPlane, processes: ProcessGroup, sandbox: Sandbox, team: str, where: str
) -> None:
    """With the shipped rights the operator does all its work: no request is forbidden, and every right is used."""
    cluster.kubectl("delete", "lease", "--all", "--namespace", where)  # of an operator of another test
    since = cluster.audit_log.mark()
    project = sandbox.control("POST", "/projects", {})["id"]
    alone = where == "team-a"
    team, options = (where, ("--namespace", where)) if alone else (team, ())
    put_secret(cluster, team)
    atlas_project = {
        "apiVersion": "atlas.mongodb.com/v1",
        "kind": "AtlasProject",
        "metadata": {"name": "my-project"},
        "spec": {"name": "my project"},
        "status": {"id": project},
    }
    by_reference = invite("joe", project)
    del by_reference["spec"]["groupId"]
    by_reference["spec"]["projectRef"] = {"name": "my-project"}
    with operator(processes, cluster, sandbox, where, *options):
        apply(cluster, team, atlas_project, by_reference, invite("jane", project))
        wait_for(cluster, team, "joe")
        wait_for(cluster, team, "jane")
        for count, role in enumerate(["GROUP_OWNER", "GROUP_READ_ONLY"] * 2):  # the same event again is a patch
            apply(cluster, team, invite("jane", project, role))
            wait_for_event(cluster, team, f"now {role}", 1 + count // 2)
        cluster.kubectl("delete", "ainv", "--all", "--namespace", team, "--timeout=60s")
    requests = audited(cluster, where, team, since)
    assert forbidden(requests) == []
    assert used(requests) == granted(*operators_roles(kustomized(DEPLOY)))
    assert sandbox.control("GET", f"/projects/{project}")["invitations"] == []


@pytest.mark.parametrize("by", ["overlay", "chart"])
def test_a_namespace_for_credentials(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox, by: str) -> None:
    """With the credentials in their own namespace the operator does its work, and can get Secrets only there."""
    for name in (VAULT, team := f"test-{secrets.token_hex(4)}"):
        bare.kubectl("create", "namespace", name)
    put_secret(bare, VAULT)
    allow = f"atlasinvites.io/allowed-namespaces={team}"
    bare.kubectl("annotate", "secret", "atlas-credentials", "--namespace", VAULT, allow)
    release = helm_python.Config(kubeconfig_path=bare.kubeconfig, namespace=NAME)
    if by == "chart":
        bare.kubectl("create", "namespace", NAME)
        release.install(str(CHART), NAME, {"credentials": {"namespace": VAULT}})
    else:
        bare.kubectl("apply", "-k", str(CREDENTIALS))
    bare.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    since = bare.audit_log.mark()
    project = sandbox.control("POST", "/projects", {})["id"]
    jane = invite("jane", project, connectionSecretRef={"name": "atlas-credentials", "namespace": VAULT})
    joe = invite("joe", project)
    del joe["spec"]["connectionSecretRef"]
    by_reference = invite("joan", project, connectionSecretRef={"name": "atlas-credentials", "namespace": VAULT})
    del by_reference["spec"]["groupId"]
    by_reference["spec"]["projectRef"] = {"name": "my-project"}
    atlas_project = {
        "apiVersion": "atlas.mongodb.com/v1",
        "kind": "AtlasProject",
        "metadata": {"name": "my-project"},
        "spec": {"name": "my project"},
        "status": {"id": project},
    }
    with operator(processes, bare, sandbox, NAME, "--default-secret", f"{VAULT}/atlas-credentials"):
        apply(bare, team, atlas_project, jane, joe, by_reference)
        for name in ("jane", "joe", "joan"):
            wait_for(bare, team, name)
        for count, role in enumerate(["GROUP_OWNER", "GROUP_READ_ONLY"] * 2):
            jane["spec"]["roles"] = [role]
            apply(bare, team, jane)
            wait_for_event(bare, team, f"now {role}", 1 + count // 2)
        bare.kubectl("delete", "ainv", "--all", "--namespace", team, "--timeout=60s")
    requests = [*audited(bare, NAME, team, since), *audited(bare, NAME, VAULT, since)]
    assert forbidden(requests) == []
    assert used(requests) == granted(*operators_roles(kustomized(CREDENTIALS)))
    for place, allowed in ((VAULT, "yes"), (team, "no"), (NAME, "no"), ("default", "no")):
        asked = ["get", "secrets", "--namespace", place, f"--as=system:serviceaccount:{NAME}:{NAME}"]
        assert bare.kubectl("auth", "can-i", *asked, check=False).stdout.strip() == allowed
    if by == "chart":
        release.uninstall(NAME)
        bare.kubectl("delete", CRD)
        bare.kubectl("delete", "namespace", NAME)
    else:
        bare.kubectl("delete", "-k", str(CREDENTIALS))
    bare.kubectl("delete", "namespace", VAULT, team)


def test_several_namespaces(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox) -> None:
    """With the chart's scope.namespaces the operator does its work in each of them, and has no rights in others."""
    teams = [f"test-{secrets.token_hex(4)}" for _ in range(2)]
    for name in (NAME, *teams, other := f"test-{secrets.token_hex(4)}"):
        bare.kubectl("create", "namespace", name)
    release = helm_python.Config(kubeconfig_path=bare.kubeconfig, namespace=NAME)
    release.install(str(CHART), NAME, {"scope": {"namespaces": teams}})
    bare.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    since = bare.audit_log.mark()
    project = sandbox.control("POST", "/projects", {})["id"]
    with operator(processes, bare, sandbox, NAME, *(f"--namespace={team}" for team in teams)):
        for team in teams:
            put_secret(bare, team)
            apply(bare, team, invite(team, project))
            wait_for(bare, team, team)
            bare.kubectl("delete", "ainv", "--all", "--namespace", team, "--timeout=60s")
    for team in teams:
        assert forbidden(audited(bare, NAME, team, since)) == []
    for place in ("--all-namespaces", f"--namespace={other}"):
        asked = ["get", "secrets", place, f"--as=system:serviceaccount:{NAME}:{NAME}"]
        assert bare.kubectl("auth", "can-i", *asked, check=False).stdout.strip() == "no"
    release.uninstall(NAME)
    bare.kubectl("delete", CRD)
    bare.kubectl("delete", "namespace", NAME, *teams, other)


@pytest.mark.parametrize(
    ("role", "verbs", "refused"),
    [
        ("view", {"get", "list", "watch"}, {"create", "update", "patch", "delete"}),
        ("edit", {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}, set()),
        ("admin", {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}, set()),
    ],
)
def test_users(cluster: ControlPlane, team: str, role: str, verbs: set[str], refused: set[str]) -> None:
    """A user with view, edit or admin in a namespace may view or edit invitations there, and never their status."""
    cluster.kubectl("create", "rolebinding", "people", f"--clusterrole={role}", "--user=jane", "--namespace", team)

    def may(verb: str, *more: str) -> bool:
        asked = ["auth", "can-i", verb, "atlasprojectinvites.atlasinvites.io", "--as=jane", "--namespace", team, *more]
        return cluster.kubectl(*asked, check=False).stdout.strip() == "yes"

    wait_until("the cluster's own roles have ours in them", lambda: may("get"))
    assert {verb for verb in verbs if may(verb)} == verbs
    assert not {verb for verb in refused if may(verb)}
    assert not may("patch", "--subresource=status")
    assert not may("update", "--subresource=status")


@pytest.mark.parametrize(("role", "reads"), [("view", False), ("edit", True), ("admin", True)])
def test_who_reads_the_secrets_of_a_namespace(cluster: ControlPlane, team: str, role: str, *, reads: bool) -> None:
    """As in docs/security.md: edit and admin can get the Secrets of their namespace, and of no other."""
    cluster.kubectl("create", "rolebinding", "people", f"--clusterrole={role}", "--user=jane", "--namespace", team)

    def may(verb: str, namespace: str) -> bool:
        asked = ["auth", "can-i", verb, "secrets", "--as=jane", "--namespace", namespace]
        return cluster.kubectl(*asked, check=False).stdout.strip() == "yes"

    for verb in ("get", "list", "create", "patch"):
        assert may(verb, team) is reads
        assert not may(verb, VAULT)


def test_nobody_but_the_operator_has_its_rights() -> None:
    """The operator's rights are bound only to its ServiceAccount."""
    subjects = [
        subject
        for binding in of_kind(kustomized(DEPLOY), "ClusterRoleBinding", "RoleBinding")
        for subject in binding["subjects"]
    ]
    assert {json.dumps(subject, sort_keys=True) for subject in subjects} == {
        json.dumps({"kind": "ServiceAccount", "name": "atlas-invites", "namespace": "atlas-invites"}, sort_keys=True)
    }
