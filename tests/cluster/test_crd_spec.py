"""What ``kubectl apply`` accepts of a spec, and how it refuses the rest: the rules of crds/, on a real API server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.emails import BAD, GOOD, TOO_LONG
from tests.unit.roles import ROLES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

    from tests.cluster.conftest import Apply
    from tests.control_plane.control_plane import ControlPlane

pytestmark = pytest.mark.usefixtures("crds")

EXAMPLES = sorted((Path(__file__).parents[2] / "deploy" / "examples").glob("*.yaml"))
ID = "32b6e34b3d91647abb20e7b8"
OTHER_ID = "5f3c9d2e8a7b6c5d4e3f2a1b"
PROJECT_REF = {"groupId": None, "projectRef": {"name": "my-project"}}
BY_ID = {"username": None, "invitationId": ID}
BOTH = {"invitationId": ID}

HEX = "must be 24 hex digits in lower case"
NAMESPACE = "namespace must be the name of a namespace (lower-case letters, digits and '-')"
KUBERNETES_NAME = "name must be a Kubernetes name (lower-case letters, digits, '-' and '.')"
ONE_PROJECT = "spec: Invalid value: give either groupId or projectRef, and not both"
SOMEBODY = "spec: Invalid value: give username, invitationId or both"
POLICIES = {
    "deletionPolicy": "Retain",
    "memberPolicy": "Manage",
    "reinvitePolicy": "OnExpiry",
    "departurePolicy": "Settle",
}
NEEDS_USERNAME = "spec.reinvitePolicy: Invalid value: reinvitePolicy OnExpiry needs username"


def invite(*changes: dict[str, Any], name: str = "jane") -> dict[str, Any]:
    """Return a manifest that is fine, with these fields of its spec changed (None: left out)."""
    spec: dict[str, Any] = {
        "groupId": ID,
        "username": "jane@example.com",
        "roles": ["GROUP_READ_ONLY"],
        "connectionSecretRef": {"name": "atlas-credentials"},
    }
    for change in changes:
        spec |= change
    return {
        "apiVersion": "atlasinvites.io/v1alpha1",
        "kind": "AtlasProjectInvite",
        "metadata": {"name": name},
        "spec": {field: value for field, value in spec.items() if value is not None},
    }


def error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error of ``kubectl apply``, without the type of the value that Kubernetes before 1.35 adds."""
    return re.sub(r'Invalid value: "(array|object|string)": ', "Invalid value: ", done.stderr)


