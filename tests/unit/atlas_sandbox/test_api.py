"""The API over HTTP: statuses, bodies, media types, permissions."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from atlas_sandbox import people
from atlas_sandbox.credentials import Credential
from atlas_sandbox.sandbox import CLIENT_ID, CLIENT_SECRET, PROJECT_ID
from tests.unit.roles import ROLES

if TYPE_CHECKING:
    import httpx

    from atlas_sandbox.sandbox import Sandbox

JANE = "Jane@example.com"
READ = ["GROUP_READ_ONLY"]
INVITES_TYPE = "application/vnd.atlas.2023-01-01+json;charset=utf-8"
USERS_TYPE = "application/vnd.atlas.2025-02-19+json;charset=utf-8"
NOBODY = "f" * 24
PROJECT = f"http://atlas.test/api/atlas/v2/groups/{PROJECT_ID}"


async def test_whole_life_in_the_invites_api(client: httpx.AsyncClient) -> None:
    """An invitation is created (200), listed, read, changed by id and e-mail, canceled (204), and then gone (404)."""
    created = await client.post("/invites", json={"username": JANE, "roles": READ})
    assert (created.status_code, created.headers["Content-Type"]) == (200, INVITES_TYPE)
    body = created.json()
    assert body == {
        "createdAt": "2026-08-10T03:04:53Z",
        "expiresAt": "2026-09-09T03:04:53Z",
        "groupId": PROJECT_ID,
        "groupName": "sandbox",
        "id": body["id"],
        "inviterUsername": CLIENT_ID,
        "roles": READ,
        "username": JANE,
    }
    assert (await client.get("/invites")).json() == [body]
    assert (await client.get("/invites", params={"username": JANE.lower()})).json() == [body]
    assert (await client.get("/invites", params={"username": "x@example.com"})).json() == []
    assert (await client.get(f"/invites/{body['id']}")).json() == body
    by_id = await client.patch(f"/invites/{body['id']}", json={"roles": ["GROUP_OWNER"]})
    assert by_id.json() == {**body, "roles": ["GROUP_OWNER"]}
    by_email = await client.patch("/invites", json={"username": JANE, "roles": READ})
    assert by_email.json() == body
    canceled = await client.delete(f"/invites/{body['id']}")
    assert (canceled.status_code, canceled.content) == (204, b"")
    gone = await client.get(f"/invites/{body['id']}")
    assert (gone.status_code, gone.json()["errorCode"]) == (404, "INVALID_INVITATION_ID")


async def test_whole_life_in_the_users_api(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A user is added (201), listed, gets and loses roles, accepts, and is removed (204)."""
    added = await client.post("/users", json={"username": JANE, "roles": READ})
    assert (added.status_code, added.headers["Content-Type"]) == (201, USERS_TYPE)
    body = added.json()
    assert body == {
        "id": body["id"],
        "invitationCreatedAt": "2026-08-10T03:04:53Z",
        "invitationExpiresAt": "2026-09-09T03:04:53Z",
        "inviterUsername": CLIENT_ID,
        "orgMembershipStatus": "PENDING",
        "roles": READ,
        "username": JANE,
    }
    user = f"/users/{body['id']}"
    assert (await client.post("/users", json={"username": JANE, "roles": READ})).status_code == 409
    assert (await client.get("/users")).json()["results"] == [body]
    assert (await client.post(f"{user}:addRole", json={"groupRole": "GROUP_OWNER"})).json()["roles"] == [
        *READ,
        "GROUP_OWNER",
    ]
    assert (await client.post(f"{user}:removeRole", json={"groupRole": READ[0]})).json()["roles"] == ["GROUP_OWNER"]
    last = await client.post(f"{user}:removeRole", json={"groupRole": "GROUP_OWNER"})
    assert (last.status_code, last.json()["errorCode"]) == (409, "CANNOT_REMOVE_LAST_ROLE")
    people.accept(sandbox.state, sandbox.state.project(PROJECT_ID), JANE)
    active = (await client.get(user)).json()
    assert active["orgMembershipStatus"] == "ACTIVE"
    assert {"createdAt", "firstName", "lastName"} <= active.keys()
    assert "invitationCreatedAt" not in active
    old = {"Accept": "application/vnd.atlas.2023-01-01+json"}
    roles = await client.put(f"{user}/roles", json={"groupRoles": READ}, headers=old)
    assert (roles.status_code, roles.json()["groupRoles"]) == (200, READ)
    assert (await client.delete(user)).status_code == 204
    gone = await client.get(user)
    assert (gone.status_code, gone.json()["errorCode"]) == (404, "USER_NOT_FOUND")


