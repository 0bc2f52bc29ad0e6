"""Which object claims an invitation: the oldest one whose credentials have read the project."""

from __future__ import annotations

from typing import Any

import pytest

from atlas_invites.controller.claims import Claims
from atlas_invites.invitation.resource import FINALIZER, Key, Resource
from tests.unit.builders import (
    EMAIL,
    GROUP_ID,
    INVITATION_ID,
    OTHER_EMAIL,
    OTHER_ID,
    USER_ID,
    body,
    invitation,
    wire_spec,
)

OLD, NEW = "2026-08-01T00:00:00Z", "2026-08-02T00:00:00Z"
ONE, TWO = Key("team-a", "one"), Key("team-b", "two")


def object_(key: Key, created: str = OLD, uid: str | None = None, **more: Any) -> Resource:  # noqa: ANN401 - metadata
    parts = {"spec": more.pop("spec", wire_spec()), "status": more.pop("status", {})}
    return Resource.from_body(body(key, creationTimestamp=created, uid=uid or key.name, **more) | parts)


def claims(*objects: Resource, proven: bool = True) -> Claims:
    made = Claims()
    for one in objects:
        made.update(one)
        if proven:
            made.prove(one.key)
    return made


def test_the_older_holds_it() -> None:
    """Of two objects with the same claim, the one that was created first has it."""
    made = claims(object_(ONE, NEW), object_(TWO, OLD))
    assert made.holder(ONE) == TWO
    assert made.holder(TWO) is None


def test_the_uid_decides_within_a_second() -> None:
    """If both were created in the same second, the smaller uid counts as older."""
    made = claims(object_(ONE, uid="b"), object_(TWO, uid="a"))
    assert made.holder(ONE) == TWO
    assert made.holder(TWO) is None


def test_an_object_without_proof_claims_nothing() -> None:
    """An older object whose credentials have not read the project takes nothing from others."""
    made = claims(object_(ONE, NEW), object_(TWO, OLD), proven=False)
    assert made.holder(ONE) is None
    made.prove(TWO)
    assert made.holder(ONE) == TWO


@pytest.mark.parametrize(
    "status",
    [{"invitation": invitation().to_wire()}, {"member": {"id": OTHER_ID}}],
    ids=["invitation", "member"],
)
def test_status_is_proof(status: dict[str, Any]) -> None:
    """A status that shows the project proves the claim, also right after a start."""
    made = claims(object_(ONE, NEW), object_(TWO, OLD, status=status), proven=False)
    assert made.holder(ONE) == TWO


def test_emails_in_any_case_and_ids_in_spec_and_status_match() -> None:
    """An e-mail in another case, an id in a spec and the same id in a status: all name the same invitation."""
    by_id = wire_spec(username=None, invitationId=INVITATION_ID)
    three, four = Key("team-a", "three"), Key("team-a", "four")
    made = claims(
        object_(ONE, status={"invitation": invitation().to_wire()}),
        object_(three, NEW, spec=by_id),
        object_(four, NEW, spec=wire_spec(username=EMAIL.upper())),
    )
    assert made.holder(three) == ONE
    assert made.holder(four) == ONE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("jane@bücher.example", "Jane@xn--bcher-kva.example"),
        ("jos\u00e9@example.com", "jose\u0301@example.com"),
    ],
)
def test_emails_in_any_form_match(one: str, other: str) -> None:
    """A domain in Unicode or IDNA form, an accent as one character or two: all name the same invitation."""
    younger = object_(ONE, NEW, spec=wire_spec(username=one))
    assert claims(younger, object_(TWO, spec=wire_spec(username=other))).holder(ONE) == TWO
    unplaced = object_(TWO, spec=wire_spec(groupId=None, projectRef={"name": "mine"}, username=other))
    assert claims(younger, unplaced, proven=False).awaits_older(ONE)


def test_other_people_and_other_projects_do_not_match() -> None:
    """Another e-mail, or the same e-mail in another project, is another invitation."""
    three = Key("team-a", "three")
    made = claims(
        object_(ONE),
        object_(TWO, NEW, spec=wire_spec(username=OTHER_EMAIL)),
        object_(three, NEW, spec=wire_spec(groupId="f" * 24)),
    )
    assert made.holder(TWO) is None
    assert made.holder(three) is None