def invites(emails: Iterable[str]) -> dict[str, Any]:
    """Return a list of manifests, one an address; in one document, which kubectl reads as JSON and not as YAML."""
    items = [invite({"username": email}, name=f"number-{number}") for number, email in enumerate(emails)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


ACCEPTED: dict[str, dict[str, Any]] = {
    "by e-mail": {},
    "by id": BY_ID,
    "by both": BOTH,
    "by projectRef": PROJECT_REF,
    "every role": {"roles": ROLES},
    "every policy": {
        "deletionPolicy": "Revoke",
        "memberPolicy": "Manage",
        "reinvitePolicy": "OnExpiry",
        "departurePolicy": "Settle",
        "suspend": True,
    },
    "the other policies": {
        "deletionPolicy": "Retain",
        "memberPolicy": "Observe",
        "reinvitePolicy": "Never",
        "departurePolicy": "Stall",
        "suspend": False,
    },
    "OnExpiry with both": BOTH | {"reinvitePolicy": "OnExpiry"},
    "a Secret's name with dots": {"connectionSecretRef": {"name": "atlas.team-a.credentials"}},
    "a Secret of another namespace": {"connectionSecretRef": {"name": "atlas", "namespace": "other"}},
    "no Secret": {"connectionSecretRef": None},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no project": ({"groupId": None}, ONE_PROJECT),
    "two projects": ({"projectRef": {"name": "my-project"}}, ONE_PROJECT),
    "groupId in upper case": ({"groupId": ID.upper()}, f"groupId {HEX}"),
    "groupId too short": ({"groupId": ID[1:]}, f"groupId {HEX}"),
    "groupId too long": ({"groupId": ID + "0"}, "spec.groupId: Too long: may not be more than 24 bytes"),
    "groupId empty": ({"groupId": ""}, f"groupId {HEX}"),
    "groupId a project's name": ({"groupId": "my-project"}, f"groupId {HEX}"),
    "projectRef without name": ({"groupId": None, "projectRef": {}}, "spec.projectRef.name: Required value"),
    "projectRef with an empty name": ({"groupId": None, "projectRef": {"name": ""}}, KUBERNETES_NAME),
    "projectRef with a path": ({"groupId": None, "projectRef": {"name": "../x"}}, KUBERNETES_NAME),
    "projectRef with a namespace": (
        {"groupId": None, "projectRef": {"name": "my-project", "namespace": "other"}},
        'unknown field "spec.projectRef.namespace"',
    ),
    "nobody": ({"username": None}, SOMEBODY),
    "username too long": ({"username": TOO_LONG}, "spec.username: Too long: may not be more than 254"),
    "invitationId no id": ({"invitationId": "jane"}, f"invitationId {HEX}"),
    "invitationId in upper case": ({"invitationId": ID.upper()}, f"invitationId {HEX}"),
    "roles missing": ({"roles": None}, "spec.roles: Required value"),
    "no roles": ({"roles": []}, "spec.roles in body should have at least 1 items"),
    "a role twice": (
        {"roles": ["GROUP_OWNER", "GROUP_READ_ONLY", "GROUP_OWNER"]},
        "roles must name each role only once",
    ),
    "too many roles": ({"roles": [*ROLES, "GROUP_MORE"]}, "spec.roles: Too many: 27: must have at most 26 items"),
    "a role in lower case": ({"roles": ["group_owner"]}, 'spec.roles[0]: Unsupported value: "group_owner"'),
    "an organisation's role": ({"roles": ["ORG_OWNER"]}, 'spec.roles[0]: Unsupported value: "ORG_OWNER"'),
    "roles as one word": ({"roles": "GROUP_OWNER"}, "spec.roles in body must be of type array"),
    "a misspelt role": (
        {"roles": ["GROUP_READONLY"]},
        'spec.roles[0]: Unsupported value: "GROUP_READONLY": supported values: ' + ", ".join(f'"{r}"' for r in ROLES),
    ),
    "connectionSecretRef without name": ({"connectionSecretRef": {}}, "spec.connectionSecretRef.name: Required value"),
    "a Secret's name in upper case": ({"connectionSecretRef": {"name": "Atlas"}}, KUBERNETES_NAME),
    "a Secret's name with a path": ({"connectionSecretRef": {"name": "../other/atlas"}}, KUBERNETES_NAME),
    "a Secret's namespace without a name": (
        {"connectionSecretRef": {"namespace": "other"}},
        "spec.connectionSecretRef.name: Required value",
    ),
    "a Secret's namespace in upper case": (
        {"connectionSecretRef": {"name": "atlas", "namespace": "Other"}},
        NAMESPACE,
    ),
    "a Secret's namespace with a path": ({"connectionSecretRef": {"name": "atlas", "namespace": "../x"}}, NAMESPACE),
    "a Secret's namespace with a dot": ({"connectionSecretRef": {"name": "atlas", "namespace": "a.b"}}, NAMESPACE),
    "a Secret's namespace empty": ({"connectionSecretRef": {"name": "atlas", "namespace": ""}}, NAMESPACE),
    "a Secret's namespace too long": (
        {"connectionSecretRef": {"name": "atlas", "namespace": 64 * "a"}},
        "spec.connectionSecretRef.namespace: Too long: may not be more than 63",
    ),
    "deletionPolicy unknown": (
        {"deletionPolicy": "Delete"},
        'spec.deletionPolicy: Unsupported value: "Delete": supported values: "Cancel", "Retain", "Revoke"',
    ),
    "memberPolicy unknown": (
        {"memberPolicy": "manage"},
        'spec.memberPolicy: Unsupported value: "manage": supported values: "Observe", "Manage"',
    ),
    "reinvitePolicy unknown": (
        {"reinvitePolicy": "Always"},
        'spec.reinvitePolicy: Unsupported value: "Always": supported values: "Never", "OnExpiry"',
    ),
    "departurePolicy unknown": (
        {"departurePolicy": "Ignore"},
        'spec.departurePolicy: Unsupported value: "Ignore": supported values: "Stall", "Settle"',
    ),
    "OnExpiry by id alone": (BY_ID | {"reinvitePolicy": "OnExpiry"}, NEEDS_USERNAME),
    "suspend a word": ({"suspend": "yes"}, "spec.suspend in body must be of type boolean"),
    "a misspelt field": ({"deletePolicy": "Retain"}, 'unknown field "spec.deletePolicy"'),
}

CHANGES_ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "other roles": ({}, {"roles": ["GROUP_OWNER", "GROUP_READ_ONLY"]}),
    "other roles by id": (BY_ID, BY_ID | {"roles": ["GROUP_OWNER"]}),
    "another Secret": ({}, {"connectionSecretRef": {"name": "other"}}),
    "a Secret of another namespace": ({}, {"connectionSecretRef": {"name": "atlas", "namespace": "other"}}),
    "no Secret any more": ({}, {"connectionSecretRef": None}),
    "a Secret after all": ({"connectionSecretRef": None}, {}),
    "policies added": ({}, POLICIES),
    "policies removed": (POLICIES, {}),
    "suspended": ({}, {"suspend": True}),
    "no longer suspended": ({"suspend": True}, {}),
}

