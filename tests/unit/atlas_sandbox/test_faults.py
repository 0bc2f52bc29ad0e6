"""Faults on chosen calls, in process and on a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from atlas_sandbox.app import create_app
from atlas_sandbox.faults import ConnectionFault
from atlas_sandbox.sandbox import PROJECT_ID
from atlas_sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_sandbox.sandbox import Sandbox

INVITES = f"/api/atlas/v2/groups/{PROJECT_ID}/invites"
INVITE = {"username": "jane@example.com", "roles": ["GROUP_OWNER"]}


async def order(levers: httpx.AsyncClient, **fault: object) -> str:
    answer = await levers.post("/faults", json=fault)
    assert answer.status_code == 201
    return str(answer.json()["id"])


@pytest.fixture
async def remote(sandbox: Sandbox, client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The same client on a real socket."""
    async with serve(create_app(sandbox)) as url:
        base = f"{url}/api/atlas/v2/groups/{PROJECT_ID}"
        async with httpx.AsyncClient(base_url=base, headers=client.headers) as remote:
            yield remote


@pytest.mark.parametrize(("when", "sent"), [("before", 0), ("after", 1)])
async def test_error_before_or_after(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, when: str, sent: int
) -> None:
    """An error before the call leaves Atlas unchanged; an error after it hides that the call was carried out."""
    await order(levers, operations=["CreateInvite"], when=when, status=503, headers={"Retry-After": "7"})
    failed = await client.post("/invites", json=INVITE)
    assert (failed.status_code, failed.headers["Retry-After"]) == (503, "7")
    assert failed.json()["errorCode"] == "UNEXPECTED_ERROR"
    assert failed.json()["reason"] == "Service Unavailable"
    assert len((await client.get("/invites")).json()) == sent