def test_a_reference_counts_once_it_is_resolved() -> None:
    """A projectRef names a project only once its id is known."""
    reference = wire_spec(projectRef={"name": "mine"})
    del reference["groupId"]
    younger = object_(ONE, NEW, spec=reference)
    made = claims(younger, object_(TWO, OLD))
    assert made.holder(ONE) is None
    made.resolve(younger, GROUP_ID)
    assert made.holder(ONE) == TWO


def test_a_younger_object_waits_only_for_older_ones() -> None:
    """It waits for older objects that were not evaluated, but not for younger or deleting ones."""
    made = claims(object_(ONE, NEW), object_(TWO, OLD), proven=False)
    assert made.awaits_older(ONE)
    assert not made.awaits_older(TWO)
    assert made.awaits_any(TWO)
    made.mark_evaluated(TWO)
    assert not made.awaits_older(ONE)
    deleting = claims(object_(ONE, NEW), object_(TWO, deletionTimestamp=NEW), proven=False)
    assert not deleting.awaits_older(ONE)


def test_a_deletion_asks_for_live_claimants() -> None:
    """Any other live object with the same claim counts, older or younger; one that is being deleted does not."""
    assert claims(object_(ONE, OLD), object_(TWO, NEW)).live_claimant(ONE) == TWO
    assert claims(object_(ONE, NEW), object_(TWO, OLD)).live_claimant(ONE) == TWO
    assert claims(object_(ONE, OLD), object_(TWO, NEW, deletionTimestamp=NEW)).live_claimant(ONE) is None
    assert claims(object_(ONE, OLD), object_(TWO, NEW), proven=False).live_claimant(ONE) is None


def test_objects_that_may_take_over_are_woken() -> None:
    """When the older object is gone, objects that name the same invitation are reconciled."""
    woken: list[Key] = []
    made = claims(object_(ONE, NEW), object_(TWO, OLD))
    made.wake = woken.extend
    made.forget(TWO)
    assert woken == [ONE]
    assert made.holder(ONE) is None


def test_objects_that_lose_are_woken() -> None:
    """An older object proves its claim late: the younger one, which was evaluated before, is reconciled again."""
    woken: list[Key] = []
    made = claims(object_(ONE, NEW), object_(TWO, OLD), proven=False)
    made.prove(ONE)
    made.mark_evaluated(ONE)
    made.wake = woken.extend
    made.prove(TWO)
    assert woken == [ONE]


def test_a_new_object_of_the_same_name_proves_nothing() -> None:
    """It has its own claim, which is not proven yet."""
    made = claims(object_(ONE, NEW), object_(TWO, OLD))
    made.update(object_(TWO, OLD, uid="another"))
    assert made.holder(ONE) is None


def by_reference(key: Key, created: str = OLD, **more: Any) -> Resource:  # noqa: ANN401 - metadata
    """Return an object whose project is not known until its reference was resolved."""
    return object_(key, created, spec=wire_spec(groupId=None, projectRef={"name": "mine"}), **more)


@pytest.mark.parametrize("status", [{}, {"atlas": {"api": "Invites"}}], ids=["new", "evaluated-by-a-former-process"])
def test_an_older_object_whose_project_is_not_known_yet_is_waited_for(status: dict[str, Any]) -> None:
    """It may name the same invitation. Nobody waits once it was evaluated without a project, or for another project."""
    older = by_reference(TWO, status=status)
    made = claims(object_(ONE, NEW), older, proven=False)
    assert made.awaits_older(ONE)
    made.mark_evaluated(TWO)
    assert not made.awaits_older(ONE)

    elsewhere = claims(object_(ONE, NEW), older, proven=False)
    elsewhere.resolve(older, "f" * 24)
    assert not elsewhere.awaits_older(ONE)
    assert not elsewhere.awaits_any(ONE)


