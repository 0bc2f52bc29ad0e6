"""Responses of Atlas that no status could store unchanged, on the real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.life import OWNER
from tests.cluster.test_table_a import invited

if TYPE_CHECKING:
    from tests.cluster.life import Life

HUGE = "x" * 700_000
NUMBER = 10**30


async def refused(life: Life, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Let Atlas always reject a change of roles with this body, and return the error on status."""
    await invited(life)
    error = {"error": 400, "errorCode": "INVALID_ATTRIBUTE", **body}
    await life.fault(operations=["UpdateInvite"], count=None, status=400, body=json.dumps(error))
    await life.edit("jane", roles=[OWNER])
    return dict((await life.reaches("jane", "InvalidRequest"))["error"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"error": NUMBER}, {"error": 400}),
        ({"error": -NUMBER}, {"error": 400}),
        ({"parameters": [NUMBER, 2**63, 1]}, {"parameters": [str(NUMBER), str(2**63), 1]}),
        (
            {"parameters": [{"a": [NUMBER], "b": None}, 2.0**63, 1.5, -0.0]},
            {"parameters": [{"a": [str(NUMBER)]}, "9.223372036854776e+18", 1.5, 0]},
        ),
        ({"parameters": [float("1e200")]}, {"parameters": ["1e+200"]}),
    ],
    ids=["error", "negative", "parameters", "nested", "float"],
)
async def test_a_number_is_no_obstacle(life: Life, sent: dict[str, Any], kept: dict[str, Any]) -> None:
    """The rejection is reported, once: what was written is read back unchanged, so that nothing is written again."""
    error = await refused(life, **sent)
    assert kept.items() <= error.items()
    await life.quiet()
    before = await life.get("jane")
    await life.resync()
    await life.restart()
    await life.resync()
    assert await life.get("jane") == before


async def test_a_large_error_is_no_obstacle(life: Life) -> None:
    """Its detail is cut, and its parameters are kept as far as there is room."""
    error = await refused(
        life, detail=HUGE, parameters=["first", HUGE], badRequestDetail={"fields": [{"field": HUGE}] * 3}
    )
    assert error["detail"].startswith("xxx")
    assert error["parameters"] == ["first"]
    assert len(error["badRequestDetail"]["fields"]) == 3


async def test_a_large_invitation_is_no_obstacle(life: Life) -> None:
    """An invitation with very long texts, roles and links is reported as far as there is room."""
    await life.create("jane", username="jane@example.com")
    status = await life.reaches("jane", "Invited")
    large = status["invitation"] | {
        "groupName": HUGE,
        "inviterUsername": HUGE,
        "links": [{"href": HUGE}],
        "roles": [OWNER],
    }
    await life.fault(operations=["UpdateInvite"], when="after", status=200, body=json.dumps(large))
    await life.edit("jane", roles=[OWNER])
    status = await life.reaches("jane", "Invited")
    assert status["invitation"]["groupName"].startswith("xxx")
    assert status["invitation"]["roles"] == [OWNER]
