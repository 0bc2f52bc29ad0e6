"""Service accounts: the token endpoint and its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from atlas_sandbox.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_sandbox.sandbox import Sandbox

ACCOUNT = ("mdb_sa_id_sandbox", "mdb_sa_sk_sandbox")
GRANT = {"grant_type": "client_credentials"}
PROJECT = "/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8"


@pytest.fixture
async def anonymous(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Accept": "application/vnd.atlas.2023-01-01+json"}
    transport = httpx.ASGITransport(create_app(sandbox))
    async with httpx.AsyncClient(transport=transport, base_url="http://atlas.test", headers=headers) as client:
        yield client


async def token(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/oauth/token", auth=ACCOUNT, data=GRANT)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
    return str(body["access_token"])


async def read(client: httpx.AsyncClient, access_token: str) -> httpx.Response:
    return await client.get(PROJECT, headers={"Authorization": f"Bearer {access_token}"})


async def test_token_lives_an_hour(anonymous: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A token is valid for 3,600 s of the sandbox's clock, and is rejected after that."""
    access_token = await token(anonymous)
    sandbox.clock.advance(3599)
    assert (await read(anonymous, access_token)).status_code == 200
    sandbox.clock.advance(1)
    ended = await read(anonymous, access_token)
    assert ended.status_code == 401
    assert ended.json()["errorCode"] == "UNAUTHORIZED"
    assert 'error="invalid_token"' in ended.headers["WWW-Authenticate"]


async def test_client_may_stand_in_the_form(anonymous: httpx.AsyncClient) -> None:
    """The client's id and secret may also be in the form, as OAuth allows."""
    form = {**GRANT, "client_id": ACCOUNT[0], "client_secret": ACCOUNT[1]}
    assert (await anonymous.post("/api/oauth/token", data=form)).status_code == 200


@pytest.mark.parametrize(
    ("auth", "form", "status", "error"),
    [
        ((ACCOUNT[0], "wrong"), GRANT, 401, "invalid_client"),
        (("sandbox", "sandbox-private-key"), GRANT, 401, "invalid_client"),
        (("", ""), GRANT, 401, "invalid_client"),
        (ACCOUNT, {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (ACCOUNT, {}, 400, "unsupported_grant_type"),
    ],
    ids=["wrong secret", "an API key", "nobody", "wrong grant", "no grant"],
)
async def test_rejections_have_oauths_body(
    anonymous: httpx.AsyncClient, auth: tuple[str, str], form: dict[str, str], status: int, error: str
) -> None:
    """The token endpoint rejects with OAuth's body, in which `error` is a word."""
    answer = await anonymous.post("/api/oauth/token", auth=auth, data=form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", "Bearer x", "x"])
async def test_broken_authorization_is_rejected(anonymous: httpx.AsyncClient, header: str) -> None:
    """An `Authorization` header that is not Basic's is a wrong client, and nothing crashes."""
    answer = await anonymous.post("/api/oauth/token", headers={"Authorization": header}, data=GRANT)
    assert answer.status_code == 401


async def test_revoked_token_is_rejected(anonymous: httpx.AsyncClient) -> None:
    """A revoked token is rejected."""
    access_token = await token(anonymous)
    revoked = await anonymous.post("/api/oauth/revoke", auth=ACCOUNT, data={"token": access_token})
    assert revoked.status_code == 200
    assert (await read(anonymous, access_token)).status_code == 401


async def test_tokens_end_with_their_account(anonymous: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """When a service account is removed, or all tokens are ended, none is accepted."""
    first = await token(anonymous)
    assert sandbox.auth.tokens.end_all() == 1
    assert (await read(anonymous, first)).status_code == 401
    second = await token(anonymous)
    sandbox.credentials.remove(ACCOUNT[0])
    assert (await read(anonymous, second)).status_code == 401


@pytest.mark.parametrize("header", ["", "Basic c2FuZGJveDp4", "Negotiate x"])
async def test_other_schemes_get_a_challenge(anonymous: httpx.AsyncClient, header: str) -> None:
    """A client with neither digest nor bearer gets a challenge for digest."""
    answer = await anonymous.get(PROJECT, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Digest realm="MMS Public API"')
