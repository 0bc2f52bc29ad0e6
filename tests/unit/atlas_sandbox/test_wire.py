"""What every response has: headers, `envelope`, `pretty`; and the log of calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atlas_sandbox.wire import Response, encode

if TYPE_CHECKING:
    import httpx

    from atlas_sandbox.sandbox import Sandbox

JANE = {"username": "jane@example.com", "roles": ["GROUP_OWNER"]}


async def test_headers_of_the_invites_api(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Responses of the Invites API give its end, its limits, and the time of the sandbox's own clock."""
    sandbox.clock.advance(86400)
    headers = (await client.get("/invites", headers={"Authorization": "Bearer x"})).headers
    assert headers["Date"] == "Tue, 11 Aug 2026 03:04:53 GMT"
    sandbox.clock.advance(-86400)
    headers = (await client.get("/invites")).headers
    assert headers["Date"] == "Mon, 10 Aug 2026 03:04:53 GMT"
    assert headers["Deprecation"] == "Wed, 4 Oct 2023 00:00:00 GMT"
    assert headers["Sunset"] == "Thu, 1 Jul 2027 00:00:00 GMT"
    assert headers["Ratelimit-Limit"] == "1200"
    assert headers["X-Java-Method"] == "ApiGroupInvitationResource::getInvitations"


async def test_users_api_is_not_deprecated(client: httpx.AsyncClient) -> None:
    """Responses of the Users API have neither `Deprecation` nor `Sunset`."""
    headers = (await client.get("/users")).headers
    assert "Deprecation" not in headers
    assert "Sunset" not in headers


async def test_envelope(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """`envelope=true` wraps objects, plain lists, errors and empty responses; a paged list has `status` beside it."""
    created = await client.post("/invites?envelope=true", json=JANE)
    assert (created.status_code, created.json()["status"]) == (200, 200)
    invitation = created.json()["content"]
    assert (await client.get("/invites?envelope=true")).json() == {"status": 200, "content": [invitation]}
    users = (await client.get("/users?envelope=true")).json()
    assert (users["status"], users["results"], users["totalCount"]) == (200, [], 0)
    added = await client.post("/users?envelope=true", json=JANE)
    assert (added.status_code, added.json()["status"]) == (200, 201)
    canceled = await client.delete(f"/invites/{invitation['id']}?envelope=true")
    assert (canceled.status_code, canceled.json()) == (200, {"status": 204, "content": {}})
    gone = await client.get(f"/invites/{invitation['id']}?envelope=true")
    assert (gone.status_code, gone.json()["status"]) == (200, 404)
    assert gone.json()["content"]["errorCode"] == "INVALID_INVITATION_ID"
    sandbox.envelope_keeps_status = True
    assert (await client.get(f"/invites/{invitation['id']}?envelope=true")).status_code == 404


async def test_challenge_is_a_401_even_in_an_envelope(client: httpx.AsyncClient) -> None:
    """A 401 keeps its HTTP status in an envelope: otherwise digest would not work."""
    answer = await client.get("/invites?envelope=true", headers={"Authorization": ""})
    assert (answer.status_code, answer.json()["status"]) == (401, 401)


@pytest.mark.parametrize(("value", "wrapped"), [("true", True), ("TRUE", True), ("false", False), ("", False)])
def test_only_true_requests_an_envelope(value: str, wrapped: bool) -> None:  # noqa: FBT001 - the expected value
    """Only `true` requests an envelope."""
    encoded = encode(Response(200, {"a": 1}), {"envelope": [value]}, keep_status=False)
    assert json.loads(encoded.body) == ({"content": {"a": 1}, "status": 200} if wrapped else {"a": 1})


async def test_pretty(client: httpx.AsyncClient) -> None:
    """`pretty=true` indents, and changes nothing else."""
    plain, pretty = await client.get("/users"), await client.get("/users?pretty=true")
    assert "\n" not in plain.text
    assert '\n  "results"' in pretty.text
    assert plain.json() == pretty.json()


async def test_log_of_calls(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The log has one line for each call: what, when, who, the response; and never a secret."""
    await client.post("/invites", json=JANE)
    await client.get("/nothing?x=1")
    first, second = sandbox.calls.latest(10)
    assert (first.operation, first.method, first.status, first.auth) == ("CreateInvite", "POST", 200, "bearer")
    assert first.credential == "mdb_sa_id_sandbox"
    assert (second.operation, second.status) == ("Unknown", 404)
    assert second.path.endswith("/nothing?x=1")
    assert client.headers["Authorization"].removeprefix("Bearer ") not in repr(sandbox.calls.latest(10))


async def test_log_keeps_all_counts(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Counts by operation and status are kept for all calls, until the log is cleared."""
    for _ in range(3):
        await client.get("/users")
    assert sandbox.calls.by_operation == {"ListUsers": 3}
    assert sandbox.calls.by_status == {"ListUsers 200": 3}
    assert len(sandbox.calls.latest(2, "ListUsers")) == 2
    assert sandbox.calls.latest(2, "ListInvites") == []
    sandbox.calls.clear()
    assert (sandbox.calls.total, sandbox.calls.latest(5)) == (0, [])
