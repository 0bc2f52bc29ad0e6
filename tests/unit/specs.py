"""Specs that the CRD accepts and rejects, and changes of them: one corpus for the API server and for ``plan``.

``tests/cluster/test_crd_spec.py`` lets a real API server judge each; ``tests/unit/preview/test_rules.py`` checks that
``atlas-invites plan`` gives the same verdicts.
"""

from __future__ import annotations

from typing import Any

from tests.unit.emails import TOO_LONG
from tests.unit.roles import ROLES

ID = "32b6e34b3d91647abb20e7b8"
OTHER_ID = "5f3c9d2e8a7b6c5d4e3f2a1b"
PROJECT_REF = {"groupId": None, "projectRef": {"name": "my-project"}}
BY_ID = {"username": None, "invitationId": ID}
BOTH = {"invitationId": ID}

HEX = "must be 24 hex digits in lower case"
NAMESPACE = "namespace must be the name of a namespace (lower-case letters, digits and '-')"
KUBERNETES_NAME = "name must be a Kubernetes name (lower-case letters, digits, '-' and '.')"
ONE_PROJECT = "spec: Invalid value: set either groupId or projectRef, not both"
SOMEBODY = "spec: Invalid value: set username, invitationId or both"
POLICIES = {
    "deletionPolicy": "Retain",
    "memberPolicy": "Manage",
    "reinvitePolicy": "OnExpiry",
    "departurePolicy": "Settle",
}
NEEDS_USERNAME = "spec.reinvitePolicy: Invalid value: reinvitePolicy OnExpiry needs username"


def invite(*changes: dict[str, Any], name: str = "jane") -> dict[str, Any]:
    """Return a valid manifest with these fields of its spec changed (None: left out)."""
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
    "an organization's role": ({"roles": ["ORG_OWNER"]}, 'spec.roles[0]: Unsupported value: "ORG_OWNER"'),
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
