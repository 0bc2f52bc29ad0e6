"""What the status subresource keeps, and what ``kubectl get`` shows of it, on a real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.invitation.model import Status
from tests.unit.roles import ROLES
from tests.unit.specs import BY_ID, ID, invite

if TYPE_CHECKING:
    from tests.cluster.conftest import Apply
    from tests.control_plane.control_plane import ControlPlane

pytestmark = pytest.mark.usefixtures("crds")

NOW = "2026-08-10T03:04:53Z"


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": NOW,
    }


FULL: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        condition(
            "Ready", "False", "InvalidRequest", "Atlas refused UpdateInvite (400 INVALID_ENUM_VALUE): change roles"
        ),
        condition(
            "Stalled", "True", "InvalidRequest", "Atlas refused UpdateInvite (400 INVALID_ENUM_VALUE): change roles"
        ),
        condition("Accepted", "False", "Pending", "jane has not accepted yet"),
    ],
    "rolesSummary": "GROUP_OWNER,GROUP_READ_ONLY",
    "state": "Pending",
    "origin": "Created",
    "invitation": {
        "api": "Invites",
        "id": ID,
        "groupId": ID,
        "groupName": "my project",
        "username": "jane@example.com",
        "inviterUsername": "abcdefgh",
        "roles": ["GROUP_OWNER", "GROUP_READ_ONLY"],
        "createdAt": NOW,
        "expiresAt": "2026-09-09T03:04:53Z",
        "links": [{"href": "https://cloud.mongodb.com/api/atlas", "rel": "self"}],
    },
    "member": {
        "id": ID,
        "username": "jane@example.com",
        "roles": ["GROUP_READ_ONLY"],
        "orgMembershipStatus": "ACTIVE",
    },
    "error": {
        "operation": "UpdateInvite",
        "error": 400,
        "errorCode": "INVALID_ENUM_VALUE",
        "reason": "Bad Request",
        "detail": "An invalid enumeration value GROUP_MORE was specified.",
        "parameters": ["GROUP_MORE", 12, True, None, {"nested": ["x", None]}, []],
        "badRequestDetail": {"fields": [{"field": "roles", "description": "must be a role"}]},
    },
    "atlas": {"api": "Invites", "deprecatedSince": "2023-10-04T00:00:00Z", "sunset": "2027-07-01T00:00:00Z"},
    "lastHandledReconcileAt": "today, please",
    "lastHandledResendAt": "tomorrow",
}


@pytest.fixture
def write_status(control_plane: ControlPlane, namespace: str) -> WriteStatus:
    """Write the status of the object ``jane`` as the operator does."""
    return WriteStatus(control_plane, namespace)


class WriteStatus:
    """Merge into the status of the object ``jane``, and return the stored status."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._control_plane = control_plane
        self._object = ["ainv", "jane", "--namespace", namespace]

    def __call__(self, status: dict[str, Any]) -> dict[str, Any]:
        patch = json.dumps({"status": status})
        self._control_plane.kubectl("patch", *self._object, "--subresource=status", "--type=merge", "--patch", patch)
        kept: dict[str, Any] = json.loads(self._control_plane.kubectl("get", *self._object, "-o", "json").stdout)[
            "status"
        ]
        return kept


def table(control_plane: ControlPlane, *args: str) -> dict[str, str]:
    """Return what ``kubectl get`` shows of one object, by column: a value ends where the next header begins."""
    header, row = control_plane.kubectl("get", *args).stdout.splitlines()
    names = header.split()
    starts = [header.index(name) for name in names]
    ends: list[int | None] = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}


def test_a_new_object_is_not_observed(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """A new object's status is observedGeneration -1 and nothing else, so that kstatus does not report it as done."""
    apply(invite())
    status = control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "jsonpath={.status}").stdout
    assert json.loads(status) == {"observedGeneration": -1}


def test_a_full_status_is_kept(apply: Apply, write_status: WriteStatus) -> None:
    """A status with every field is stored unchanged, whatever JSON Atlas put into an error's parameters."""
    apply(invite())
    assert write_status(FULL) == FULL


def test_the_full_status_is_full() -> None:
    """The status of these tests has every field that the operator can write. The operator reads it back unchanged."""
    status = Status.model_validate(FULL)
    assert status.to_wire() == FULL
    assert all(getattr(status, field) for field in Status.model_fields)


def test_values_from_atlas_are_not_validated(apply: Apply, write_status: WriteStatus) -> None:
    """No value from Atlas makes a status write fail: unknown roles, odd times, long and empty texts."""
    apply(invite())
    strange = {
        "invitation": {
            "id": "",
            "groupId": "no id",
            "username": "no e-mail",
            "roles": ["GROUP_NEW", "GROUP_NEW", "", *(f"GROUP_{i}" for i in range(100))],
            "createdAt": "yesterday",
            "expiresAt": "",
            "links": [{}],
        },
        "member": {"orgMembershipStatus": "SOMETHING_NEW", "roles": []},
        "error": {"error": 99, "errorCode": "", "detail": "long " * 20_000, "parameters": [], "badRequestDetail": {}},
        "atlas": {"deprecatedSince": "long ago", "sunset": "soon"},
        "lastHandledReconcileAt": "x" * 1000,
    }
    assert write_status(strange) == strange | {"observedGeneration": -1}