async def test_every_role_of_the_document(client: httpx.AsyncClient) -> None:
    """A role is a name: present and future roles can be granted, together and one by one."""
    roles = [*ROLES, "GROUP_FUTURE_2030"]
    created = await client.post("/invites", json={"username": JANE, "roles": roles})
    assert created.json()["roles"] == roles
    for role in roles:
        changed = await client.patch(f"/invites/{created.json()['id']}", json={"roles": [role, role]})
        assert changed.json()["roles"] == [role]


async def test_a_role_that_atlas_does_not_know(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Each write that grants it is rejected and names it; nothing changes."""
    unknown = "GROUP_MODEL_OWNER"
    user = (await client.post("/users", json={"username": "joe@example.com", "roles": READ})).json()
    sandbox.state.rules.unknown_roles = frozenset({unknown})
    body = {"username": JANE, "roles": [*READ, unknown]}
    refused = [
        await client.post("/invites", json=body),
        await client.post("/users", json=body),
        await client.post(f"/users/{user['id']}:addRole", json={"groupRole": unknown}),
    ]
    for answer in refused:
        assert (answer.status_code, answer.json()["errorCode"]) == (400, "INVALID_ENUM_VALUE")
        assert answer.json()["detail"] == f"An invalid enumeration value {unknown} was specified."
    assert (await client.get("/invites")).json() == []
    assert (await client.get(f"/users/{user['id']}")).json()["roles"] == READ


async def test_users_come_in_pages(client: httpx.AsyncClient) -> None:
    """A long list comes in pages, with a total and links to the previous and next page."""
    for number in range(5):
        await client.post("/users", json={"username": f"user{number}@example.com", "roles": READ})
    page = (await client.get("/users", params={"itemsPerPage": 2, "pageNum": 2})).json()
    assert [user["username"] for user in page["results"]] == ["user2@example.com", "user3@example.com"]
    assert page["totalCount"] == 5
    assert [link["rel"] for link in page["links"]] == ["self", "previous", "next"]
    following = (await client.get(page["links"][-1]["href"])).json()
    assert [user["username"] for user in following["results"]] == ["user4@example.com"]
    uncounted = (await client.get("/users", params={"includeCount": "false", "pageNum": 9})).json()
    assert "totalCount" not in uncounted
    assert uncounted["results"] == []


async def test_statuses_are_filtered(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """`orgMembershipStatuses` may be repeated; without it only ACTIVE and PENDING come back."""
    project = sandbox.state.project(PROJECT_ID)
    for name, act in {"a": people.accept, "d": people.decline, "e": people.expire, "p": None}.items():
        await client.post("/users", json={"username": f"{name}@example.com", "roles": READ})
        if act is not None:
            act(sandbox.state, project, f"{name}@example.com")

    async def names(query: str) -> str:
        answer = await client.get(f"/users?{query}")
        return "".join(user["username"][0] for user in answer.json()["results"])

    assert await names("") == "ap"
    assert await names("orgMembershipStatuses=INVITATION_EXPIRED&orgMembershipStatuses=INVITATION_REJECTED") == "de"
    assert await names("orgMembershipStatus=ACTIVE") == "a"
    every = "&".join(f"orgMembershipStatuses={status}" for status in ("ACTIVE", "PENDING", "INVITATION_EXPIRED"))
    assert await names(f"{every}&username=E@example.com") == "e"
    both = await client.get("/users?orgMembershipStatus=ACTIVE&orgMembershipStatuses=PENDING")
    assert both.status_code == 400
    rejected = await client.get("/users?orgMembershipStatuses=INVITATION_REJECTED")
    (user,) = rejected.json()["results"]
    assert user["invitationExpiresAt"] is None
    assert (await client.get(f"/users/{user['id']}")).status_code == 404
    found = await client.get(f"/users/{user['id']}?orgMembershipStatuses=INVITATION_REJECTED")
    assert found.json() == user


async def test_old_version_of_users_knows_active_ones(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The users list of 2023-01-01 shows only active users, in their old shape, and its removal knows no others."""
    old = {"Accept": "application/vnd.atlas.2023-01-01+json"}
    pending = (await client.post("/users", json={"username": JANE, "roles": READ})).json()
    assert (await client.get("/users", headers=old)).json()["results"] == []
    assert (await client.delete(f"/users/{pending['id']}", headers=old)).status_code == 404
    people.accept(sandbox.state, sandbox.state.project(PROJECT_ID), JANE)
    listed = await client.get("/users", headers=old)
    assert listed.headers["Content-Type"] == INVITES_TYPE
    assert "Sunset" in listed.headers
    (user,) = listed.json()["results"]
    assert user["roles"] == [{"groupId": PROJECT_ID, "roleName": READ[0]}]
    assert (await client.delete(f"/users/{pending['id']}", headers=old)).status_code == 204


async def test_indirect_users_need_the_flags(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Members of teams and of the organization are listed only with `flattenTeams` and `includeOrgUsers`."""
    project = sandbox.state.project(PROJECT_ID)
    people.reach(sandbox.state, project, "team@example.com", ("GROUP_OWNER",), "team")
    people.reach(sandbox.state, project, "org@example.com", ("GROUP_OWNER",), "organization")
    for query, count in {"": 0, "flattenTeams=true": 1, "includeOrgUsers=true&flattenTeams=true": 2}.items():
        assert (await client.get(f"/users?{query}")).json()["totalCount"] == count


async def test_project_is_read(client: httpx.AsyncClient) -> None:
    """The project itself can be read."""
    answer = await client.get(PROJECT)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["name"]) == (PROJECT_ID, "sandbox")


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/invites", "application/vnd.atlas.2023-01-01+json", 200),
        ("/invites", "application/vnd.atlas.2099-01-01+json, application/json", 200),
        ("/invites", "application/vnd.atlas.2022-12-31+json", 406),
        ("/invites", "application/vnd.atlas.2023-02-30+json", 406),
        ("/invites", "application/json", 406),
        ("/invites", "*/*", 406),
        ("/users", "application/vnd.atlas.2025-02-18+json", 200),
        (f"/users/{NOBODY}", "application/vnd.atlas.2025-02-18+json", 406),
        (f"/users/{NOBODY}", "application/vnd.atlas.2025-02-19+json", 404),
    ],
)
async def test_versions_by_date(client: httpx.AsyncClient, path: str, accept: str, status: int) -> None:
    """The latest version not after the date of `Accept` responds; without one, 406 INVALID_VERSION_DATE."""
    answer = await client.get(path, headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["errorCode"] == "INVALID_VERSION_DATE"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/vnd.atlas.2023-01-01+json", 200),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
    ],
)
async def test_bodies_are_json(client: httpx.AsyncClient, content_type: str, status: int) -> None:
    """A body is plain JSON, as the documentation's curl sends it, or dated; anything else is 415."""
    body = b'{"username": "jane@example.com", "roles": ["GROUP_OWNER"]}'
    answer = await client.post("/invites", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "MALFORMED_JSON", None),
        (b"", "MALFORMED_JSON", None),
        (b"[]", "MALFORMED_JSON", None),
        (b"[" * 100_000, "MALFORMED_JSON", None),
        (b"\xff", "MALFORMED_JSON", None),
        (b'{"roles": ["GROUP_OWNER"], "username": "a@b.co", "group": 1}', "INVALID_ATTRIBUTE", "group"),
        (b'{"roles": ["GROUP_OWNER"]}', "MISSING_ATTRIBUTE", "username"),
        (b'{"roles": ["GROUP_OWNER"], "username": null}', "MISSING_ATTRIBUTE", "username"),
        (b'{"username": "a@b.co"}', "MISSING_ATTRIBUTE", "roles"),
        (b'{"roles": [], "username": "a@b.co"}', "VALIDATION_ERROR", "roles"),
        (b'{"roles": "GROUP_OWNER", "username": "a@b.co"}', "INVALID_JSON_ATTRIBUTE", "roles"),
        (b'{"roles": [1], "username": "a@b.co"}', "INVALID_JSON_ATTRIBUTE", "roles"),
        (b'{"roles": ["ORG_OWNER"], "username": "a@b.co"}', "INVALID_ENUM_VALUE", "roles"),
        (b'{"roles": ["GROUP_OWNER"], "username": 1}', "INVALID_JSON_ATTRIBUTE", "username"),
        (b'{"roles": ["GROUP_OWNER"], "username": "a@b"}', "INVALID_EMAIL_ADDRESS", "username"),
        (b'{"roles": ["GROUP_OWNER"], "username": "a b@c.de"}', "INVALID_EMAIL_ADDRESS", "username"),
        (b'{"roles": ["GROUP_OWNER"], "username": "' + b"a" * 250 + b'@c.de"}', "INVALID_EMAIL_ADDRESS", "username"),
    ],
)
@pytest.mark.parametrize("path", ["/invites", "/users"])
async def test_wrong_bodies_are_rejected(
    client: httpx.AsyncClient, path: str, body: bytes, code: str, field: str | None
) -> None:
    """A wrong body gets a 400 that names the attribute, and nothing is sent."""
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    error = answer.json()
    assert (answer.status_code, error["errorCode"]) == (400, code)
    assert {"error", "reason", "detail", "parameters"} <= error.keys()
    blamed = [item["field"] for item in error.get("badRequestDetail", {"fields": []})["fields"]]
    assert blamed == ([] if field is None else [field])
    assert (await client.get(path)).text.count("@") == 0


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/invites/xyz", 404, "INVALID_INVITATION_ID"),
        (f"/invites/{NOBODY.upper()}", 404, "INVALID_INVITATION_ID"),
        ("/users/xyz", 400, "INVALID_USER_ID"),
        (f"/users/{NOBODY}", 404, "USER_NOT_FOUND"),
        ("/users?itemsPerPage=0", 400, "VALIDATION_ERROR"),
        ("/users?itemsPerPage=501", 400, "VALIDATION_ERROR"),
        ("/users?pageNum=-1", 400, "VALIDATION_ERROR"),
        ("/users?pageNum=99999999999", 400, "VALIDATION_ERROR"),
        ("/users?flattenTeams=perhaps", 400, "VALIDATION_ERROR"),
        ("/users?orgMembershipStatuses=GONE", 400, "INVALID_ENUM_VALUE"),
        ("/teams", 404, "RESOURCE_NOT_FOUND"),
        (f"/invites/{NOBODY}/roles", 404, "RESOURCE_NOT_FOUND"),
        ("/invites/a%0Ab", 404, "INVALID_INVITATION_ID"),
        ("/a%0Ab", 404, "RESOURCE_NOT_FOUND"),
    ],
)
async def test_wrong_paths_and_queries_are_rejected(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    """Wrong ids, queries and paths get Atlas's error body."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    assert answer.json()["error"] == status


async def test_wrong_method(client: httpx.AsyncClient) -> None:
    """A method that a path does not have gets 405, with the methods that it has."""
    answer = await client.put("/invites", json={})
    assert (answer.status_code, answer.json()["errorCode"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, POST, PATCH"


async def test_large_body(client: httpx.AsyncClient) -> None:
    """A body of more than 1 MiB is 413."""
    answer = await client.post(
        "/invites", content=b" " * (1 << 20) + b"{}", headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["errorCode"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_projects_that_are_not_there(client: httpx.AsyncClient) -> None:
    """A missing project is GROUP_NOT_FOUND, an invalid id INVALID_GROUP_ID."""
    base = PROJECT.removesuffix(PROJECT_ID)
    for project, status, code in ((NOBODY, 404, "GROUP_NOT_FOUND"), ("x", 400, "INVALID_GROUP_ID")):
        answer = await client.get(f"{base}{project}/invites")
        assert (answer.status_code, answer.json()["errorCode"]) == (status, code)


async def test_project_that_the_credential_does_not_see(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A credential that does not see the project gets 404 NOT_IN_GROUP."""
    sandbox.credentials.add(Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET, frozenset({NOBODY})))
    answer = await client.get("/invites")
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "NOT_IN_GROUP")


