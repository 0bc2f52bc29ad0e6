"""The role guard, with real users on a real API server: which user may add an Atlas role to an invitation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.deploy.manifests import DEPLOY, load
from tests.deploy.running import apply, invite
from tests.stack import PROJECT, wait_until
from tests.unit.roles import ROLES

if TYPE_CHECKING:
    import subprocess

    from tests.control_plane.control_plane import ControlPlane
    from tests.deploy.manifests import Object

READ, DATA, OWNER = "GROUP_READ_ONLY", "GROUP_DATA_ACCESS_READ_ONLY", "GROUP_OWNER"
LEAD = ("--as=lea", "--as-group=team-a-leads")
DENIED = "ValidatingAdmissionPolicy 'atlas-invites-role-guard'"


class AsLead(Protocol):
    """Apply the invitation ``jane`` as a team lead, who may grant READ and DATA by the example."""

    def __call__(self, *roles: str, **spec: str) -> subprocess.CompletedProcess[str]: ...


def granting(name: str, *roles: str) -> Object:
    """Return a Role that allows granting these Atlas roles; kubectl cannot create a Role for an RBAC-only resource."""
    rule = {"apiGroups": ["atlasinvites.io"], "resources": ["atlasroles"], "resourceNames": roles, "verbs": ["grant"]}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]}


@pytest.fixture
def grants(cluster: ControlPlane, team: str) -> None:
    """The example's roles, and the cluster's role edit, for the group team-a-leads in the test's namespace."""
    objects = load((DEPLOY / "examples" / "role-guard" / "grant.yaml").read_text())
    for one in objects:
        if "namespace" in one["metadata"]:
            one["metadata"]["namespace"] = team
    cluster.kubectl("apply", "-f", "-", input="\n---\n".join(json.dumps(one) for one in objects))
    cluster.kubectl("create", "rolebinding", "leads", "--clusterrole=edit", "--group=team-a-leads", "-n", team)


@pytest.fixture
def as_lead(cluster: ControlPlane, team: str, grants: None) -> AsLead:
    """Apply the invitation ``jane`` as a team lead."""
    del grants

    def attempt(*roles: str, **spec: str) -> subprocess.CompletedProcess[str]:
        manifest = invite("jane", PROJECT, *roles, **spec)
        return cluster.kubectl("apply", "-n", team, *LEAD, "-f", "-", input=json.dumps(manifest), check=False)

    def guarded() -> bool:
        nobody = invite("nobody", PROJECT, OWNER)
        options = ["--dry-run=server", "-n", team, *LEAD]
        return DENIED in cluster.kubectl("apply", *options, "-f", "-", input=json.dumps(nobody), check=False).stderr

    wait_until("the policy is enforced", guarded)
    return attempt


@pytest.fixture
def by_admin(cluster: ControlPlane, team: str) -> Object:
    """The invitation ``jane`` with a role that the lead may not grant, as an administrator has created it."""
    made: Object = invite("jane", PROJECT, READ, OWNER)
    apply(cluster, team, made)
    return made


def test_a_role_that_the_user_may_grant(as_lead: AsLead) -> None:
    """A user can give roles that the user may grant."""
    assert as_lead(READ, DATA).returncode == 0


def test_a_role_that_the_user_may_not_grant(as_lead: AsLead) -> None:
    """It is rejected, by name, with the missing right."""
    done = as_lead(READ, OWNER)
    assert DENIED in done.stderr
    assert "to grant GROUP_READ_ONLY, GROUP_OWNER by an invitation" in done.stderr
    assert "the verb grant on each of these roles (atlasroles.atlasinvites.io)" in done.stderr


def test_adding_a_role(as_lead: AsLead) -> None:
    """A role that is added later is checked too, and only that one is named."""
    as_lead(READ)
    done = as_lead(READ, OWNER)
    assert DENIED in done.stderr
    assert "to grant GROUP_OWNER by" in done.stderr


def test_an_existing_role_may_stay(as_lead: AsLead, by_admin: Object) -> None:
    """A user who may not grant a role may edit an invitation that has it, and remove the role."""
    del by_admin
    assert as_lead(READ, OWNER, deletionPolicy="Retain").returncode == 0
    assert as_lead(READ).returncode == 0
    assert DENIED in as_lead(READ, OWNER).stderr


