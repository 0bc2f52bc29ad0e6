"""Install and uninstall with the very commands of docs/install.md, with invitations in Atlas."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.deploy.documents import commands, page, run
from tests.deploy.manifests import DEPLOY
from tests.deploy.running import NAME, apply, invite, put_secret, start, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.stack import Operator, Sandbox

INSTALL, KEEP, UNINSTALL, RESCUE = commands(page("install"), __file__)


class Team:
    """A team's namespace, whose invitations ``jane`` (created) and ``joe`` (adopted) are Ready."""

    def __init__(self, cluster: ControlPlane, sandbox: Sandbox, operator: Operator) -> None:
        self._cluster = cluster
        self._sandbox = sandbox
        self.operator = operator
        self.namespace = f"team-{secrets.token_hex(4)}"
        self.project: str = sandbox.control("POST", "/projects", {})["id"]

    def invite(self) -> None:
        """Create the invitations."""
        order = {"username": "joe@example.com", "roles": ["GROUP_READ_ONLY"]}
        self._sandbox.control("POST", f"/projects/{self.project}/invitations", order)
        self._cluster.kubectl("create", "namespace", self.namespace)
        put_secret(self._cluster, self.namespace)
        apply(self._cluster, self.namespace, invite("jane", self.project), invite("joe", self.project))
        wait_for(self._cluster, self.namespace, "jane")
        wait_for(self._cluster, self.namespace, "joe")

    @property
    def invited(self) -> set[str]:
        """Return the invitees in Atlas."""
        held: Any = self._sandbox.control("GET", f"/projects/{self.project}")
        return {invitation["username"].partition("@")[0] for invitation in held["invitations"]}


@contextmanager
def installed(cluster: ControlPlane, group: ProcessGroup, sandbox: Sandbox) -> Iterator[Team]:
    """Install as documented, and run the operator; at the end nothing of it may remain."""
    run(cluster, INSTALL)
    team = Team(cluster, sandbox, start(group, cluster, sandbox))
    team.invite()
    yield team
    team.operator.process.kill()
    cluster.kubectl("wait", "--for=delete", "namespace/atlas-invites", "--timeout=60s")
    kinds = "crd,namespace,clusterrole,clusterrolebinding"
    left = cluster.kubectl("get", kinds, "-o", "name").stdout.splitlines()
    assert [name for name in left if NAME in name or "atlasinvites" in name] == []
    cluster.kubectl("delete", "namespace", team.namespace, "--wait=false")


def test_uninstall(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox) -> None:
    """In the documented order nothing gets stuck: created invitations are canceled, adopted ones stay."""
    with installed(bare, processes, sandbox) as team:
        run(bare, UNINSTALL)
        assert team.invited == {"joe"}


def test_uninstall_and_keep(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox) -> None:
    """With the documented command first, everything stays in Atlas."""
    with installed(bare, processes, sandbox) as team:
        run(bare, KEEP)
        run(bare, UNINSTALL)
        assert team.invited == {"jane", "joe"}


def test_operator_first(bare: ControlPlane, processes: ProcessGroup, sandbox: Sandbox) -> None:
    """If the operator was removed first, invitations hang.

    The documented commands finalize them, and Atlas is unchanged.
    """
    with installed(bare, processes, sandbox) as team:
        team.operator.process.kill()
        bare.kubectl("delete", "-k", str(DEPLOY), "--wait=false")
        assert bare.kubectl("get", "ainv", "-n", team.namespace, "-o", "name").stdout.count("\n") == 2
        run(bare, RESCUE)
        bare.kubectl("wait", "--for=delete", "crd/atlasprojectinvites.atlasinvites.io", "--timeout=60s")
        assert team.invited == {"jane", "joe"}
