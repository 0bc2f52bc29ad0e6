"""The CI job of the documentation: its script runs ``plan``, and has the exit code of the plan."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.deploy.documents import DOCS
from tests.stack import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack import Sandbox

JOB = DOCS / "examples" / "plan-on-pull-request.yaml"
DOCKER = """\
#!/bin/sh
# Stands for docker: runs the command of the image with its arguments, on the folder that is mounted.
while [ "$1" != "$IMAGE" ]; do shift; done
shift
exec "{python}" -m atlas_invites "$1" "$2" "$PWD$3" --atlas-url "{url}"
"""
MANIFEST = f"""\
apiVersion: atlasinvites.io/v1alpha1
kind: AtlasProjectInvite
metadata: {{name: jane}}
spec: {{groupId: "{PROJECT}", username: new-in-ci@example.com, roles: [ROLE]}}
"""


@pytest.mark.parametrize(("role", "code", "shown"), [("GROUP_READ_ONLY", 0, "+ send"), ("GROUP_READER", 1, "")])
def test_job(sandbox: Sandbox, tmp_path: Path, role: str, code: int, shown: str) -> None:
    """A valid manifest shows its plan in the summary of the run, an invalid one fails the job."""
    job = yaml.safe_load(JOB.read_text())
    assert job[True] == "pull_request"  # "on", in YAML 1.1
    assert job["permissions"] == {"contents": "read"}
    _, step = job["jobs"]["plan"]["steps"]
    (tmp_path / "invitations").mkdir()
    (tmp_path / "invitations" / "jane.yaml").write_text(MANIFEST.replace("ROLE", role))
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, url=sandbox.url))
    docker.chmod(0o755)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "MONGODB_"))},
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "IMAGE": step["env"]["IMAGE"],
        "MONGODB_ATLAS_CLIENT_ID": "mdb_sa_id_sandbox",
        "MONGODB_ATLAS_CLIENT_SECRET": "mdb_sa_sk_sandbox",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == code, done.stderr
    assert (tmp_path / "summary").read_text() == done.stdout
    assert done.stdout.startswith(shown)
