"""Anything that Atlas sends can be written to a status, and is read back unchanged."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from atlas_invites.invitation.fields import DETAIL_MAX, INT64, LIST_MAX, TEXT_MAX
from atlas_invites.invitation.model import ErrorBody, Invitation, Member, User
from tests.unit.builders import USER_ID, error, invitation, member, user

HUGE = "x" * 4_000_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def through_the_api_server(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON as the API server returns it: Go's int64 and float64, and no null in an object."""
    match value:
        case dict():
            return {name: through_the_api_server(item) for name, item in value.items() if item is not None}
        case list():
            return [through_the_api_server(item) for item in value]
        case int() if value not in INT64:
            return through_the_api_server(float(value))
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(Decimal(repr(value)))
        case _:
            return value


@given(st.lists(JSON, max_size=3))
def test_parameters_come_back_as_they_were_written(parameters: list[Any]) -> None:
    """No number, null or nesting causes a status that differs from what the API server stores."""
    wanted = ErrorBody(error=400, error_code="X", parameters=tuple(parameters))
    sent = json.dumps(wanted.to_wire(), allow_nan=False)
    assert ErrorBody.model_validate(through_the_api_server(json.loads(sent))) == wanted


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, "9223372036854775808"),
        (10**30, "1" + "0" * 30),
        ({"nested": [-(10**30)]}, {"nested": ["-1" + "0" * 30]}),
        (1e30, "1e+30"),
        (float("inf"), "inf"),
        (1.0, 1),
        (0.1, 0.1),
        (True, True),
        (None, None),
        ({"a": None, "b": 1}, {"b": 1}),
    ],
)
def test_a_number_that_does_not_fit_is_kept_as_text(value: object, kept: object) -> None:
    """Its digits can still be read."""
    parameters = error(parameters=[value]).to_wire()["parameters"]
    assert parameters == [kept]
    assert type(parameters[0]) is type(kept)


def test_a_text_that_is_too_long_is_cut() -> None:
    """An ellipsis marks the cut; a text that just fits is kept unchanged."""
    assert invitation(groupName="x" * TEXT_MAX).group_name == "x" * TEXT_MAX
    assert invitation(groupName="x" * TEXT_MAX + "y").group_name == "x" * (TEXT_MAX - 1) + "…"
    assert error(detail="x" * DETAIL_MAX).detail == "x" * DETAIL_MAX
    assert error(detail=HUGE).detail == "x" * (DETAIL_MAX - 1) + "…"


@pytest.mark.parametrize("make", [invitation, user, member])
def test_an_id_is_never_cut(make: Any) -> None:  # noqa: ANN401 - any of the builders
    """A part of an id is the id of something else: an entry with an id that is too long cannot be read."""
    with pytest.raises(ValidationError):
        make(id=HUGE)


@pytest.mark.parametrize(
    "answer",
    [
        Invitation.model_validate(
            dict.fromkeys(("groupId", "groupName", "username", "inviterUsername", "createdAt", "expiresAt"), HUGE)
            | {"id": USER_ID, "roles": [f"{HUGE}{number}" for number in range(2)] + [f"R{n}" for n in range(1000)]}
            | {"links": [{"href": HUGE, "rel": HUGE}] * 1000}
        ),
        Member(id=USER_ID, username=HUGE, roles=(HUGE, *map(str, range(1000))), org_membership_status=HUGE),
        User(
            id=USER_ID,
            username=HUGE,
            roles=(HUGE, *map(str, range(1000))),
            org_membership_status=HUGE,
            inviter_username=HUGE,
            invitation_created_at=HUGE,
            invitation_expires_at=HUGE,
        ),
        ErrorBody.model_validate(
            dict.fromkeys(("errorCode", "reason", "detail"), HUGE)
            | {"error": 400, "parameters": ["a", HUGE, "b"]}
            | {"badRequestDetail": {"fields": [{"field": HUGE, "description": HUGE}] * 1000}}
        ),
        ErrorBody(error=400, error_code="X", parameters=tuple(range(10_000))),
        ErrorBody(error=400, error_code="X", parameters=({HUGE: 1},)),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_nothing_makes_a_status_too_large(answer: Invitation | Member | User | ErrorBody) -> None:
    """Texts are cut; of lists the first entries are kept."""
    assert len(json.dumps(answer.to_wire())) < 100_000
    assert all(len(value) <= LIST_MAX for _, value in answer if isinstance(value, tuple))


def test_half_a_pair_of_utf_16_is_replaced() -> None:
    """JSON can contain it, but UTF-8, which the API server uses, cannot: the rest of the text is kept."""
    half, whole = "x\ud83d", "x\ufffd"
    assert invitation(groupName=half).group_name == whole
    refused = error(403, "NO", detail=half, parameters=[{half: [half]}])
    assert (refused.detail, refused.parameters) == (whole, ({whole: [whole]},))
    assert invitation(groupName="José 🎉").group_name == "José 🎉"


def test_parameters_that_are_nested_too_deep_are_left_out() -> None:
    """The rest of the error is kept."""
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    refused = error(400, "NO", detail="why", parameters=[deep])
    assert (refused.detail, refused.parameters) == ("why", ())