@pytest.mark.parametrize("created", [OLD, NEW])
def test_a_deletion_waits_for_objects_whose_project_is_not_known_yet(created: str) -> None:
    """Older or younger, evaluated or not: it may be going to take over, unless it is being deleted too."""
    ending: dict[str, Any] = {"deletionTimestamp": NEW, "finalizers": [FINALIZER]}
    made = claims(object_(ONE, **ending), by_reference(TWO, created))
    assert made.awaits_any(ONE)
    made.update(by_reference(TWO, created, **ending))
    assert not made.awaits_any(ONE)
    made.update(by_reference(TWO, created))
    assert made.awaits_any(ONE)
    made.forget(TWO)
    assert not made.awaits_any(ONE)


def test_other_people_whose_project_is_not_known_yet_are_not_waited_for() -> None:
    """Another e-mail and another id: nothing in common."""
    other = wire_spec(groupId=None, projectRef={"name": "mine"}, username=OTHER_EMAIL)
    made = claims(object_(ONE), object_(TWO, spec=other), proven=False)
    assert not made.awaits_any(ONE)


def test_a_project_that_was_known_before_is_not_waited_for() -> None:
    """If status names the project of an object by reference, no reference has to be resolved to compare it."""
    status = {"invitation": invitation(groupId="f" * 24).to_wire()}
    made = claims(object_(ONE, NEW), by_reference(TWO, status=status), proven=False)
    assert not made.awaits_any(ONE)


def test_a_member_is_named_by_the_users_id() -> None:
    """One object has the member on status, another names the same user by id: both claim the same."""
    shows = object_(ONE, OLD, status={"member": {"id": USER_ID}})
    made = claims(shows, object_(TWO, NEW, spec=wire_spec(username=None, invitationId=USER_ID)))
    assert made.holder(TWO) == ONE
    assert made.live_claimant(ONE) == TWO


def test_a_status_proves_nothing_for_a_project_that_it_does_not_name() -> None:
    """By reference and without an invitation on status, the project may have changed: it is read first."""
    status = {"member": {"id": USER_ID}, "atlas": {"api": "Invites"}}
    older = by_reference(TWO, status=status)
    made = claims(object_(ONE, NEW), older, proven=False)
    made.resolve(older, GROUP_ID)
    assert made.holder(ONE) is None
    made.prove(TWO)
    assert made.holder(ONE) == TWO


def test_proof_for_one_project_does_not_count_for_the_next() -> None:
    """The reference now leads elsewhere: the new project must be read first."""
    older = by_reference(TWO)
    made = claims(object_(ONE, NEW), older, proven=False)
    made.resolve(older, "f" * 24)
    made.prove(TWO)
    made.resolve(older, GROUP_ID)
    assert made.holder(ONE) is None


def test_an_invitation_of_another_project_claims_nothing_in_the_new_one() -> None:
    """The invitation on status is of the project that the reference led to before; the claim stays there."""
    older = by_reference(TWO, status={"invitation": invitation(groupId="f" * 24).to_wire()})
    made = claims(object_(ONE, NEW), older)
    made.resolve(older, GROUP_ID)
    assert made.holder(ONE) is None


def test_an_object_that_is_gone_claims_nothing() -> None:
    """An object goes while its reconcile waits for the Secret. The result is no claim, because nothing would end it."""
    gone = object_(TWO, OLD)
    made = claims(object_(ONE, NEW), gone)
    made.forget(TWO)
    made.resolve(gone, GROUP_ID)
    made.prove(TWO)
    assert made.holder(ONE) is None
    assert made.is_alone(ONE)


def test_an_unconfirmed_send_outlives_other_objects_that_go() -> None:
    """An invitation may have been sent for the first object.

    That a second object for the same person goes later changes nothing.
    """
    first, second, third = object_(ONE, OLD), object_(TWO, NEW), object_(Key("team-c", "jane"), NEW)
    made = claims(first, second, third)
    made.doubt(ONE, 100.0)
    made.forget(ONE)
    made.forget(TWO)
    assert made.doubtful_since(third.key) == 100.0
