"""Build the test data: one project, one person, one object, with the changes that a test makes."""

# ruff: noqa: ANN401 - fields are whatever JSON holds

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.model import Api, Condition, ErrorBody, Invitation, Member, Membership, Spec, Status, User
from atlas_invites.invitation.resource import Key, Resource

if TYPE_CHECKING:
    from atlas_invites.invitation.outcome import Reason

GROUP_ID = "32b6e34b3d91647abb20e7b8"
INVITATION_ID = "5f4fe14da2b47835a58c635e"
OTHER_ID = "5f4fe14da2b47835a58c6000"
USER_ID = "6a4fe14da2b47835a58c6111"
EMAIL = "jane@example.com"
OTHER_EMAIL = "joe@example.com"
READER, OWNER, STREAMS = "GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_STREAM_PROCESSING_OWNER"
KEY = Key("team-a", "jane")
SECRET = Key("team-a", "atlas-credentials")

CREATED = datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)
EXPIRES = CREATED + timedelta(days=30)
NOW = CREATED + timedelta(days=1)


def time_text(time: datetime) -> str:
    """Return a time in the format of Atlas and Kubernetes."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def wire_spec(**changes: Any) -> dict[str, Any]:
    """Return ``.spec`` as a user writes it; a field set to None is left out."""
    fields = {
        "groupId": GROUP_ID,
        "username": EMAIL,
        "roles": [READER],
        "connectionSecretRef": {"name": SECRET.name},
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def spec(**changes: Any) -> Spec:
    """Return ``wire_spec`` as the operator reads it."""
    return Spec.model_validate(wire_spec(**changes))


def body(key: Key = KEY, **metadata: Any) -> dict[str, Any]:
    """Return an object as the API server sends it.

    ``spec`` and ``status`` replace those parts; the rest is metadata.
    """
    spec_ = metadata.pop("spec", None) or wire_spec()
    status_ = metadata.pop("status", None) or {"observedGeneration": -1}
    return {
        "apiVersion": "atlasinvites.io/v1alpha1",
        "kind": "AtlasProjectInvite",
        "metadata": {
            "namespace": key.namespace,
            "name": key.name,
            "uid": f"uid-of-{key.name}",
            "resourceVersion": "100",
            "generation": 1,
            "creationTimestamp": "2026-08-10T03:00:00Z",
            **metadata,
        },
        "spec": spec_,
        "status": status_,
    }


def resource(key: Key = KEY, **metadata: Any) -> Resource:
    """Return ``body`` as the operator stores it."""
    return Resource.from_body(body(key, **metadata))


def invitation(**changes: Any) -> Invitation:
    """Return the pending invitation of the Invites API."""
    fields = {
        "id": INVITATION_ID,
        "groupId": GROUP_ID,
        "groupName": "payments",
        "username": EMAIL,
        "inviterUsername": "ABCDEFGH",
        "roles": [READER],
        "createdAt": time_text(CREATED),
        "expiresAt": time_text(EXPIRES),
        **changes,
    }
    return Invitation.model_validate(fields)


def user(membership: str = Membership.ACTIVE, **changes: Any) -> User:
    """Return a user as the Users API shows one, with the dates of an invitation unless ACTIVE."""
    fields: dict[str, Any] = {
        "id": USER_ID,
        "username": EMAIL,
        "roles": [READER],
        "orgMembershipStatus": membership,
        **changes,
    }
    if membership != Membership.ACTIVE:
        dates = {"invitationCreatedAt": time_text(CREATED), "invitationExpiresAt": time_text(EXPIRES)}
        fields = {**dates, "inviterUsername": "ABCDEFGH", **fields}
    return User.model_validate(fields)


def users_invitation(**changes: Any) -> Invitation:
    """Return the pending invitation of the Users API, as status stores it."""
    return invitation(id=USER_ID, api=Api.USERS, groupName=None, **changes)


def member(**changes: Any) -> Member:
    """Return ``status.member``."""
    return Member.model_validate({"id": USER_ID, "username": EMAIL, "roles": [READER], **changes})


def ready(reason: Reason, *, status: str = "False", generation: int = 1, message: str = "said before") -> Condition:
    """Return the condition Ready."""
    return Condition(
        type=READY,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time="2026-08-01T00:00:00Z",
    )


def status(**fields: Any) -> Status:
    """Return ``.status`` as the operator stores it."""
    return Status(**fields)


def error(http: int = 400, code: str = "INVALID_ATTRIBUTE", **fields: Any) -> ErrorBody:
    """Return an error as Atlas returns it."""
    return ErrorBody.model_validate({"error": http, "errorCode": code, **fields})