async def test_error_has_the_ordered_content(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """An error has the code, detail and parameters of the order, or a body that is not Atlas's."""
    await order(levers, status=409, errorCode="CANNOT", detail="No.", parameters=["a", 1])
    error = (await client.get("/invites")).json()
    assert (error["error"], error["errorCode"], error["detail"]) == (409, "CANNOT", "No.")
    assert error["parameters"] == ["a", 1]
    await order(levers, status=502, body="bad gateway", contentType="text/plain")
    plain = await client.get("/invites?envelope=true")
    assert (plain.status_code, plain.text, plain.headers["Content-Type"]) == (502, "bad gateway", "text/plain")


async def test_only_chosen_calls_are_struck(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A fault strikes its operations, project and e-mail; it skips a number of calls, and strikes a number of times."""
    await order(levers, operations=["ListInvites", "CreateInvite"], username="JANE@example.com", skip=1, count=2)
    assert (await client.get("/invites")).status_code == 200
    statuses = [(await client.get("/invites?username=jane@example.com")).status_code for _ in range(2)]
    assert statuses == [200, 500]
    assert (await client.get("/users?username=jane@example.com")).status_code == 200
    assert (await client.post("/invites", json={**INVITE, "username": "joe@example.com"})).status_code == 200
    assert (await client.post("/invites", json=INVITE)).status_code == 500
    assert (await client.post("/invites", json=INVITE)).status_code == 200
    (fault,) = (await levers.get("/faults")).json()
    assert (fault["struck"], fault["skip"]) == (2, 0)


async def test_flapping_calls(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """Several faults, each of which skips one call more than the one before, make calls fail and work in turn."""
    for skip in (0, 1, 2):
        await order(levers, operations=["ListInvites"], skip=skip, status=404, errorCode="GROUP_NOT_FOUND")
    answers = [await client.get("/invites") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [404, 200, 404, 200, 404, 200]


async def test_a_401_for_one_project(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A 401 that is ordered for one project has an errorCode and no challenge; other projects are not affected."""
    other = (await levers.post("/projects")).json()["id"]
    await order(levers, project=PROJECT_ID, status=401, errorCode="UNAUTHORIZED", count=None)
    refused = await client.get("/invites")
    assert (refused.status_code, refused.json()["errorCode"]) == (401, "UNAUTHORIZED")
    assert "WWW-Authenticate" not in refused.headers
    assert (await client.get(f"http://atlas.test/api/atlas/v2/groups/{other}/invites")).status_code == 200


async def test_a_change_with_an_empty_response(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A PATCH that worked can get a 200 with an empty body."""
    invitation = (await client.post("/invites", json=INVITE)).json()
    await order(levers, kind="empty", when="after", operations=["UpdateInvite"])
    changed = await client.patch(f"/invites/{invitation['id']}", json={"roles": ["GROUP_READ_ONLY"]})
    assert (changed.status_code, changed.content) == (200, b"")
    assert (await client.get(f"/invites/{invitation['id']}")).json()["roles"] == ["GROUP_READ_ONLY"]


async def test_a_conflict_while_lists_lag(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A POST for a pending e-mail can be a 409 before the list shows the pending invitation."""
    await levers.patch("/settings", json={"duplicateInvite": "conflict", "listLag": {"seconds": 8}})
    await client.post("/invites", json=INVITE)
    assert (await client.post("/invites", json=INVITE)).status_code == 409
    assert (await client.get("/invites")).json() == []


async def test_records_have_an_email_too(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A call by id is struck by the e-mail of its record; a call without an e-mail is not."""
    invitation = (await client.post("/invites", json=INVITE)).json()
    await order(levers, username="jane@example.com", count=None)
    assert (await client.delete(f"/invites/{invitation['id']}")).status_code == 500
    assert (await client.delete(f"/invites/{'f' * 24}")).status_code == 404
    assert (await client.post("/invites", content=b"{")).status_code == 415


async def test_faults_are_removed(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A fault without an end lasts until it is removed, by its id or with all others."""
    first, _ = await order(levers, count=None), await order(levers, project=PROJECT_ID, count=None)
    assert (await client.get("/invites")).status_code == 500
    assert (await levers.delete(f"/faults/{first}")).status_code == 204
    assert (await levers.delete(f"/faults/{first}")).status_code == 404
    assert (await client.get("/invites")).status_code == 500
    assert (await levers.delete("/faults")).status_code == 204
    assert (await client.get("/invites")).status_code == 200
    many = await levers.post("/faults", json=[{"kind": "html"}, {"kind": "empty"}])
    assert len(many.json()) == 2


async def test_challenge_uses_no_fault_up(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """Only a fault that says so strikes a call that gets a 401."""
    await order(levers, status=500)
    anonymous = {"Authorization": ""}
    assert (await client.get("/invites", headers=anonymous)).status_code == 401
    await order(levers, status=502, challenges=True)
    assert (await client.get("/invites", headers=anonymous)).status_code == 502
    assert (await client.get("/invites")).status_code == 500


async def test_token_endpoint_can_fail(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """The token endpoint is struck like any other endpoint."""
    await order(levers, operations=["Token"], status=503)
    assert (await client.post("http://atlas.test/api/oauth/token")).status_code == 503


@pytest.mark.parametrize("kind", ["html", "empty"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_proxies_respond(levers: httpx.AsyncClient, client: httpx.AsyncClient, kind: str, when: str) -> None:
    """A proxy's HTML, or nothing at all, replaces Atlas's response."""
    await order(levers, kind=kind, when=when)
    answer = await client.get("/invites")
    expected = (502, "text/html", True) if kind == "html" else (200, "application/json", False)
    assert (answer.status_code, answer.headers["Content-Type"], bool(answer.content)) == expected


BROKEN: dict[str, type[Exception]] = {
    "reset": httpx.ReadError,
    "close": httpx.RemoteProtocolError,
    "garbage": httpx.RemoteProtocolError,
    "truncated": httpx.RemoteProtocolError,
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_connections_really_break(
    levers: httpx.AsyncClient, remote: httpx.AsyncClient, sandbox: Sandbox, kind: str, when: str
) -> None:
    """On a socket the connection breaks as ordered, with the call carried out or not, and the next call works."""
    await order(levers, kind=kind, when=when, operations=["CreateInvite"])
    with pytest.raises(BROKEN[kind]):
        await remote.post("/invites", json=INVITE)
    assert len((await remote.get("/invites")).json()) == (1 if when == "after" else 0)
    broken, _ = sandbox.calls.latest(2)
    assert (broken.operation, broken.status, broken.fault) == ("CreateInvite", 0, f"{kind} {when}")


@pytest.mark.parametrize("kind", [*BROKEN, "timeout"])
@pytest.mark.parametrize(("when", "sent"), [("before", 0), ("after", 1)])
async def test_faults_in_process_raise(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, kind: str, when: str, sent: int
) -> None:
    """In process, without a connection, the fault itself is raised, with the call carried out or not."""
    await order(levers, kind=kind, when=when, operations=["CreateInvite"])
    with pytest.raises(ConnectionFault, match=kind):
        await client.post("/invites", json=INVITE)
    assert len((await client.get("/invites")).json()) == sent


async def test_faults_in_process_raise_the_chosen_exception(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    """A test chooses the exception that stands for a broken connection."""
    app = create_app(sandbox, connection_error=lambda kind: httpx.ReadError(f"broken: {kind}"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, headers=client.headers, base_url=client.base_url) as other:
        await other.post("http://atlas.test/_sandbox/faults", json={"kind": "reset"})
        with pytest.raises(httpx.ReadError, match="broken: reset"):
            await other.get("/invites")


@pytest.mark.parametrize(("when", "sent"), [("before", 0), ("after", 1)])
async def test_impatient_client_leaves(sandbox: Sandbox, client: httpx.AsyncClient, when: str, sent: int) -> None:
    """A held call ends when the client leaves: it was carried out, or never began."""
    async with serve(create_app(sandbox)) as url, httpx.AsyncClient(headers=client.headers) as remote:
        await remote.post(f"{url}/_sandbox/faults", json={"kind": "timeout", "when": when})
        with pytest.raises(httpx.ReadTimeout):
            await remote.post(f"{url}{INVITES}", json=INVITE, timeout=httpx.Timeout(5, read=0.2))
    assert len(sandbox.state.project(PROJECT_ID).invitations) == sent
    assert sandbox.calls.by_status == {"CreateInvite 0": 1}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", ["socket", "process"])
async def test_patient_client_gets_a_response(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, remote: httpx.AsyncClient, where: str, when: str
) -> None:
    """A call that is held for some time then gets the true response."""
    await order(levers, kind="timeout", when=when, seconds=0.05)
    held = await (remote if where == "socket" else client).post("/invites", json=INVITE)
    assert held.status_code == 200
    assert len((await client.get("/invites")).json()) == 1


async def test_truncated_response_without_a_body(levers: httpx.AsyncClient, remote: httpx.AsyncClient) -> None:
    """A response without a body can be truncated too."""
    invitation = (await remote.post("/invites", json=INVITE)).json()
    await order(levers, kind="truncated", when="after")
    with pytest.raises(httpx.RemoteProtocolError):
        await remote.delete(f"/invites/{invitation['id']}")
    assert (await remote.get("/invites")).json() == []
