"""The controls under `/_sandbox/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_sandbox.operations import NAMES
from atlas_sandbox.sandbox import PROJECT_ID

if TYPE_CHECKING:
    import httpx

    from atlas_sandbox.sandbox import Sandbox

JANE = "jane@example.com"
INVITE = {"username": JANE, "roles": ["GROUP_OWNER"]}
PROJECT = f"/projects/{PROJECT_ID}"


async def test_clock_is_moved(levers: httpx.AsyncClient) -> None:
    """The clock is read, advanced, set and frozen; the `Date` of every response follows it."""
    read = await levers.get("/clock")
    assert read.json() == {"frozen": False, "now": "2026-08-10T03:04:53Z"}
    advanced = await levers.post("/clock", json={"advanceSeconds": 3600})
    assert advanced.json()["now"] == "2026-08-10T04:04:53Z"
    assert advanced.headers["Date"] == "Mon, 10 Aug 2026 04:04:53 GMT"
    moved = await levers.post("/clock", json={"now": "2030-01-01T00:00:00+01:00", "frozen": True})
    assert moved.json() == {"frozen": True, "now": "2029-12-31T23:00:00Z"}
    back = await levers.post("/clock", json={"advanceSeconds": -3600, "frozen": False})
    assert back.json() == {"frozen": False, "now": "2029-12-31T22:00:00Z"}


async def test_people_respond_to_invitations(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A person accepts, declines or lets a pending invitation expire; a member is removed."""
    for name in ("accept", "decline", "expire"):
        await client.post("/invites", json={**INVITE, "username": f"{name}@example.com"})
        done = await levers.post(f"{PROJECT}/{name}", json={"username": f"{name}@example.com"})
        assert done.status_code == 204
    assert (await client.get("/invites")).json() == []
    users = (await client.get("/users")).json()["results"]
    assert [user["username"] for user in users] == ["accept@example.com"]
    assert (await levers.post(f"{PROJECT}/remove", json={"usernames": ["accept@example.com"]})).status_code == 204
    assert (await client.get("/users")).json()["totalCount"] == 0
    again = await levers.post(f"{PROJECT}/accept", json={"username": "accept@example.com"})
    assert (again.status_code, again.json()["errorCode"]) == (404, "INVALID_INVITATION_ID")


