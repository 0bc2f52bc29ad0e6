"""Measure ``atlas-invites plan`` for many manifests: seconds of the process, and Atlas calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.report import Line
from tests.bench.stand import LATENCY
from tests.control_plane.processes import ProcessGroup
from tests.stack import PRIVATE_KEY, PUBLIC_KEY, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFESTS, SECONDS = 1000, 3.0
"""The number of manifests, and the seconds that their plan may take."""
WRITES = ("CreateInvite", "AddUser", "UpdateInvite", "CancelInvite", "RemoveUser", "AddRole", "RemoveRole")


def of_plan(projects: int) -> Iterator[Line]:
    """Measure a plan over some projects: a third is pending, a third are members, a third would be sent.

    Raises:
        AssertionError: the command failed.
    """
    group = ProcessGroup()
    try:
        sandbox = Sandbox.start(group, "--latency", str(LATENCY))
        bodies = []
        for number in range(projects):
            project = sandbox.control("POST", "/projects", {})["id"]
            names = [f"p{number}-{person}" for person in range(MANIFESTS // projects)]
            for act, some in (("invitations", names[::3]), ("members", names[1::3])):
                people = [f"{name}@example.com" for name in some]
                sandbox.control("POST", f"/projects/{project}/{act}", {"usernames": people})
            bodies += [_manifest(project, name) for name in names]
        file = group.folder / "manifests.yaml"
        file.write_text("\n---\n".join(map(json.dumps, bodies)))
        sandbox.control("DELETE", "/calls")
        began = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, "-m", "atlas_invites", "plan", "-f", str(file), "--atlas-url", sandbox.url],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stderr
        statuses = sandbox.control("GET", "/calls")["statuses"]
    finally:
        group.close()
    calls = {name: number for name, number in statuses.items() if not name.endswith(" 401")}
    writes = sum(number for name, number in calls.items() if name.split()[0] in WRITES)
    yield Line(MANIFESTS, f"plan over {projects} projects: s", SECONDS, seconds, done.stdout.splitlines()[-1])
    yield Line(MANIFESTS, f"plan over {projects} projects: Atlas reads", 2 * projects, sum(calls.values()) - writes)
    yield Line(MANIFESTS, f"plan over {projects} projects: Atlas writes", 0, writes)


def _manifest(project: str, name: str) -> dict[str, object]:
    return {
        "apiVersion": "atlasinvites.io/v1alpha1",
        "kind": "AtlasProjectInvite",
        "metadata": {"name": name},
        "spec": {"groupId": project, "username": f"{name}@example.com", "roles": ["GROUP_READ_ONLY"]},
    }


def _environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "MONGODB_"))}
    return clean | {"MONGODB_ATLAS_PUBLIC_API_KEY": PUBLIC_KEY, "MONGODB_ATLAS_PRIVATE_API_KEY": PRIVATE_KEY}
