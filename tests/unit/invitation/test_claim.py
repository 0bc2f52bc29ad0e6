"""What an object inherits from another one that is being deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.invitation.claim import inherits
from atlas_invites.invitation.model import Origin, State, Status
from atlas_invites.invitation.outcome import Reason
from tests.unit.builders import EMAIL, INVITATION_ID, OTHER_EMAIL, OTHER_ID, invitation, member, ready, spec, status

if TYPE_CHECKING:
    from atlas_invites.invitation.model import Spec

HAD = status(state=State.PENDING, origin=Origin.CREATED, invitation=invitation())
JOINED = status(state=State.ACCEPTED, origin=Origin.CREATED, member=member())


@pytest.mark.parametrize("had", [HAD, JOINED], ids=["pending", "member"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"username": EMAIL.upper()}, {"username": None, "invitationId": "its id"}, {"invitationId": "its id"}],
    ids=["e-mail", "upper case", "id", "both"],
)
def test_an_object_with_the_same_claim_inherits(had: Status, changes: dict[str, Any]) -> None:
    """By e-mail, by the id of the invitation or the member, or by both."""
    id_ = had.invitation.id if had.invitation else JOINED.member.id if JOINED.member else None
    named = {name: id_ if value == "its id" else value for name, value in changes.items()}
    assert inherits(spec(**named), Status(), spec(), had)


def test_a_suspended_object_inherits() -> None:
    """It does not call Atlas, but what it takes over keeps it from sending when it is resumed."""
    assert inherits(spec(suspend=True), Status(), spec(), HAD)


@pytest.mark.parametrize("state", State)
def test_what_has_ended_is_inherited_too(state: State) -> None:
    """An object that takes over then knows that the person declined or left; an unknown state is not inherited."""
    had = HAD.model_copy(update={"state": state})
    assert inherits(spec(), Status(), spec(), had) is (state is not State.UNKNOWN)


@pytest.mark.parametrize(
    ("successor", "known"),
    [
        (None, Status()),
        (spec(username=OTHER_EMAIL, invitationId=INVITATION_ID), Status()),
        (spec(invitationId=OTHER_ID), Status()),
        (spec(), status(invitation=invitation(id=OTHER_ID))),
        (spec(), status(member=member())),
    ],
    ids=["unreadable", "another e-mail", "another id", "has an invitation", "has a member"],
)
def test_which_objects_do_not_inherit(successor: Spec | None, known: Status) -> None:
    """Objects that cannot show it, name something else too, or have an invitation already."""
    assert not inherits(successor, known, spec(), HAD)


@pytest.mark.parametrize("reason", [Reason.DUPLICATE_INVITE, Reason.IDENTITY_MISMATCH])
def test_what_may_belong_to_others_is_not_inherited(reason: Reason) -> None:
    """The former object did not have what its status shows."""
    assert not inherits(spec(), Status(), spec(), HAD.model_copy(update={"conditions": (ready(reason),)}))


def test_an_unreadable_object_passes_on_what_its_status_shows() -> None:
    """Its spec cannot be read, but status has the e-mail."""
    assert inherits(spec(), Status(), None, HAD)