async def test_credential_without_project_owner(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Without Project Owner, only the project and its users may be read."""
    sandbox.credentials.add(Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET, project_owner=False))
    assert (await client.get(PROJECT)).status_code == 200
    assert (await client.get("/users")).status_code == 200
    answers = [
        await client.get("/invites"),
        await client.post("/users", json={"username": JANE, "roles": READ}),
        await client.delete(f"/users/{NOBODY}"),
    ]
    assert {(answer.status_code, answer.json()["errorCode"]) for answer in answers} == {(403, "USER_UNAUTHORIZED")}


async def test_credential_of_an_access_manager(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Project Access Manager is enough for users, but not for invitations or the deprecated change of roles."""
    sandbox.credentials.add(
        Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET, project_owner=False, access_manager=True)
    )
    added = await client.post("/users", json={"username": JANE, "roles": READ})
    assert added.status_code == 201
    user = f"/users/{added.json()['id']}"
    assert (await client.post(f"{user}:addRole", json={"groupRole": "GROUP_OWNER"})).status_code == 200
    assert (await client.post(f"{user}:removeRole", json={"groupRole": "GROUP_OWNER"})).status_code == 200
    old = {"Accept": "application/vnd.atlas.2023-01-01+json"}
    refused = [
        await client.get("/invites"),
        await client.post("/invites", json={"username": JANE, "roles": READ}),
        await client.put(f"{user}/roles", json={"groupRoles": READ}, headers=old),
    ]
    assert {answer.json()["errorCode"] for answer in refused} == {"USER_UNAUTHORIZED"}
    assert (await client.delete(user)).status_code == 204