CHANGES_REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "groupId changed": ({}, {"groupId": OTHER_ID}, ["groupId"]),
    "groupId becomes projectRef": ({}, PROJECT_REF, ["groupId", "projectRef"]),
    "projectRef becomes groupId": (PROJECT_REF, {}, ["groupId", "projectRef"]),
    "projectRef changed": (PROJECT_REF, {"groupId": None, "projectRef": {"name": "other"}}, ["projectRef"]),
    "username changed": ({}, {"username": "joe@example.com"}, ["username"]),
    "username added": (BY_ID, BOTH, ["username"]),
    "username removed": (BOTH, BY_ID, ["username"]),
    "invitationId changed": (BY_ID, BY_ID | {"invitationId": OTHER_ID}, ["invitationId"]),
    "invitationId added": ({}, BOTH, ["invitationId"]),
    "invitationId removed": (BOTH, {}, ["invitationId"]),
    "username becomes invitationId": ({}, BY_ID, ["username", "invitationId"]),
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_accepts_what_is_right(apply: Apply, change: dict[str, Any]) -> None:
    """A spec within the rules is accepted without a word of warning."""
    done = apply(invite(change))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_is_wrong(apply: Apply, change: dict[str, Any], message: str) -> None:
    """A spec outside the rules is refused at apply, with a message that names the field and the rule."""
    done = apply(invite(change))
    assert done.returncode != 0
    assert message in error(done)


def test_names_the_field_and_its_value(apply: Apply) -> None:
    """The error for a malformed id has the path of the field, the invalid value and the rule in words."""
    done = apply(invite({"groupId": ID.upper()}))
    assert f'spec.groupId: Invalid value: "{ID.upper()}": ' in done.stderr
    assert f"groupId {HEX}, as Atlas shows it" in done.stderr


def test_every_good_address_is_accepted(apply: Apply) -> None:
    """The CRD and the operator's own model welcome the same addresses."""
    done = apply(invites(GOOD.values()))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("created") == len(GOOD)


def test_every_bad_address_is_refused(apply: Apply) -> None:
    """The CRD and the operator's own model refuse the same addresses, with the same rule in the same words."""
    done = apply(invites(email for email, _ in BAD.values()))
    assert done.stdout == ""
    lines = done.stderr.strip().split("\n")
    assert len(lines) == len(BAD)
    for number, (line, (_, rule)) in enumerate(zip(lines, BAD.values(), strict=True)):
        assert f'"number-{number}" is invalid' in line
        assert f"username {rule}" in line


def test_refuses_an_object_without_spec(apply: Apply) -> None:
    """An object without spec is refused."""
    manifest = invite()
    del manifest["spec"]
    assert "spec: Required value" in apply(manifest).stderr