async def test_snapshot_shows_everything(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A project's snapshot shows the records of both APIs in any status, indirect access, and how each record ended."""
    await client.post("/invites", json=INVITE)
    await client.post("/users", json=INVITE)
    await client.post("/users", json={**INVITE, "username": "no@example.com"})
    await levers.post(f"{PROJECT}/decline", json={"username": "no@example.com"})
    await levers.post(f"{PROJECT}/members", json={"username": "team@example.com", "via": "team"})
    truth = (await levers.get(PROJECT)).json()
    assert [invitation["username"] for invitation in truth["invitations"]] == [JANE]
    assert {user["orgMembershipStatus"] for user in truth["users"]} == {"PENDING", "INVITATION_REJECTED"}
    assert [(user["username"], user["via"]) for user in truth["indirect"]] == [("team@example.com", "team")]
    assert [(end["api"], end["how"]) for end in truth["ended"]] == [("Users", "declined")]


@pytest.mark.parametrize(("api", "path"), [("Invites", "/invites"), ("Users", "/users")])
async def test_invitations_from_the_ui(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, api: str, path: str
) -> None:
    """A person invites in the UI through either API, one or many at once; this is not counted as an API call."""
    body = {"api": api, "username": JANE, "roles": ["GROUP_OWNER"], "inviterUsername": "boss@example.com"}
    (made,) = (await levers.post(f"{PROJECT}/invitations", json=body)).json()
    assert made["inviterUsername"] == "boss@example.com"
    many = await levers.post(f"{PROJECT}/invitations", json={"api": api, "count": 3, "start": 7, "prefix": "x"})
    assert [item["username"] for item in many.json()] == [f"x0000{number}@example.com" for number in (7, 8, 9)]
    listed = (await client.get(path)).json()
    assert len(listed if api == "Invites" else listed["results"]) == 4
    assert (await levers.get("/calls")).json()["total"] == 1


async def test_members_are_added(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """People are added to a project, or to the organization; an invitation then makes them ACTIVE at once."""
    added = await levers.post(f"{PROJECT}/members", json={"usernames": [JANE], "roles": ["GROUP_OWNER"]})
    assert [user["orgMembershipStatus"] for user in added.json()] == ["ACTIVE"]
    assert (await levers.post(f"{PROJECT}/members", json={"username": JANE})).status_code == 409
    joined = await levers.post("/organization/members", json={"username": "joe@example.com"})
    assert joined.status_code == 201
    joe = (await client.post("/users", json={**INVITE, "username": "joe@example.com"})).json()
    assert (joe["orgMembershipStatus"], joe["id"]) == ("ACTIVE", joined.json()["id"])
    assert len((await levers.get("/organization/members")).json()) == 2
    assert (await levers.delete("/organization/members/joe@example.com")).status_code == 204
    assert (await client.get(f"/users/{joe['id']}")).status_code == 404


async def test_members_are_renamed(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """A member gets another e-mail and keeps the id; the old e-mail then belongs to nobody."""
    (jane,) = (await levers.post(f"{PROJECT}/members", json={"username": JANE})).json()
    renamed = await levers.patch(f"/organization/members/{JANE}", json={"username": "joan@example.com"})
    assert renamed.json() == {"id": jane["id"], "username": "joan@example.com"}
    assert (await client.get(f"/users/{jane['id']}")).json()["username"] == "joan@example.com"
    again = await levers.patch(f"/organization/members/{JANE}", json={"username": "joan@example.com"})
    assert again.status_code == 404


async def test_projects_come_and_go(levers: httpx.AsyncClient) -> None:
    """Projects are added with or without an id, listed, and deleted."""
    named = await levers.post("/projects", json={"id": "a" * 24, "name": "mine"})
    assert (named.status_code, named.json()) == (201, {"id": "a" * 24, "name": "mine"})
    made_up = (await levers.post("/projects")).json()
    listed = [project["id"] for project in (await levers.get("/projects")).json()]
    assert listed == [PROJECT_ID, "a" * 24, made_up["id"]]
    assert (await levers.delete(f"/projects/{made_up['id']}")).status_code == 204
    assert (await levers.get(f"/projects/{made_up['id']}")).status_code == 404


async def test_credentials_are_managed(levers: httpx.AsyncClient) -> None:
    """Credentials are added, changed, rotated and removed; their secrets are never shown."""
    body = {"kind": "serviceAccount", "id": "other", "secret": "hidden", "projects": [PROJECT_ID]}
    added = await levers.post("/credentials", json=body)
    assert added.status_code == 201
    changed = await levers.patch("/credentials/other", json={"secret": "hidden2", "accessList": ["10.0.0.0/8"]})
    assert changed.json() == {
        "accessList": ["10.0.0.0/8"],
        "id": "other",
        "kind": "serviceAccount",
        "projectOwner": True,
        "accessManager": False,
        "projects": [PROJECT_ID],
    }
    opened = await levers.patch("/credentials/other", json={"projects": None, "accessList": None})
    assert (opened.json()["projects"], opened.json()["accessList"]) == (None, None)
    listed = await levers.get("/credentials")
    assert [credential["id"] for credential in listed.json()] == ["sandbox", "mdb_sa_id_sandbox", "other"]
    assert "hidden" not in listed.text + added.text + changed.text
    assert (await levers.delete("/credentials/other")).status_code == 204
    assert (await levers.delete("/credentials/other")).status_code == 404
    assert (await levers.patch("/credentials/other", json={})).status_code == 404


async def test_tokens_and_nonces_end(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """All tokens, and all challenges, can be ended at once."""
    await client.get("/invites", headers={"Authorization": ""})
    assert (await levers.delete("/nonces")).json() == {"ended": 1}
    assert (await levers.delete("/tokens")).json() == {"ended": 1}
    assert (await client.get("/invites")).status_code == 401


async def test_settings_are_changed_one_by_one(levers: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A setting that is not named stays; the response shows all settings."""
    before = (await levers.get("/settings")).json()
    after = (await levers.patch("/settings", json={"duplicateInvite": "new", "listLag": {"calls": 2}})).json()
    assert after == {
        **before,
        "duplicateInvite": "new",
        "listLag": {"calls": 2, "filtered": False, "seconds": 0.0},
    }
    everything = {
        "addedRoles": ["GROUP_OWNER"],
        "droppedRoles": ["GROUP_CLUSTER_MANAGER", "GROUP_READ_ONLY"],
        "duplicateInvite": "conflict",
        "envelopeKeepsStatus": True,
        "latencySeconds": 0.001,
        "listLag": {"calls": 1, "filtered": True, "seconds": 3.0},
        "memberInvite": "pending",
        "missingRights": "unauthorized",
        "nonceSeconds": 10.0,
        "sunset": {"day": "2026-08-11", "mode": "clock"},
        "tokenSeconds": 60,
        "unknownRoles": ["GROUP_MODEL_OWNER"],
    }
    assert (await levers.patch("/settings", json=everything)).json() == everything
    assert sandbox.auth.tokens.lifetime == 60


async def test_list_lag_reaches_every_project(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """With list lag, a list is outdated while a read by id is current."""
    await levers.patch("/settings", json={"listLag": {"seconds": 5}})
    invitation = (await client.post("/invites", json=INVITE)).json()
    assert (await client.get("/invites")).json() == []
    assert (await client.get(f"/invites/{invitation['id']}")).json() == invitation
    await levers.post("/clock", json={"advanceSeconds": 5})
    assert (await client.get("/invites")).json() == [invitation]


@pytest.mark.parametrize(
    ("sunset", "status"),
    [
        ({"mode": "off"}, 200),
        ({"mode": "on"}, 410),
        ({"mode": "clock"}, 410),
        ({"mode": "clock", "day": "2031-01-01"}, 200),
    ],
    ids=str,
)
async def test_sunset(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, sunset: dict[str, str], status: int
) -> None:
    """After its sunset the Invites API is 410 VERSION_GONE; the Users API and the project still work."""
    await levers.patch("/settings", json={"sunset": sunset})
    await levers.post("/clock", json={"now": "2027-07-01T00:00:00Z"})
    await levers.patch("/settings", json={"tokenSeconds": 3600})
    token = await levers.post(
        "http://atlas.test/api/oauth/token",
        auth=("mdb_sa_id_sandbox", "mdb_sa_sk_sandbox"),
        data={"grant_type": "client_credentials"},
    )
    headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
    answer = await client.get("/invites", headers=headers)
    assert answer.status_code == status
    if status == 410:
        path = f"api/atlas/v2/groups/{PROJECT_ID}/invites"
        assert answer.json()["errorCode"] == "VERSION_GONE"
        assert answer.json()["parameters"] == ["2023-01-01", path]
    assert (await client.get("/users", headers=headers)).status_code == 200


async def test_reset(levers: httpx.AsyncClient, client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A reset restores the initial state, except for the clock."""
    await client.post("/invites", json=INVITE)
    await levers.post("/faults", json={"kind": "html", "count": None})
    await levers.post("/overrides", json={"username": JANE})
    await levers.post("/clock", json={"advanceSeconds": 60})
    assert (await levers.post("/reset")).status_code == 204
    assert (await levers.get(PROJECT)).json()["invitations"] == []
    assert (await levers.get("/faults")).json() == []
    assert (await levers.get("/overrides")).json() == []
    assert sandbox.calls.total == 0
    assert (await levers.get("/clock")).json()["now"] == "2026-08-10T03:05:53Z"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/clock", "{"),
        ("POST", "/clock", "[]"),
        ("POST", "/clock", '{"now": "yesterday"}'),
        ("POST", "/clock", '{"now": "2026-01-01T00:00:00"}'),
        ("POST", "/clock", '{"advanceSeconds": 1e12}'),
        ("POST", "/clock", '{"advanceSeconds": NaN}'),
        ("POST", "/clock", '{"later": 1}'),
        ("PATCH", "/settings", '{"latencySeconds": -1}'),
        ("PATCH", "/settings", '{"duplicateInvite": "both"}'),
        ("PATCH", "/settings", '{"addedRoles": ["ORG_OWNER"]}'),
        ("PATCH", "/settings", '{"droppedRoles": "GROUP_OWNER"}'),
        ("PATCH", "/settings", '{"sunset": {"day": "never"}}'),
        ("PATCH", "/settings", '{"listLag": {"days": 1}}'),
        ("PATCH", "/settings", '{"envelopeKeepsStatus": "yes"}'),
        ("PATCH", "/settings", '{"tokenSeconds": 1.5}'),
        ("PUT", "/limits", '{"buckets": [{"capacity": 0}]}'),
        ("PUT", "/limits", '{"buckets": [{"scope": "world"}]}'),
        ("PUT", "/limits", '{"buckets": {}}'),
        ("POST", "/faults", '{"kind": "fire"}'),
        ("POST", "/faults", '{"operations": ["Nothing"]}'),
        ("POST", "/faults", '{"operations": "ListInvites"}'),
        ("POST", "/faults", '{"status": 99}'),
        ("POST", "/faults", '{"headers": {"X": "a\\nb"}}'),
        ("POST", "/faults", '{"headers": {"Content-Length": "1"}}'),
        ("POST", "/faults", '{"count": 0}'),
        ("POST", "/faults", '{"body": 1}'),
        ("POST", "/overrides", "{}"),
        ("POST", "/overrides", '{"username": "jane@example.com", "attributes": []}'),
        ("POST", "/overrides", '{"username": "jane@example.com", "operations": ["Nothing"]}'),
        ("POST", "/overrides", '{"username": "jane@example.com", "count": 1}'),
        ("POST", "/credentials", '{"id": "x"}'),
        ("POST", "/credentials", '{"id": "x", "secret": "y", "accessList": ["here"]}'),
        ("POST", "/projects", '{"id": "short"}'),
        ("POST", f"{PROJECT}/invitations", '{"username": "nobody"}'),
        ("POST", f"{PROJECT}/invitations", '{"count": 1000000}'),
        ("POST", f"{PROJECT}/accept", "{}"),
        ("POST", "/organization/members", '{"username": "nobody"}'),
        ("PATCH", f"/organization/members/{JANE}", '{"username": "nobody"}'),
        ("GET", "/calls?limit=all", ""),
    ],
)
async def test_invalid_orders(levers: httpx.AsyncClient, method: str, path: str, body: str) -> None:
    """An order that cannot be understood gets a 400 that says why."""
    answer = await levers.request(method, path, content=body)
    assert answer.status_code == 400
    assert answer.json()


async def test_unknown_controls(levers: httpx.AsyncClient) -> None:
    """An unknown control gets a 404, a wrong method a 405, both in JSON."""
    assert (await levers.get("/nothing")).json() == {"error": "Not Found"}
    wrong = await levers.put("/faults")
    assert (wrong.status_code, wrong.json()) == (405, {"error": "Method Not Allowed"})


def test_the_names_of_operations() -> None:
    """These are the names that faults and the log use."""
    assert {
        *("ListInvites", "CreateInvite", "UpdateInvite", "UpdateInviteByEmail", "ReadInvite", "CancelInvite"),
        *("ListUsers", "AddUser", "ReadUser", "RemoveUser", "AddRole", "RemoveRole", "UpdateRoles"),
        *("ReadProject", "ListProjects", "Token", "RevokeToken"),
    } == NAMES
