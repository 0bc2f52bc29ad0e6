"""Whether a namespace is being deleted, by the API server."""

from __future__ import annotations

import json

import pytest

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.kube.references import References
from tests.unit.kube.server import always, api_server

STAYS = {"metadata": {"name": "team-a"}}
ENDS = {"metadata": {"name": "team-a", "deletionTimestamp": "2026-08-10T04:00:00Z"}}


@pytest.mark.parametrize(
    ("status", "answer", "is_ending"),
    [(200, STAYS, False), (200, ENDS, True), (403, {}, False), (404, {}, False)],
    ids=["stays", "ends", "refused", "gone"],
)
async def test_a_namespace_that_is_being_deleted(status: int, answer: object, is_ending: bool) -> None:  # noqa: FBT001
    """It has a deletion timestamp. Without the right to read it, as with an earlier RBAC, nothing is known."""
    async with api_server(always(status, json.dumps(answer))) as client:
        assert await References(client).is_ending("team-a") is is_ending


async def test_an_api_server_that_fails_tells_nothing() -> None:
    """The caller decides what that means."""
    async with api_server(always(503, "{}")) as client:
        with pytest.raises(ClusterUnavailable):
            await References(client).is_ending("team-a")
