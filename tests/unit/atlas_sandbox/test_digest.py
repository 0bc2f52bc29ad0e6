"""HTTP digest, as a strict server checks it."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from atlas_sandbox.app import create_app
from atlas_sandbox.clock import Clock
from atlas_sandbox.credentials import Credential, Credentials
from atlas_sandbox.digest import REALM, WINDOW, Digest
from atlas_sandbox.errors import AtlasError

if TYPE_CHECKING:
    from atlas_sandbox.sandbox import Sandbox

TARGET = "/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8/invites?username=a%40b.co"


@pytest.fixture
def clock() -> Clock:
    return Clock(lambda: datetime(2026, 8, 10, tzinfo=UTC))


@pytest.fixture
def digest(clock: Clock) -> Digest:
    credentials = Credentials()
    credentials.add(Credential("apiKey", "public", "private"))
    return Digest(credentials, clock)


def nonce_of(error: AtlasError) -> str:
    found = re.search(r'nonce="([^"]+)"', dict(error.headers)["WWW-Authenticate"])
    assert found is not None
    return found[1]


def answer(nonce: str, count: int = 1, *, private: str = "private", algorithm: str = "MD5", uri: str = TARGET) -> str:
    def hashed(text: str) -> str:
        return hashlib.new(algorithm.replace("-", "").lower(), text.encode()).hexdigest()

    key, request = hashed(f"public:{REALM}:{private}"), hashed(f"PATCH:{uri}")
    response = hashed(f"{key}:{nonce}:{count:08x}:cnonce:auth:{request}")
    return (
        f'username="public", realm="{REALM}", nonce="{nonce}", uri="{uri}", algorithm={algorithm}, '
        f'qop=auth, nc={count:08x}, cnonce="cnonce", response="{response}"'
    )


def refusal(digest: Digest, parameters: str, *, method: str = "PATCH", target: str = TARGET) -> str:
    with pytest.raises(AtlasError) as caught:
        digest.check(method, target, parameters)
    assert caught.value.status == 401
    return dict(caught.value.headers)["WWW-Authenticate"]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_right_digest_is_accepted(digest: Digest, algorithm: str) -> None:
    """The right response to a challenge is accepted, with MD5 or SHA-256."""
    nonce = nonce_of(digest.challenge())
    assert digest.check("PATCH", TARGET, answer(nonce, algorithm=algorithm)).id == "public"


def test_one_challenge_serves_many_calls(digest: Digest) -> None:
    """A challenge is reused with a rising count, also if concurrent calls overtake each other."""
    nonce = nonce_of(digest.challenge())
    for count in (1, 2, 5, 4, 3, 70, 6):
        digest.check("PATCH", TARGET, answer(nonce, count))


def test_count_is_good_once(digest: Digest) -> None:
    """A count that was used is rejected as stale, and so is one far below the highest."""
    nonce = nonce_of(digest.challenge())
    digest.check("PATCH", TARGET, answer(nonce, 1))
    assert "stale=true" in refusal(digest, answer(nonce, 1))
    digest.check("PATCH", TARGET, answer(nonce, WINDOW + 2))
    assert "stale=true" in refusal(digest, answer(nonce, 2))
    assert "stale=true" in refusal(digest, answer(nonce, 0))


def test_long_use_of_one_challenge_is_bounded(digest: Digest) -> None:
    """A challenge that was used very often still rejects every count that it saw."""
    nonce = nonce_of(digest.challenge())
    for count in range(1, 2 * WINDOW + 10):
        digest.check("PATCH", TARGET, answer(nonce, count))
    assert "stale=true" in refusal(digest, answer(nonce, 2 * WINDOW))
    assert "stale=true" in refusal(digest, answer(nonce, 3))


def test_old_nonce_is_stale(digest: Digest, clock: Clock) -> None:
    """A nonce that is too old, ended, or unknown is rejected as stale: the key itself is good."""
    nonce, other = nonce_of(digest.challenge()), nonce_of(digest.challenge())
    assert digest.end_all() == 2
    assert "stale=true" in refusal(digest, answer(nonce))
    assert "stale=true" in refusal(digest, answer("unknown"))
    other = nonce_of(digest.challenge())
    clock.advance(300)
    assert "stale=true" in refusal(digest, answer(other))


@pytest.mark.parametrize(
    "change",
    [
        ('username="public"', 'username="other"'),
        ("qop=auth", "qop=auth-int"),
        ("nc=00000001", "nc=1"),
        ('cnonce="cnonce"', 'cnonce=""'),
        (f'realm="{REALM}"', 'realm="other"'),
        ("algorithm=MD5", "algorithm=SHA-512"),
        ('response="', 'response="0'),
    ],
    ids=lambda change: change[1],
)
def test_wrong_digest_is_rejected(digest: Digest, change: tuple[str, str]) -> None:
    """A response with any wrong part is rejected, and is not called stale."""
    parameters = answer(nonce_of(digest.challenge()))
    assert change[0] in parameters
    assert "stale=false" in refusal(digest, parameters.replace(*change))


def test_wrong_key_method_or_target_is_rejected(digest: Digest) -> None:
    """The digest is valid for one key, one method, one path with its query."""
    nonce = nonce_of(digest.challenge())
    assert "stale=false" in refusal(digest, answer(nonce, private="wrong"))
    assert "stale=false" in refusal(digest, answer(nonce), method="DELETE")
    assert "stale=false" in refusal(digest, answer(nonce), target=TARGET + "x")


async def test_client_pays_for_one_challenge(sandbox: Sandbox) -> None:
    """A client with digest makes two round trips for the first call and one for each later call."""
    url = "http://atlas.test/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8"
    transport = httpx.ASGITransport(create_app(sandbox))
    auth = httpx.DigestAuth("sandbox", "sandbox-private-key")
    async with httpx.AsyncClient(transport=transport, auth=auth) as client:
        for _ in range(3):
            answer = await client.get(url, headers={"Accept": "application/vnd.atlas.2023-01-01+json"})
            assert answer.status_code == 200
    assert sandbox.calls.by_status == {"ReadProject 401": 1, "ReadProject 200": 3}


async def test_rotated_key_is_rejected(sandbox: Sandbox) -> None:
    """After a rotation the old private key is rejected and the new one accepted, for the same public key."""
    sandbox.credentials.add(Credential("apiKey", "sandbox", "new"))
    url = "http://atlas.test/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8"
    headers = {"Accept": "application/vnd.atlas.2023-01-01+json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(sandbox)), headers=headers) as client:
        old = await client.get(url, auth=httpx.DigestAuth("sandbox", "sandbox-private-key"))
        new = await client.get(url, auth=httpx.DigestAuth("sandbox", "new"))
    assert (old.status_code, new.status_code) == (401, 200)
