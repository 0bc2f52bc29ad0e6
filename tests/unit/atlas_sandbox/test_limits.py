"""Rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

INVITE = {"username": "jane@example.com", "roles": ["GROUP_OWNER"]}


async def test_bucket_empties_and_refills(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A bucket lets its calls through, then responds with 429 and the seconds to wait, and refills by the clock."""
    bucket = {"operations": ["ListInvites"], "capacity": 2, "seconds": 60}
    assert (await levers.put("/limits", json={"buckets": [bucket]})).json() == {
        "buckets": [{**bucket, "errorCode": "RATE_LIMITED_TOKEN_BUCKET", "retryAfter": True, "scope": "project"}],
        "invitations": None,
    }
    remaining = [(await client.get("/invites")).headers["Ratelimit-Remaining"] for _ in range(2)]
    assert remaining == ["1", "0"]
    refused = await client.get("/invites")
    assert (refused.status_code, refused.json()["errorCode"]) == (429, "RATE_LIMITED_TOKEN_BUCKET")
    assert (refused.headers["Retry-After"], refused.headers["Ratelimit-Remaining"]) == ("30", "0")
    assert (await client.get("/users")).status_code == 200
    await levers.post("/clock", json={"advanceSeconds": 30})
    assert (await client.get("/invites")).status_code == 200


async def test_retry_after_may_be_missing(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A bucket can omit the time to wait, and use the other code."""
    bucket = {"capacity": 1, "scope": "credential", "retryAfter": False, "errorCode": "RATE_LIMITED"}
    await levers.put("/limits", json={"buckets": [bucket]})
    await client.get("/invites")
    refused = await client.get("/users")
    assert (refused.status_code, refused.json()["errorCode"]) == (429, "RATE_LIMITED")
    assert "Retry-After" not in refused.headers


async def test_token_endpoint_has_a_bucket_of_its_own(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A bucket that names no operation does not apply to the token endpoint; one that names it does."""

    async def token() -> int:
        answer = await client.post(
            "http://atlas.test/api/oauth/token",
            auth=("mdb_sa_id_sandbox", "mdb_sa_sk_sandbox"),
            data={"grant_type": "client_credentials"},
        )
        return answer.status_code

    await levers.put("/limits", json={"buckets": [{"capacity": 1}]})
    assert [await token() for _ in range(3)] == [200, 200, 200]
    await levers.put("/limits", json={"buckets": [{"capacity": 1, "operations": ["Token"], "scope": "ip"}]})
    assert [await token() for _ in range(3)] == [200, 429, 429]


@pytest.mark.parametrize("path", ["/invites", "/users"])
async def test_sending_has_a_limit_that_is_a_400(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, path: str
) -> None:
    """One invitation too many in a minute is a 400 INVITATIONS_RATE_LIMITED_IP; a rejected one is not counted."""
    await levers.put("/limits", json={"invitations": {"limit": 2, "minutes": 1}})
    assert (await client.post(path, json={**INVITE, "roles": []})).status_code == 400
    answers = [await client.post(path, json={**INVITE, "username": f"user{n}@example.com"}) for n in range(3)]
    assert [answer.is_success for answer in answers] == [True, True, False]
    assert (answers[2].status_code, answers[2].json()["errorCode"]) == (400, "INVITATIONS_RATE_LIMITED_IP")
    assert (await client.get(path)).status_code == 200
    await levers.post("/clock", json={"advanceSeconds": 60})
    assert (await client.post(path, json=INVITE)).is_success
