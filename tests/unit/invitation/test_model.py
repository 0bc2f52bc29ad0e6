"""The models: camelCase, frozen, tolerant, without invented values."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from atlas_invites.invitation import model
from atlas_invites.invitation.email import email_fault
from atlas_invites.invitation.model import (
    Api,
    AtlasInfo,
    ErrorBody,
    Invitation,
    Link,
    Membership,
    Operation,
    Spec,
    Status,
)
from tests.unit.builders import (
    EMAIL,
    GROUP_ID,
    INVITATION_ID,
    OTHER_ID,
    OWNER,
    READER,
    USER_ID,
    invitation,
    spec,
    user,
    wire_spec,
)

SEED_INVITATION = {
    "createdAt": "2026-08-10T03:04:53Z",
    "expiresAt": "2026-09-09T03:04:53Z",
    "groupId": GROUP_ID,
    "groupName": "payments",
    "id": INVITATION_ID,
    "inviterUsername": "admin@example.com",
    "links": [{"href": "https://cloud.mongodb.com/api/atlas", "rel": "self"}],
    "roles": ["GROUP_OWNER", "GROUP_READ_ONLY"],
    "username": EMAIL,
}
SEED_ERROR = {
    "badRequestDetail": {"fields": [{"description": "is not a role", "field": "roles"}]},
    "detail": "(This is just an example) Cannot use non-daylight saving time in time zone.",
    "error": 400,
    "errorCode": "VALIDATION_ERROR",
    "parameters": ["a", 1, None],
    "reason": "Bad Request",
}


def test_every_response_field_of_the_seed_survives() -> None:
    """An invitation goes through status and back unchanged."""
    kept = Invitation.model_validate(SEED_INVITATION)
    assert kept.to_wire() == {**SEED_INVITATION, "api": "Invites"}
    assert Invitation.model_validate(kept.to_wire()) == kept


def test_every_error_field_of_the_seed_survives() -> None:
    """An error goes through status and back unchanged, with the operation."""
    kept = ErrorBody.model_validate({**SEED_ERROR, "operation": "UpdateInvite"})
    assert kept.to_wire() == {**SEED_ERROR, "operation": "UpdateInvite"}
    assert ErrorBody.model_validate(kept.to_wire()) == kept


@pytest.mark.parametrize(
    "model_", [m for m in vars(model).values() if isinstance(m, type) and issubclass(m, BaseModel)]
)
def test_models_ignore_unknown_fields_and_are_frozen(model_: type[BaseModel]) -> None:
    """A newer CRD or Atlas breaks nothing, and a value that is shared cannot be changed."""
    assert model_.model_config.get("extra", "ignore") == "ignore"
    if issubclass(model_, model.Model):
        assert model_.model_config["frozen"]


def test_unknown_fields_are_ignored_at_every_depth() -> None:
    """Unknown fields in a spec, an invitation, a user, an error make no difference."""
    assert spec(newField=1, connectionSecretRef={"name": "atlas-credentials", "key": "x"}) == spec()
    assert invitation(color="red", links=[{"href": "h", "rel": "self", "title": "t"}]).links == (
        Link(href="h", rel="self"),
    )
    assert user(mobileNumber="1", lastAuth="never") == user()
    assert ErrorBody.model_validate({"error": 500, "errorCode": "X", "help": "no"}).to_wire() == {
        "error": 500,
        "errorCode": "X",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"roles": []}, "roles"),
        ({"roles": None}, "roles"),
        ({"roles": [READER, "ORG_OWNER"]}, "roles"),
        ({"roles": ["group_owner"]}, "roles"),
        ({"connectionSecretRef": "atlas-credentials"}, "connectionSecretRef"),
        ({"deletionPolicy": "Burn"}, "deletionPolicy"),
        ({"memberPolicy": "Love"}, "memberPolicy"),
        ({"reinvitePolicy": "Always"}, "reinvitePolicy"),
        ({"departurePolicy": "Ignore"}, "departurePolicy"),
        ({"username": "jane@example.com;"}, "username"),
    ],
)
def test_a_spec_that_the_crd_rejects_cannot_be_read(changes: dict[str, Any], field: str) -> None:
    """A spec that breaks the CRD's rules is an error that names the field as the user wrote it."""
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(wire_spec(**changes))
    assert [e["loc"] for e in caught.value.errors()] == [(field,)]


