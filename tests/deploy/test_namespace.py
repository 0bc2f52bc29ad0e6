"""Deleting a namespace with invitations and the operator's rights: what hangs, and how the runbook resolves it."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.deploy.documents import commands, page, run
from tests.deploy.manifests import CRD, DEPLOY, chart, of_kind
from tests.deploy.running import NAME, apply, invite, put_secret, start, wait_for
from tests.stack import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.stack import Operator, Sandbox

TEAM = "team-a"
FIRST, FROM_OUTSIDE, BY_HAND = commands(page("runbook"), __file__)


@contextmanager
def installed(
    cluster: ControlPlane, group: ProcessGroup, sandbox: Sandbox, where: str
) -> Iterator[tuple[Operator, str]]:
    """Run the operator with rights only in the team's namespace, where two invitations are Ready.

    Args:
        cluster: the control plane.
        group: of the operator.
        sandbox: for Atlas.
        where: the namespace of the operator; the team's own (the overlay), or another (the chart).

    Yields:
        The operator, and the Atlas project: ``jane`` was created there, ``joe`` was adopted.
    """
    project = sandbox.control("POST", "/projects", {})["id"]
    sandbox.control(
        "POST", f"/projects/{project}/invitations", {"username": "joe@example.com", "roles": ["GROUP_READ_ONLY"]}
    )
    cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    for name in {TEAM, where}:
        cluster.kubectl("create", "namespace", name)
    if where == TEAM:
        cluster.kubectl("apply", "-k", str(DEPLOY / "overlays" / "one-namespace"))
    else:
        values = {"scope": {"namespaces": [TEAM]}, "crd": {"create": False}, "userRoles": {"create": False}}
        objects = of_kind(chart(values, where), "ServiceAccount", "Role", "RoleBinding")
        cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    put_secret(cluster, TEAM)
    operator = start(group, cluster, sandbox, where, "--namespace", TEAM)
    apply(cluster, TEAM, invite("jane", project), invite("joe", project))
    wait_for(cluster, TEAM, "jane")
    wait_for(cluster, TEAM, "joe")
    yield operator, project
    operator.process.kill()
    assert not exists(cluster, f"namespace/{TEAM}")
    assert NAME not in cluster.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name").stdout
    cluster.kubectl("delete", CRD)
    cluster.kubectl("delete", "namespace", where, "--ignore-not-found", "--wait=false")


def exists(cluster: ControlPlane, what: str, namespace: str = "default") -> bool:
    """Return whether an object exists."""
    return bool(cluster.kubectl("get", what, "-n", namespace, "-o", "name", "--ignore-not-found").stdout)


def left(sandbox: Sandbox, project: str) -> set[str]:
    """Return the invitees in Atlas."""
    held = sandbox.control("GET", f"/projects/{project}")["invitations"]
    return {invitation["username"].partition("@")[0] for invitation in held}


def delete_namespace(cluster: ControlPlane, operator: Operator) -> None:
    """Delete the team's namespace; the operator is too slow, so its rights are deleted first, and it fails."""
    operator.process.popen.send_signal(signal.SIGSTOP)
    cluster.kubectl("delete", "namespace", TEAM, "--wait=false")
    wait_until("the RoleBinding is gone", lambda: not exists(cluster, f"rolebinding/{NAME}", TEAM))
    operator.process.popen.send_signal(signal.SIGCONT)
    operator.wait_for_line("writing the finalizer")


def test_invitations_first(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox) -> None:
    """If the invitations are deleted first, the namespace is deleted, with the operator and its rights in it."""
    with installed(bare, processes, sandbox, TEAM) as (_, project):
        run(bare, FIRST)
        assert left(sandbox, project) == {"joe"}


@pytest.mark.parametrize(("where", "rescue"), [(TEAM, BY_HAND), ("operators", FROM_OUTSIDE)], ids=["inside", "outside"])
def test_rescue(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox, where: str, rescue: str) -> None:
    """If the rights are deleted first, the namespace hangs, and the log gives the reason.

    The runbook's commands resolve it.
    """
    with installed(bare, processes, sandbox, where) as (operator, project):
        delete_namespace(bare, operator)
        # Without its ServiceAccount the operator may read 401 rather than 403.
        assert where == TEAM or "or the namespace is being deleted" in operator.log
        assert "check the operator's RBAC" not in operator.log
        assert exists(bare, f"namespace/{TEAM}")
        run(bare, rescue.replace(f"{NAME}:{NAME}", f"{where}:{NAME}"))
        # Without its rights the operator cannot read that the namespace is being deleted, so it waits for its grace,
        # and ends before that: its Lease is gone too.
        assert left(sandbox, project) == ({"jane", "joe"} if where == TEAM else {"joe"})
