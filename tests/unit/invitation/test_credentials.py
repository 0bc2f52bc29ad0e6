"""Credentials of the official operator's Secret, and every way in which they can be wrong."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest

from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount, parse

CANARY = "canary-1f2e3d"


def data(**values: str | bytes) -> dict[str, str]:
    """Return a Secret's ``data``: base64 values."""
    raw = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
    return {key: b64encode(value).decode() for key, value in raw.items()}


@pytest.mark.parametrize(
    ("secret", "credentials"),
    [
        (data(publicApiKey="pub", privateApiKey="priv"), ApiKey("pub", "priv")),
        (data(clientId="id", clientSecret="secret"), ServiceAccount("id", "secret")),
        (data(orgId="o", publicApiKey="pub", privateApiKey="priv"), ApiKey("pub", "priv")),
        (data(clientId="id\n", clientSecret=" secret \n"), ServiceAccount("id", "secret")),
        (data(publicApiKey="pub", privateApiKey="priv", note=b"\xff\x00"), ApiKey("pub", "priv")),
        (data(publicApiKey="clé", privateApiKey="p:r i+v/"), ApiKey("clé", "p:r i+v/")),
        (data(publicApiKey="pub", privateApiKey="priv", clientId="", clientSecret=""), ApiKey("pub", "priv")),
        (data(publicApiKey="\n", privateApiKey="", clientId="id", clientSecret="s"), ServiceAccount("id", "s")),
        (data(publicApiKey="", clientId="id", clientSecret="s"), ServiceAccount("id", "s")),
    ],
    ids=[
        "api-key",
        "service-account",
        "with-org-id",
        "white-space-around",
        "other-keys",
        "any-text",
        "empty-service-account",
        "empty-api-key",
        "one-empty-key",
    ],
)
def test_good_secrets(secret: dict[str, str], credentials: Credentials) -> None:
    """Either pair is taken; white space around a value, other keys, empty ones and a missing orgId do not matter."""
    assert parse(secret) == credentials


NEITHER = "it has neither publicApiKey and privateApiKey nor clientId and clientSecret; fill one pair"
BOTH = "it has keys of both pairs; keep publicApiKey and privateApiKey, or clientId and clientSecret"


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ({}, NEITHER),
        (data(orgId=CANARY, password=CANARY), NEITHER),
        (data(publicApiKey="", privateApiKey="", clientId="", clientSecret=" "), NEITHER),
        (data(PublicApiKey=CANARY, PrivateApiKey=CANARY), NEITHER),
        (data(publicApiKey=CANARY), "the key privateApiKey is missing or empty; fill it"),
        (data(privateApiKey=CANARY), "the key publicApiKey is missing or empty; fill it"),
        (data(clientId=CANARY), "the key clientSecret is missing or empty; fill it"),
        (data(clientSecret=CANARY), "the key clientId is missing or empty; fill it"),
        (data(publicApiKey=CANARY, privateApiKey=CANARY, clientId=CANARY, clientSecret=CANARY), BOTH),
        (data(publicApiKey=CANARY, clientSecret=CANARY), BOTH),
        (data(publicApiKey=CANARY, privateApiKey=CANARY, clientId="", clientSecret=CANARY), BOTH),
        (data(publicApiKey=CANARY, privateApiKey=""), "the key privateApiKey is missing or empty; fill it"),
        (data(clientId=" \n", clientSecret=CANARY), "the key clientId is missing or empty; fill it"),
        (
            {**data(clientId=CANARY), "clientSecret": CANARY + "!"},
            "the key clientSecret does not hold printable text; write it again",
        ),
        (
            {**data(clientId=CANARY), "clientSecret": CANARY + "é"},
            "the key clientSecret does not hold printable text; write it again",
        ),
        (
            data(clientId=CANARY, clientSecret=b"\xff\xfe" + CANARY.encode()),
            "the key clientSecret does not hold printable text; write it again",
        ),
        (
            data(publicApiKey=f"{CANARY}\nx", privateApiKey=CANARY),
            "the key publicApiKey does not hold printable text; write it again",
        ),
        (
            data(publicApiKey=CANARY, privateApiKey=f"{CANARY}\x00"),
            "the key privateApiKey does not hold printable text; write it again",
        ),
    ],
)
def test_bad_secrets(secret: dict[str, str], message: str) -> None:
    """What is wrong is said by the names of keys, with what to do, and never by a value."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as caught:
        parse(secret)
    assert CANARY not in repr(caught.value)


@pytest.mark.parametrize("credentials", [ApiKey(CANARY, CANARY), ServiceAccount(CANARY, CANARY)])
def test_credentials_do_not_show_themselves(credentials: Credentials) -> None:
    """Whoever logs credentials by mistake logs no value."""
    assert CANARY not in f"{credentials} {credentials!r}"


def test_credentials_tell_a_rotation() -> None:
    """Credentials are compared by value: the same Secret read twice is the same, a rotated one is not."""
    assert parse(data(clientId="id", clientSecret="a")) == parse(data(clientId="id", clientSecret="a"))
    assert parse(data(clientId="id", clientSecret="a")) != parse(data(clientId="id", clientSecret="b"))
    assert len({ApiKey("a", "b"), ApiKey("a", "b"), ServiceAccount("a", "b")}) == 2
