"""``atlas-invites export``: what it prints and leaves out, and that applying its output changes nothing in Atlas."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.export import ExportSettings, name_of, written
from tests.deploy.manifests import load
from tests.deploy.running import operator, put_secret, wait_for
from tests.stack import PRIVATE_KEY, PUBLIC_KEY
from tests.unit.builders import EMAIL, GROUP_ID, INVITATION_ID, OTHER_EMAIL, OTHER_ID, OWNER, READER, invitation
from tests.unit.roles import ROLES

if TYPE_CHECKING:
    from tests.control_plane.control_plane import ControlPlane
    from tests.control_plane.processes import ProcessGroup
    from tests.stack import Sandbox

API_KEY = {"MONGODB_ATLAS_PUBLIC_API_KEY": PUBLIC_KEY, "MONGODB_ATLAS_PRIVATE_API_KEY": PRIVATE_KEY}
SERVICE_ACCOUNT = {
    "MONGODB_ATLAS_CLIENT_ID": "mdb_sa_id_sandbox",
    "MONGODB_ATLAS_CLIENT_SECRET": "mdb_sa_sk_sandbox",
}
SETTINGS = ExportSettings(group_id=(GROUP_ID,))
READS = {"ListInvites", "ListUsers", "ReadInvite", "ReadUser", "ReadProject", "Token"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, with only this environment for credentials."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "MONGODB_"))}
    return subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "atlas_invites", "export", *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_manifest() -> None:
    """An invitation becomes the manifest that adopts it: project, e-mail, roles, Secret, and Cancel."""
    settings = ExportSettings(group_id=(GROUP_ID,), namespaces=("team-a",), secret_name="atlas")
    done = written([invitation(roles=[READER, OWNER])], settings, GROUP_ID)
    assert done.complete
    assert load(done.text) == [
        {
            "apiVersion": "atlasinvites.io/v1alpha1",
            "kind": "AtlasProjectInvite",
            "metadata": {"name": "jane-example-com-8c87b489", "namespace": "team-a"},
            "spec": {
                "groupId": GROUP_ID,
                "username": EMAIL,
                "roles": [OWNER, READER],
                "connectionSecretRef": {"name": "atlas"},
                "deletionPolicy": "Cancel",
            },
        }
    ]


def test_no_namespace() -> None:
    """Without a namespace the manifests have none: kubectl's own applies."""
    (manifest,) = load(written([invitation()], SETTINGS, GROUP_ID).text)
    assert manifest["metadata"] == {"name": name_of(EMAIL)}


@pytest.mark.parametrize(
    ("email", "name"),
    [
        ("Jane.Doe+work@Example.COM", "jane-doe-work-example-com-"),
        (f"{'x' * 80}@example.com", f"{'x' * 50}-"),
        ("zoë@example.com", "zo-example-com-"),
    ],
)
def test_name(email: str, name: str) -> None:
    """A name is the e-mail in lower case, every run of other characters a dash, cut to 50, and a short hash."""
    assert name_of(email).startswith(name)
    assert len(name_of(email)) == len(name) + 8
    assert name_of(email) == name_of(email.upper())


def test_names_differ() -> None:
    """E-mails with the same readable part have different hashes."""
    assert name_of("jane.doe@example.com") != name_of("jane-doe@example.com")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"roles": [READER, "ORG_OWNER"]}, 'not a project role: "ORG_OWNER"'),
        ({"roles": []}, "it has no roles"),
        ({"username": "_jane@example.com"}, "the e-mail does not give a valid object name"),
        ({"username": "jane"}, "the e-mail must be one e-mail address"),
        ({"username": f"{'x' * 250}@example.com"}, "the e-mail must have at most 254 characters"),
        ({"username": "jane\n@example.com"}, "the e-mail must not have spaces or invisible characters"),
        ({"username": "jane@example.com\u200b"}, "the e-mail must not have spaces or invisible characters"),
        ({"username": None}, "the e-mail must be one e-mail address"),
    ],
    ids=str,
)
def test_left_out(fields: dict[str, Any], why: str) -> None:
    """An invitation that cannot be a manifest is a comment line that says which and why; the others are exported."""
    others = [invitation(id=OTHER_ID, username=OTHER_EMAIL)]
    done = written([invitation(**fields), *others], SETTINGS, GROUP_ID)
    assert not done.complete
    (comment,) = [line for line in done.text.splitlines() if line.startswith("#")]
    assert INVITATION_ID in comment
    assert why in comment
    assert [manifest["spec"]["username"] for manifest in load(done.text)] == [OTHER_EMAIL]


@pytest.mark.parametrize(("one", "other"), [(EMAIL, EMAIL.upper()), ("j@bücher.de", "j@xn--bcher-kva.de")])
def test_one_object_for_an_email(one: str, other: str) -> None:
    """Two invitations of one e-mail, in any form, are one manifest, of the first; the second is a comment."""
    done = written(
        [invitation(username=one), invitation(id=OTHER_ID, username=other, roles=[OWNER])], SETTINGS, GROUP_ID
    )
    assert not done.complete
    assert [manifest["spec"]["roles"] for manifest in load(done.text)] == [[READER]]
    assert f'invitation "{OTHER_ID}"' in done.text