@pytest.mark.parametrize(("network", "status"), [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)])
async def test_access_list(client: httpx.AsyncClient, sandbox: Sandbox, network: str, status: int) -> None:
    """A credential with an access list is accepted only from an address on it."""
    allowed = (ip_network(network),)
    sandbox.credentials.add(Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET, access_list=allowed))
    answer = await client.get(PROJECT)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["errorCode"] == "IP_ADDRESS_NOT_ON_ACCESS_LIST"


async def test_missing_rights_as_a_401_without_a_challenge(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """With the other rule, a credential without the project or role gets a 401 that offers no new challenge."""
    sandbox.state.rules.missing_rights = "unauthorized"
    for credential in (
        Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET, frozenset({NOBODY})),
        Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET, project_owner=False),
    ):
        sandbox.credentials.add(credential)
        answer = await client.get("/invites")
        assert (answer.status_code, answer.json()["errorCode"]) == (401, "UNAUTHORIZED")
        assert "WWW-Authenticate" not in answer.headers
    assert (await client.get("/users")).status_code == 200


@pytest.mark.parametrize("api", ["/invites", "/users"])
async def test_atlas_keeps_other_roles_than_requested(client: httpx.AsyncClient, sandbox: Sandbox, api: str) -> None:
    """If Atlas drops or adds roles, the response of each write, the list and the read show what Atlas keeps."""
    sandbox.state.rules.dropped_roles = frozenset({"GROUP_CLUSTER_MANAGER"})
    sandbox.state.rules.added_roles = ("GROUP_SEARCH_INDEX_EDITOR",)
    body = {"username": JANE, "roles": [*READ, "GROUP_CLUSTER_MANAGER"]}
    sent = (await client.post(api, json=body)).json()
    one = f"{api}/{sent['id']}"
    if api == "/invites":
        changed = [await client.patch(one, json={"roles": body["roles"]}), await client.patch(api, json=body)]
        listed = (await client.get(api)).json()
    else:
        changed = [
            await client.post(f"{one}:addRole", json={"groupRole": "GROUP_CLUSTER_MANAGER"}),
            await client.post(f"{one}:removeRole", json={"groupRole": "GROUP_SEARCH_INDEX_EDITOR"}),
        ]
        listed = (await client.get(api)).json()["results"]
    shown = [sent, *(answer.json() for answer in changed), *listed, (await client.get(one)).json()]
    assert [entry["roles"] for entry in shown] == [[*READ, "GROUP_SEARCH_INDEX_EDITOR"]] * 5


async def test_atlas_keeps_a_role_where_all_would_be_dropped(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """If no role would be left, Atlas keeps the requested roles."""
    sandbox.state.rules.dropped_roles = frozenset(READ)
    sent = await client.post("/invites", json={"username": JANE, "roles": READ})
    assert sent.json()["roles"] == READ
