"""Backup and restore by the commands of docs/backup.md: the operator's memory is restored with the status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.deploy.documents import commands, page, run
from tests.deploy.manifests import CRD, DEPLOY
from tests.deploy.running import apply, invite, operator, put_secret, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.stack import Sandbox

SAVE, RESTORE, START, SUSPEND = commands(page("backup"), __file__)


def test_restore(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox, tmp_path: Path) -> None:
    """A member who left while the objects were lost is not invited again. The restored status knows the member."""
    cluster, team = bare, "team-of-the-backup"
    cluster.kubectl("apply", "-k", str(DEPLOY))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    cluster.kubectl("create", "namespace", team)
    project = sandbox.control("POST", "/projects", {})["id"]
    # A person who accepts joins the organization: no other test may use this person.
    person = {"username": "leaver@example.com"}
    put_secret(cluster, team)
    with operator(processes, cluster, sandbox):
        apply(cluster, team, invite("leaver", project))
        wait_for(cluster, team, "leaver")
        sandbox.control("POST", f"/projects/{project}/accept", person)
        cluster.kubectl("annotate", "ainv", "leaver", "-n", team, "atlasinvites.io/reconcile-requested-at=now")
        wait_for(cluster, team, "leaver", "Accepted")
    run(cluster, SAVE, tmp_path)
    cluster.kubectl("patch", "ainv", "leaver", "-n", team, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    cluster.kubectl("delete", "ainv", "--all", "--all-namespaces")
    sandbox.control("POST", f"/projects/{project}/remove", person)

    run(cluster, RESTORE, tmp_path)
    run(cluster, SUSPEND)
    suspended = cluster.kubectl("get", "ainv", "leaver", "-n", team, "-o", "jsonpath={.spec.suspend}").stdout
    cluster.kubectl("patch", "ainv", "leaver", "-n", team, "--type=merge", "-p", '{"spec": {"suspend": null}}')
    run(cluster, START)
    sandbox.control("DELETE", "/calls")
    with operator(processes, cluster, sandbox):
        wait_for(cluster, team, "leaver", "Stalled")
        item = json.loads(cluster.kubectl("get", "ainv", "leaver", "-n", team, "-o", "json").stdout)
        cluster.kubectl("delete", "ainv", "--all", "-n", team, "--timeout=60s")
    cluster.kubectl("delete", "-k", str(DEPLOY))
    cluster.kubectl("delete", "namespace", team, "--wait=false")
    assert suspended == "true"
    assert item["status"]["state"] == "Removed"
    assert item["status"]["conditions"][0]["reason"] == "MemberRemoved"
    assert "CreateInvite" not in sandbox.control("GET", "/calls")["counts"]
