"""What ``kubectl apply`` accepts of a spec, and how it rejects the rest: the rules of crds/, on a real API server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.emails import BAD, GOOD
from tests.unit.specs import ACCEPTED, CHANGES_ACCEPTED, CHANGES_REFUSED, HEX, ID, REFUSED, invite

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

    from tests.cluster.conftest import Apply
    from tests.control_plane.control_plane import ControlPlane

pytestmark = pytest.mark.usefixtures("crds")

EXAMPLES = sorted((Path(__file__).parents[2] / "deploy" / "examples").glob("*.yaml"))


def error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error of ``kubectl apply`` without the type of the value, which Kubernetes before 1.35 adds."""
    return re.sub(r'Invalid value: "(array|object|string)": ', "Invalid value: ", done.stderr)


def invites(emails: Iterable[str]) -> dict[str, Any]:
    """Return a list of manifests, one for each address.

    In one document, which kubectl reads as JSON and not as YAML.
    """
    items = [invite({"username": email}, name=f"number-{number}") for number, email in enumerate(emails)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_accepts_valid_specs(apply: Apply, change: dict[str, Any]) -> None:
    """A spec within the rules is accepted without a warning."""
    done = apply(invite(change))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_rejects_invalid_specs(apply: Apply, change: dict[str, Any], message: str) -> None:
    """A spec that breaks a rule is rejected by apply, with a message that names the field and the rule."""
    done = apply(invite(change))
    assert done.returncode != 0
    assert message in error(done)


def test_names_the_field_and_its_value(apply: Apply) -> None:
    """The error for a malformed id has the path of the field, the invalid value and the text of the rule."""
    done = apply(invite({"groupId": ID.upper()}))
    assert f'spec.groupId: Invalid value: "{ID.upper()}": ' in done.stderr
    assert f"groupId {HEX}, as Atlas shows it" in done.stderr


def test_every_valid_address_is_accepted(apply: Apply) -> None:
    """The CRD and the operator's own model accept the same addresses."""
    done = apply(invites(GOOD.values()))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("created") == len(GOOD)


def test_every_invalid_address_is_rejected(apply: Apply) -> None:
    """The CRD and the operator's own model reject the same addresses, with the same text."""
    done = apply(invites(email for email, _ in BAD.values()))
    assert done.stdout == ""
    lines = done.stderr.strip().split("\n")
    assert len(lines) == len(BAD)
    for number, (line, (_, rule)) in enumerate(zip(lines, BAD.values(), strict=True)):
        assert f'"number-{number}" is invalid' in line
        assert f"username {rule}" in line


def test_rejects_an_object_without_spec(apply: Apply) -> None:
    """An object without spec is rejected."""
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
def test_rejects_another_identity(
    apply: Apply, before: dict[str, Any], after: dict[str, Any], fields: list[str]
) -> None:
    """The invitee and the project cannot be changed, added or removed later; the message says what to do."""
    assert apply(invite(before)).returncode == 0
    done = apply(invite(after))
    assert done.returncode != 0
    for field in fields:
        assert f"spec.{field}: Invalid value: {field} is immutable, it cannot be changed, added or removed" in error(
            done
        )
    assert done.stderr.count("is immutable") == len(fields)


def test_defaults(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """The defaults are Observe, Never and Stall; deletionPolicy has none, because its absence has a meaning."""
    apply(invite())
    spec = control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "jsonpath={.spec}").stdout
    assert '"memberPolicy":"Observe"' in spec
    assert '"reinvitePolicy":"Never"' in spec
    assert '"departurePolicy":"Stall"' in spec
    assert "deletionPolicy" not in spec
    assert "suspend" not in spec


def test_server_side_apply_removes_roles(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """With server-side apply too, a role that is left out is gone."""
    apply(invite({"roles": ["GROUP_OWNER", "GROUP_READ_ONLY"]}), options=["--server-side"])
    assert apply(invite({"roles": ["GROUP_READ_ONLY"]}), options=["--server-side"]).returncode == 0
    roles = control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "jsonpath={.spec.roles}").stdout
    assert roles == '["GROUP_READ_ONLY"]'


@pytest.mark.parametrize("added_by", ["patch", "server-side apply"])
def test_a_role_that_others_add_is_removed_by_the_next_apply(
    apply: Apply, control_plane: ControlPlane, namespace: str, added_by: str
) -> None:
    """A role that a second field manager adds is gone after the first one's next server-side apply.

    There is no conflict. Argo CD and Flux apply with ``--force-conflicts``.
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
    """Every example is accepted unchanged, in any namespace."""
    done = control_plane.kubectl("apply", "--namespace", namespace, *options, "-f", str(example))
    assert done.stderr == ""


def test_examples_together(control_plane: ControlPlane, namespace: str) -> None:
    """The examples can be applied together: all are different objects, and each Secret that they name is included."""
    control_plane.kubectl("apply", "--namespace", namespace, "-f", str(EXAMPLES[0].parent))
    listed = control_plane.kubectl("get", "ainv,secrets", "-n", namespace, "-o", "name").stdout.splitlines()
    assert len(listed) == len(EXAMPLES)
    names = control_plane.kubectl(
        "get", "ainv", "-n", namespace, "-o", "jsonpath={.items[*].spec.connectionSecretRef.name}"
    ).stdout
    assert {f"secret/{name}" for name in names.split()} <= set(listed)
