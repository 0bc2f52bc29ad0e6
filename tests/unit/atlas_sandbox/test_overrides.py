"""Overrides: responses show entries differently from what Atlas holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlas_sandbox.sandbox import PROJECT_ID

if TYPE_CHECKING:
    import httpx

JANE, JOE = "Jane@example.com", "joe@example.com"


async def order(levers: httpx.AsyncClient, username: str, **override: object) -> str:
    answer = await levers.post("/overrides", json={"username": username, **override})
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def invite(client: httpx.AsyncClient, api: str, username: str) -> Any:  # noqa: ANN401 - JSON
    return (await client.post(api, json={"username": username, "roles": ["GROUP_OWNER"]})).json()


async def listed(client: httpx.AsyncClient, api: str) -> Any:  # noqa: ANN401 - JSON
    answer = (await client.get(api)).json()
    return answer if isinstance(answer, list) else answer["results"]


@pytest.mark.parametrize("api", ["/invites", "/users"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"createdAt": 7, "links": [None], "roles": [{"roleName": "GROUP_OWNER"}]},
        {"id": 7},
        {"username": {"email": JANE}},
        {"username": None},
    ],
    ids=str,
)
async def test_one_entry_is_shown_differently(
    levers: httpx.AsyncClient, client: httpx.AsyncClient, api: str, attributes: dict[str, object]
) -> None:
    """The list and the read show one entry with the ordered attributes, and the others unchanged."""
    jane, joe = await invite(client, api, JANE), await invite(client, api, JOE)
    await order(levers, JANE.lower(), attributes=attributes)
    assert await listed(client, api) == [jane | attributes, joe]
    assert (await client.get(f"{api}/{jane['id']}")).json() == jane | attributes
    assert await listed(client, f"{api}?username={JANE}") == [jane | attributes]
    truth = (await levers.get(f"/projects/{PROJECT_ID}")).json()
    assert [entry["username"] for entry in truth["invitations" if api == "/invites" else "users"]] == [JANE, JOE]


async def test_an_attribute_is_left_out(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """An entry lacks the attributes that the order leaves out, only in the responses of the calls that it names."""
    await order(levers, JANE, without=["username", "expiresAt"], operations=["CreateInvite"])
    sent = await invite(client, "/invites", JANE)
    assert sent.keys() == {"createdAt", "groupId", "groupName", "id", "inviterUsername", "roles"}
    assert (await client.get(f"/invites/{sent['id']}")).json()["username"] == JANE


async def test_an_override_is_for_one_project(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """An override of another project changes nothing here."""
    jane = await invite(client, "/invites", JANE)
    await order(levers, JANE, attributes={"id": 7}, project="f" * 24)
    assert await listed(client, "/invites") == [jane]


async def test_overrides_are_removed(levers: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """Several overrides add up, each until it is removed, by its id or with all others."""
    jane = await invite(client, "/invites", JANE)
    first = await order(levers, JANE, attributes={"id": 7})
    await order(levers, JANE, attributes={"username": JOE}, operations=["ListInvites"], project=PROJECT_ID)
    assert await listed(client, "/invites") == [jane | {"id": 7, "username": JOE}]
    assert [found["id"] for found in (await levers.get("/overrides")).json()] == [first, "override-2"]
    assert (await levers.delete(f"/overrides/{first}")).status_code == 204
    assert (await levers.delete(f"/overrides/{first}")).status_code == 404
    assert await listed(client, "/invites") == [jane | {"username": JOE}]
    assert (await levers.delete("/overrides")).status_code == 204
    assert await listed(client, "/invites") == [jane]