def test_a_role_is_a_name() -> None:
    """A role is written unchanged, also one that the CRD does not list yet."""
    roles = [*ROLES, "GROUP_FUTURE_2030"]
    done = written([invitation(roles=roles)], SETTINGS, GROUP_ID)
    assert done.complete
    (manifest,) = load(done.text)
    assert manifest["spec"]["roles"] == sorted(roles)


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    """A new project with people who are pending in either API, or are members."""
    id_: str = sandbox.control("POST", "/projects", {})["id"]
    path = f"/projects/{id_}"
    sandbox.control("POST", f"{path}/invitations", {"username": "Jane.Doe@example.com", "roles": [READER, OWNER]})
    sandbox.control("POST", f"{path}/invitations", {"username": "zoë@example.com", "roles": [READER]})
    sandbox.control("POST", f"{path}/invitations", {"api": "Users", "username": OTHER_EMAIL, "roles": [READER]})
    sandbox.control("POST", f"{path}/members", {"username": "member@example.com"})
    return id_


@pytest.mark.parametrize("credentials", [API_KEY, SERVICE_ACCOUNT], ids=["api-key", "service-account"])
def test_command(sandbox: Sandbox, project: str, credentials: dict[str, str]) -> None:
    """The command prints every pending person of both APIs, and nobody else; it only reads."""
    sandbox.control("DELETE", "/calls")
    done = run(credentials, "--group-id", project, "--atlas-url", sandbox.url)
    assert (done.returncode, done.stderr) == (0, "")
    emails = [manifest["spec"]["username"] for manifest in load(done.stdout)]
    assert emails == ["Jane.Doe@example.com", OTHER_EMAIL, "zoë@example.com"]
    assert set(sandbox.control("GET", "/calls")["counts"]) <= READS


def test_applying_changes_nothing(
    cluster: ControlPlane, processes: ProcessGroup, sandbox: Sandbox, project: str, team: str
) -> None:
    """Once its output is applied, every invitation is Ready, and Atlas is unchanged and was never written to."""
    before = sandbox.control("GET", f"/projects/{project}")
    done = run(API_KEY, "--group-id", project, "--namespace", team, "--atlas-url", sandbox.url)
    put_secret(cluster, team)
    sandbox.control("DELETE", "/calls")
    cluster.kubectl("apply", "-f", "-", input=done.stdout)
    with operator(processes, cluster, sandbox):
        names = [manifest["metadata"]["name"] for manifest in load(done.stdout)]
        for name in names:
            wait_for(cluster, team, name)
    assert len(names) == 3
    assert sandbox.control("GET", f"/projects/{project}") == before
    assert set(sandbox.control("GET", "/calls")["counts"]) <= READS


def test_something_left_out(sandbox: Sandbox, project: str) -> None:
    """If something was left out, the exit code is 3 and the rest is printed."""
    sandbox.control("POST", f"/projects/{project}/invitations", {"username": "_x@example.com", "roles": [READER]})
    done = run(API_KEY, "--group-id", project, "--atlas-url", sandbox.url)
    assert (done.returncode, done.stderr) == (3, "")
    assert len(load(done.stdout)) == 3
    assert done.stdout.count("# Left out: ") == 1


@pytest.mark.parametrize(
    ("credentials", "group_id", "error"),
    [
        (API_KEY, "f" * 24, "404 GROUP_NOT_FOUND"),
        (API_KEY | {"MONGODB_ATLAS_PRIVATE_API_KEY": "canary"}, GROUP_ID, "401"),
        (SERVICE_ACCOUNT | {"MONGODB_ATLAS_CLIENT_SECRET": "canary"}, GROUP_ID, "Atlas rejected the credentials"),
    ],
    ids=["no-project", "wrong-key", "wrong-secret"],
)
def test_atlas_error(sandbox: Sandbox, credentials: dict[str, str], group_id: str, error: str) -> None:
    """Atlas's error is one line on standard error, without the credentials; nothing is printed, the exit code is 1."""
    done = run(credentials, "--group-id", group_id, "--atlas-url", sandbox.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    ("credentials", "arguments", "error"),
    [
        ({}, ["--group-id", GROUP_ID], "MONGODB_ATLAS_PUBLIC_API_KEY"),
        (API_KEY | SERVICE_ACCOUNT, ["--group-id", GROUP_ID], "not both pairs"),
        ({"MONGODB_ATLAS_CLIENT_ID": "id"}, ["--group-id", GROUP_ID], "MONGODB_ATLAS_CLIENT_SECRET"),
        (API_KEY, [], "--group-id"),
        (API_KEY, ["--group-id", "my-project"], "--group-id"),
        (API_KEY, ["--group-id", GROUP_ID, "--namespace", "Team A"], "--namespace"),
        (API_KEY, ["--group-id", GROUP_ID, "--secret-name", "x/y"], "--secret-name"),
        (API_KEY, ["--group-id", GROUP_ID, "--atlas-url", "http://atlas.example.com"], "plain http is allowed only"),
    ],
    ids=["none", "both", "half", "no-project", "bad-project", "bad-namespace", "bad-secret", "plain-http"],
)
def test_invalid_settings(credentials: dict[str, str], arguments: list[str], error: str) -> None:
    """An invalid setting is named in one line, with exit code 2."""
    done = run(credentials, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert PRIVATE_KEY not in done.stderr