@pytest.mark.parametrize(
    "power", [{"memberPolicy": "Manage"}, {"deletionPolicy": "Revoke"}, {"reinvitePolicy": "OnExpiry"}], ids=str
)
def test_policies_that_need_all_roles(as_lead: AsLead, by_admin: Object, power: dict[str, str]) -> None:
    """Switching to Manage, to Revoke or to OnExpiry needs every role of the invitation, not only the added ones."""
    del by_admin
    assert DENIED in as_lead(READ, OWNER, **power).stderr
    assert as_lead(READ).returncode == 0
    assert as_lead(READ, **power).returncode == 0
    assert as_lead(READ, DATA, **power).returncode == 0
    assert as_lead(READ).returncode == 0


def test_a_resend(cluster: ControlPlane, team: str, as_lead: AsLead, by_admin: Object) -> None:
    """A resend needs every role of the invitation, and each new value is checked."""
    del by_admin

    def resend(value: str, *who: str) -> subprocess.CompletedProcess[str]:
        annotation = f"atlasinvites.io/resend-requested-at={value}"
        return cluster.kubectl("annotate", "--overwrite", "ainv", "jane", annotation, "-n", team, *who, check=False)

    assert DENIED in resend("1", *LEAD).stderr
    assert resend("1").returncode == 0
    assert resend("1", *LEAD).returncode == 0
    assert DENIED in resend("2", *LEAD).stderr
    assert as_lead(READ).returncode == 0
    assert resend("2", *LEAD).returncode == 0


def test_another_namespace(cluster: ControlPlane, team: str, as_lead: AsLead) -> None:
    """A right in one namespace grants nothing in another."""
    assert as_lead(READ).returncode == 0
    other = f"{team}-other"
    cluster.kubectl("create", "namespace", other)
    cluster.kubectl("create", "rolebinding", "leads", "--clusterrole=edit", "--group=team-a-leads", "-n", other)
    manifest = json.dumps(invite("jane", PROJECT, READ))
    assert DENIED in cluster.kubectl("apply", "-n", other, *LEAD, "-f", "-", input=manifest, check=False).stderr
    cluster.kubectl("delete", "namespace", other, "--wait=false")


def test_service_accounts(cluster: ControlPlane, team: str, as_lead: AsLead) -> None:
    """A tool is checked by its ServiceAccount: with GitOps that one needs the rights, whoever wrote the manifest."""
    assert as_lead(READ).returncode == 0
    cluster.kubectl("create", "serviceaccount", "gitops", "-n", team)
    account = f"--serviceaccount={team}:gitops"
    cluster.kubectl("create", "rolebinding", "gitops", "--clusterrole=edit", account, "-n", team)
    tool = cluster.kubeconfig_for(team, "gitops")
    manifest = json.dumps(invite("joe", PROJECT, OWNER))

    def as_tool() -> subprocess.CompletedProcess[str]:
        return cluster.kubectl("apply", "-n", team, "-f", "-", input=manifest, check=False, kubeconfig=tool)

    assert DENIED in as_tool().stderr
    apply(cluster, team, granting("grant-owner", OWNER))
    cluster.kubectl("create", "rolebinding", "grant-owner", "--role=grant-owner", account, "-n", team)
    wait_until("the right is in force", lambda: as_tool().returncode == 0)


def grant_all(cluster: ControlPlane, team: str, *roles: str) -> None:
    """Let the leads grant these roles."""
    apply(cluster, team, granting("all", *roles))
    cluster.kubectl("create", "rolebinding", "all", "--role=all", "--group=team-a-leads", "-n", team)


def test_every_role_at_once(cluster: ControlPlane, team: str, as_lead: AsLead) -> None:
    """An invitation with all 26 roles is checked completely, for a user who may grant each and for an administrator."""
    assert DENIED in as_lead(*ROLES).stderr
    apply(cluster, team, invite("joe", PROJECT, *ROLES))
    grant_all(cluster, team, *ROLES)
    wait_until("the right is in force", lambda: as_lead(*ROLES).returncode == 0)


@pytest.mark.parametrize("missing", [ROLES[0], ROLES[12], ROLES[25]])
def test_one_role_of_26_that_the_user_may_not_grant(
    cluster: ControlPlane, team: str, as_lead: AsLead, missing: str
) -> None:
    """One such role is enough to reject all, at any position."""
    others = [role for role in ROLES if role != missing]
    grant_all(cluster, team, *others)
    wait_until("the right is in force", lambda: as_lead(*others).returncode == 0)
    done = as_lead(*ROLES)
    assert DENIED in done.stderr
    assert f"to grant {missing} by an invitation" in done.stderr
