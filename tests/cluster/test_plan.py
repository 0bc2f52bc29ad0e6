"""``atlas-invites plan --cluster`` on the real API server: the stored status counts, and nothing is written."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from atlas_sandbox.sandbox import PRIVATE_KEY, PROJECT_ID, PUBLIC_KEY
from tests.cluster.life import OWNER, READ_ONLY
from tests.unit.specs import invite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.life import Life
    from tests.control_plane.control_plane import ControlPlane

READS = {"ListInvites", "ListUsers", "ReadInvite", "ReadUser", "ReadProject", "Token"}


async def plan(life: Life, kubeconfig: Path, *options: str, manifests: list[dict[str, Any]]) -> tuple[int, str, str]:
    """Run the command for manifests of the test's namespace; return exit code, output and errors."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "MONGODB_", "KUBE"))}
    credentials = {"MONGODB_ATLAS_PUBLIC_API_KEY": PUBLIC_KEY, "MONGODB_ATLAS_PRIVATE_API_KEY": PRIVATE_KEY}
    command = ("plan", "-f", "-", "--cluster", *options, "--atlas-url", life.sandbox_url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atlas_invites", *command),
        env=clean | credentials | {"KUBECONFIG": str(kubeconfig)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate("\n---\n".join(map(json.dumps, manifests)).encode())
    return process.returncode or 0, out.decode(), err.decode()


def manifest(life: Life, name: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a spec
    body = invite({"groupId": PROJECT_ID, "username": f"{name}@example.com"}, changes, name=name)
    return body | {"metadata": {"name": name, "namespace": life.namespace}}


async def test_the_stored_status_counts(life: Life, control_plane: ControlPlane) -> None:
    """A removed member is not invited, a withdrawn invitation not sent again, and a pruned one is canceled.

    A change that the API server would reject is a fault.
    """
    for name in ("removed", "withdrawn", "pruned", "kept"):
        await life.create(name, username=f"{name}@example.com", roles=[READ_ONLY])
        await life.reaches(name, "Invited")
    await life.people("accept", "removed@example.com")
    await life.people("decline", "withdrawn@example.com")
    await life.resync()
    await life.reaches("removed", "Accepted")
    await life.people("remove", "removed@example.com")
    await life.resync()
    await life.reaches("removed", "MemberRemoved")
    await life.reaches("withdrawn", "InvitationWithdrawn")
    wanted = [manifest(life, name) for name in ("removed", "withdrawn")]
    wanted += [manifest(life, "kept", roles=[OWNER]), manifest(life, "new")]
    before = control_plane.kubectl("get", "ainv", "-n", life.namespace, "-o", "json").stdout
    async with life.counting() as counted:
        code, out, err = await plan(life, control_plane.kubeconfig, "--prune", "--output", "json", manifests=wanted)
    assert (code, err) == (0, "")
    found = {one["name"]: (one["action"], one["reason"]) for one in json.loads(out)["objects"]}
    assert found == {
        "removed": ("needs attention", "MemberRemoved"),
        "withdrawn": ("needs attention", "InvitationWithdrawn"),
        "kept": ("set roles", "Invited"),
        "new": ("send", "Invited"),
        "pruned": ("cancel", None),
    }
    assert set(counted) <= READS
    assert control_plane.kubectl("get", "ainv", "-n", life.namespace, "-o", "json").stdout == before

    wanted[2] = manifest(life, "kept", username="other@example.com")
    code, out, err = await plan(life, control_plane.kubeconfig, manifests=wanted)
    assert (code, out) == (1, "")
    assert err.startswith("atlas-invites: standard input, document 3: spec.username: username is immutable, ")


@pytest.mark.parametrize("rights", ["edit in the namespace", "none"])
async def test_the_rights_of_a_team(life: Life, control_plane: ControlPlane, rights: str) -> None:
    """A user who may list the objects of the namespace sees the plan, with a warning; otherwise it is an error."""
    control_plane.kubectl("create", "serviceaccount", "ci", "-n", life.namespace)
    if rights != "none":
        role = ("create", "rolebinding", "ci", "--clusterrole=edit", f"--serviceaccount={life.namespace}:ci")
        control_plane.kubectl(*role, "-n", life.namespace)
    kubeconfig = control_plane.kubeconfig_for(life.namespace, "ci")
    code, out, err = await plan(life, kubeconfig, manifests=[manifest(life, "new")])
    assert err.count("\n") == 1
    if rights == "none":
        assert (code, out) == (1, "")
        assert "HTTP 403 Forbidden; the user of the kubeconfig lacks " in err
    else:
        assert (code, out.partition(" ")[0]) == (0, "+")
        assert err.startswith("atlas-invites: duplicates in other namespaces cannot be detected: ")


async def test_no_cluster(life: Life, tmp_path: Path) -> None:
    """A missing kubeconfig is one line and exit code 1."""
    code, out, err = await plan(life, tmp_path / "none", manifests=[manifest(life, "new")])
    assert (code, out) == (1, "")
    assert err.startswith("atlas-invites: no cluster: ")