def test_an_address_with_pasted_characters_is_named_by_its_rule() -> None:
    """The message states the rule; it does not repeat the address."""
    with pytest.raises(ValidationError) as caught:
        spec(username="canary@example.com\u200b")
    assert [e["msg"] for e in caught.value.errors()] == [email_fault("canary@example.com\u200b")]
    assert "canary" not in str(caught.value)


def test_errors_do_not_show_the_value() -> None:
    """The text of an error may be logged, so it never shows the value: it may be an e-mail."""
    with pytest.raises(ValidationError) as caught:
        Invitation.model_validate({"id": {"who": "canary@example.com"}})
    assert "canary" not in str(caught.value)


def test_defaults_of_the_spec() -> None:
    """Not set: Observe, Never, Stall, not suspended; the default of the deletion policy depends on the origin."""
    plain = spec()
    assert (plain.member_policy, plain.reinvite_policy, plain.departure_policy) == ("Observe", "Never", "Stall")
    assert (plain.suspend, plain.deletion_policy) == (False, None)


def test_order_and_repetition_of_roles_are_not_significant() -> None:
    """Two responses that differ in the order of roles are equal."""
    assert invitation(roles=[READER, OWNER, READER]) == invitation(roles=[OWNER, READER])
    assert user(roles=[READER, OWNER, READER]) == user(roles=[OWNER, READER])
    assert spec(roles=[READER, OWNER]) == spec(roles=[OWNER, READER])


def test_a_pending_user_is_an_invitation() -> None:
    """The id is the user's; the dates are the invitation's; there is no groupName."""
    assert user(Membership.PENDING).as_invitation().to_wire() == {
        "id": USER_ID,
        "api": "Users",
        "username": EMAIL,
        "inviterUsername": "ABCDEFGH",
        "roles": [READER],
        "createdAt": "2026-08-10T03:04:53Z",
        "expiresAt": "2026-09-09T03:04:53Z",
    }


def test_responses_with_missing_fields_are_completed() -> None:
    """Missing fields come from the response before, if it is of the same invitation and the same API."""
    before = invitation(links=[{"rel": "self"}])
    sparse = Invitation(id=INVITATION_ID, roles=(OWNER,))
    assert sparse.completed_by(before) == before.model_copy(update={"roles": (OWNER,)})
    assert sparse.completed_by(None) == sparse
    for other in (invitation(id=OTHER_ID), invitation(api="Users")):
        assert sparse.completed_by(other) == sparse


def test_the_end_of_an_api_is_remembered() -> None:
    """Dates that a response lacks are kept; the API in use is always the current one."""
    before = AtlasInfo(api=Api.INVITES, deprecated_since="2023-10-04", sunset="2027-07-01")
    assert AtlasInfo(api=Api.USERS).completed_by(before) == before.model_copy(update={"api": Api.USERS})
    assert AtlasInfo(sunset="2028-01-01").completed_by(before).sunset == "2028-01-01"
    assert AtlasInfo().completed_by(None) == AtlasInfo()


def test_the_operations_are_part_of_the_interface() -> None:
    """status.error.operation has these values and no others."""
    names = (
        "ListInvites CreateInvite UpdateInvite ReadInvite CancelInvite ListUsers AddUser ReadUser RemoveUser AddRole "
        "RemoveRole ReadProject Token"
    )
    assert " ".join(Operation) == names


def test_the_states_origins_and_policies_are_part_of_the_interface() -> None:
    """The enumerations of the resource have these values and no others."""
    assert [str(s) for s in model.State] == ["Pending", "Accepted", "Expired", "Withdrawn", "Removed", "Unknown"]
    assert [str(o) for o in model.Origin] == ["Created", "Adopted"]
    assert [str(p) for p in model.DeletionPolicy] == ["Cancel", "Retain", "Revoke"]
    assert [str(p) for p in model.MemberPolicy] == ["Observe", "Manage"]
    assert [str(p) for p in model.ReinvitePolicy] == ["Never", "OnExpiry"]


def test_an_empty_status_is_the_crds_default() -> None:
    """A status that was not written has observedGeneration -1, so that kstatus does not call a new object Current."""
    assert Status().to_wire()["observedGeneration"] == -1