@pytest.mark.parametrize(("before", "after"), CHANGES_ACCEPTED.values(), ids=CHANGES_ACCEPTED)
def test_accepts_changes(apply: Apply, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Roles, the Secret, the policies and suspend can be changed, added and removed."""
    assert apply(invite(before)).returncode == 0
    done = apply(invite(after))
    assert (done.returncode, done.stderr) == (0, "")
    assert "configured" in done.stdout


@pytest.mark.parametrize(("before", "after", "fields"), CHANGES_REFUSED.values(), ids=CHANGES_REFUSED)
def test_refuses_another_identity(
    apply: Apply, before: dict[str, Any], after: dict[str, Any], fields: list[str]
) -> None:
    """Who is invited, and to which project, is not changed, added or removed later; the message says what to do."""
    assert apply(invite(before)).returncode == 0
    done = apply(invite(after))
    assert done.returncode != 0
    for field in fields:
        assert f"spec.{field}: Invalid value: {field} is immutable, it cannot be changed, added or removed" in error(
            done
        )
    assert done.stderr.count("is immutable") == len(fields)


def test_defaults(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """The defaults are Observe, Never and Stall; deletionPolicy has none, because its absence means something."""
    apply(invite())
    spec = control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "jsonpath={.spec}").stdout
    assert '"memberPolicy":"Observe"' in spec
    assert '"reinvitePolicy":"Never"' in spec
    assert '"departurePolicy":"Stall"' in spec
    assert "deletionPolicy" not in spec
    assert "suspend" not in spec


def test_server_side_apply_takes_roles_away(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """With server-side apply too, a role that is left out is gone."""
    apply(invite({"roles": ["GROUP_OWNER", "GROUP_READ_ONLY"]}), options=["--server-side"])
    assert apply(invite({"roles": ["GROUP_READ_ONLY"]}), options=["--server-side"]).returncode == 0
    roles = control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "jsonpath={.spec.roles}").stdout
    assert roles == '["GROUP_READ_ONLY"]'


@pytest.mark.parametrize("added_by", ["patch", "server-side apply"])
def test_a_role_that_somebody_else_adds_does_not_survive_an_apply(
    apply: Apply, control_plane: ControlPlane, namespace: str, added_by: str
) -> None:
    """A role that a second field manager adds is gone after the next server-side apply of the first, without conflict.

    Argo CD and Flux apply with ``--force-conflicts``.
    """
    owner = ["--server-side", "--field-manager=gitops", "--force-conflicts"]
    jane = ["ainv", "jane", "--namespace", namespace]
    assert apply(invite(), options=owner).returncode == 0
    if added_by == "patch":
        patch = json.dumps({"spec": {"roles": ["GROUP_READ_ONLY", "GROUP_OWNER"]}})
        control_plane.kubectl("patch", *jane, "--field-manager=hand", "--type=merge", "--patch", patch)
    else:
        hand = ["--server-side", "--field-manager=hand", "--force-conflicts"]
        assert apply(invite({"roles": ["GROUP_READ_ONLY", "GROUP_OWNER"]}), options=hand).returncode == 0
    roles = ["get", *jane, "-o", "jsonpath={.spec.roles}"]
    assert control_plane.kubectl(*roles).stdout == '["GROUP_READ_ONLY","GROUP_OWNER"]'
    done = apply(invite(), options=owner)
    assert (done.returncode, done.stderr) == (0, "")
    assert control_plane.kubectl(*roles).stdout == '["GROUP_READ_ONLY"]'


@pytest.mark.parametrize("options", [[], ["--server-side"]], ids=["client-side", "server-side"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples(control_plane: ControlPlane, namespace: str, example: Path, options: list[str]) -> None:
    """Every example is accepted as it is, in a namespace of the user's choice."""
    done = control_plane.kubectl("apply", "--namespace", namespace, *options, "-f", str(example))
    assert done.stderr == ""


def test_examples_together(control_plane: ControlPlane, namespace: str) -> None:
    """The examples can be applied all at once: no two are the same object, each Secret they name is there."""
    control_plane.kubectl("apply", "--namespace", namespace, "-f", str(EXAMPLES[0].parent))
    listed = control_plane.kubectl("get", "ainv,secrets", "-n", namespace, "-o", "name").stdout.splitlines()
    assert len(listed) == len(EXAMPLES)
    names = control_plane.kubectl(
        "get", "ainv", "-n", namespace, "-o", "jsonpath={.items[*].spec.connectionSecretRef.name}"
    ).stdout
    assert {f"secret/{name}" for name in names.split()} <= set(listed)