def test_fields_of_status_can_be_removed(apply: Apply, write_status: WriteStatus) -> None:
    """A merge patch with null removes a field, and conditions are replaced as a whole."""
    apply(invite())
    write_status(FULL)
    ready = [condition("Ready", "True", "Invited", "jane is invited")]
    kept = write_status({"error": None, "member": None, "conditions": ready})
    assert kept == {field: value for field, value in FULL.items() if field not in {"error", "member"}} | {
        "conditions": ready
    }


def test_users_cannot_write_status(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """A status in an applied manifest is ignored, and a status write does not change the spec or its generation."""
    apply(invite() | {"status": {"state": "Accepted"}})
    patch = json.dumps({"spec": {"roles": ROLES}, "status": {"state": "Pending"}})
    control_plane.kubectl(
        "patch", "ainv", "jane", "-n", namespace, "--subresource=status", "--type=merge", "--patch", patch
    )
    kept = json.loads(control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "json").stdout)
    assert kept["status"] == {"observedGeneration": -1, "state": "Pending"}
    assert kept["spec"]["roles"] == ["GROUP_READ_ONLY"]
    assert kept["metadata"]["generation"] == 1


def test_columns(apply: Apply, write_status: WriteStatus, control_plane: ControlPlane, namespace: str) -> None:
    """``kubectl get ainv`` shows invitee, state, expiry and reason; ``-o wide`` adds roles and message."""
    apply(invite({"roles": ["GROUP_READ_ONLY", "GROUP_OWNER"]}))
    write_status(FULL)
    narrow = table(control_plane, "ainv", "-n", namespace)
    assert narrow.pop("AGE")
    assert narrow == {
        "NAME": "jane",
        "READY": "False",
        "STATE": "Pending",
        "USERNAME": "jane@example.com",
        "EXPIRES": "2026-09-09T03:04:53Z",
        "REASON": "InvalidRequest",
    }
    wide = table(control_plane, "ainv", "-n", namespace, "-o", "wide")
    assert list(wide) == ["NAME", "READY", "STATE", "USERNAME", "ROLES", "EXPIRES", "REASON", "AGE", "MESSAGE"]
    assert wide["ROLES"] == "GROUP_OWNER,GROUP_READ_ONLY"
    assert wide["MESSAGE"] == "Atlas refused UpdateInvite (400 INVALID_ENUM_VALUE): change roles"


OTHERS = {
    "spec.groupId": {"groupId": "5f3c9d2e8a7b6c5d4e3f2a1b"},
    "spec.username": {"username": "joe@example.com"},
    "status.state": {},
}


@pytest.mark.parametrize("field", OTHERS)
def test_field_selectors(
    apply: Apply, write_status: WriteStatus, control_plane: ControlPlane, namespace: str, field: str
) -> None:
    """``kubectl get ainv --field-selector`` selects by project, by e-mail and by state."""
    apply(invite(), invite(OTHERS[field], name="other"))
    write_status(FULL)
    value = {"spec.groupId": ID, "spec.username": "jane@example.com", "status.state": "Pending"}[field]
    get = ["get", "ainv", "-n", namespace, "-o", "name", "--field-selector"]
    jane, other = (f"atlasprojectinvite.atlasinvites.io/{name}\n" for name in ("jane", "other"))
    assert control_plane.kubectl(*get, f"{field}={value}").stdout == jane
    assert control_plane.kubectl(*get, f"{field}!={value}").stdout == other


def test_column_username_before_the_first_response(apply: Apply, control_plane: ControlPlane, namespace: str) -> None:
    """An object by e-mail shows its e-mail from the start."""
    apply(invite())
    assert table(control_plane, "ainv", "-n", namespace)["USERNAME"] == "jane@example.com"


def test_column_username_by_id(
    apply: Apply, write_status: WriteStatus, control_plane: ControlPlane, namespace: str
) -> None:
    """An object by id shows the e-mail of Atlas's response, once there is one."""
    apply(invite(BY_ID))
    assert table(control_plane, "ainv", "-n", namespace)["USERNAME"] == ""
    write_status({"invitation": {"id": ID, "username": "joe@example.com", "inviterUsername": "owner@example.com"}})
    assert table(control_plane, "ainv", "-n", namespace)["USERNAME"] == "joe@example.com"


@pytest.mark.parametrize("name", ["ainv", "atlasprojectinvite", "atlasprojectinvites", "atlas"])
def test_names(apply: Apply, control_plane: ControlPlane, namespace: str, name: str) -> None:
    """The resource is found by its short name, its singular and plural, and in the category atlas."""
    apply(invite())
    found = control_plane.kubectl("get", name, "-n", namespace, "-o", "name").stdout
    assert found == "atlasprojectinvite.atlasinvites.io/jane\n"
