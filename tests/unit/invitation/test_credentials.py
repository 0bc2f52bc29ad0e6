"""Credentials in the official operator's Secret format, and every way in which they can be wrong."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest

from atlas_invites.invitation.credentials import Allowed, ApiKey, Credentials, ServiceAccount, StoredCredentials, parse

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
    """Either pair is accepted. White space around a value, other keys, empty keys and a missing orgId do not matter."""
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
    """The error names the keys and what to do, and never a value."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as caught:
        parse(secret)
    assert CANARY not in repr(caught.value)


@pytest.mark.parametrize("credentials", [ApiKey(CANARY, CANARY), ServiceAccount(CANARY, CANARY)])
def test_credentials_do_not_print_their_values(credentials: Credentials) -> None:
    """Logging credentials by mistake logs no value."""
    assert CANARY not in f"{credentials} {credentials!r}"


def test_credentials_show_a_rotation() -> None:
    """Credentials are compared by value: an unchanged Secret is equal, a rotated one is not."""
    assert parse(data(clientId="id", clientSecret="a")) == parse(data(clientId="id", clientSecret="a"))
    assert parse(data(clientId="id", clientSecret="a")) != parse(data(clientId="id", clientSecret="b"))
    assert len({ApiKey("a", "b"), ApiKey("a", "b"), ServiceAccount("a", "b")}) == 2


OWN, TEAM, PROJECT, OTHER_PROJECT = "platform", "team-a", "32b6e34b3d91647abb20e7b8", "5f3c9d2e8a7b6c5d4e3f2a1b"
LISTED = {
    # annotation: which of the namespaces team-a, team-b and team it allows
    "team-a": {"team-a"},
    "team-a,team-b": {"team-a", "team-b"},
    " team-b , team-a ": {"team-a", "team-b"},
    "team-a,team-a": {"team-a"},
    "team": {"team"},
    "*": {"team-a", "team-b", "team"},
    " * ": {"team-a", "team-b", "team"},
    None: set(),
}
MALFORMED_LISTS = [
    "",
    " ",
    ",",
    "team-a,",
    ",team-a",
    "team-a,,team-b",
    "team-a team-b",
    "team-a;team-b",
    "team-a\nteam-b",
]
MALFORMED_NAMESPACES = [
    *MALFORMED_LISTS,
    "team-*",
    "*,team-a",
    "team-a,*",
    "**",
    ".*",
    "Team-A,team-a",
    "team-a,team_b",
    "-team-a,team-a",
    "team-a,team-a-",
    "team-a," + 64 * "a",
    '["team-a"]',
    "team-a\n",
    "*\n",
    "team-a,\u00a0team-b",
]


@pytest.mark.parametrize("namespace", ["team-a", "team-b", "team"])
@pytest.mark.parametrize(("annotation", "allowed"), LISTED.items())
def test_a_secret_of_another_namespace(annotation: str | None, allowed: set[str], namespace: str) -> None:
    """It serves the namespaces that its annotation lists, each by its full name, or all.

    Without an annotation, none.
    """
    refusal = Allowed(annotation).refusal(OWN, namespace, PROJECT)
    assert (refusal is None) is (namespace in allowed)


@pytest.mark.parametrize("annotation", MALFORMED_NAMESPACES)
def test_malformed_namespaces(annotation: str) -> None:
    """If one entry is not the name of a namespace, the annotation allows nothing, not even its valid entries."""
    for namespace in ("team-a", "team-b", "team", "default", "*", ""):
        refusal = Allowed(annotation).refusal(OWN, namespace, PROJECT)
        assert refusal == (
            "its annotation atlasinvites.io/allowed-namespaces is malformed, so it allows nothing; "
            "write * or names of namespaces, separated by commas"
        )


@pytest.mark.parametrize("annotation", [*LISTED, *MALFORMED_NAMESPACES])
def test_the_secrets_own_namespace(annotation: str | None) -> None:
    """Objects in the Secret's namespace need no annotation, whatever it says."""
    assert Allowed(annotation).refusal(OWN, OWN, PROJECT) is None


@pytest.mark.parametrize("namespace", [OWN, TEAM])
@pytest.mark.parametrize(
    ("annotation", "allowed"),
    [
        (None, True),
        (PROJECT, True),
        (f"{OTHER_PROJECT},{PROJECT}", True),
        (f" {OTHER_PROJECT} , {PROJECT} ", True),
        (OTHER_PROJECT, False),
        (f"{OTHER_PROJECT},{OTHER_PROJECT}", False),
    ],
)
def test_projects(annotation: str | None, allowed: bool, namespace: str) -> None:  # noqa: FBT001 - a case
    """The annotation limits the projects for which a Secret is used, also in its own namespace; without it, all."""
    refusal = Allowed("*", annotation).refusal(OWN, namespace, PROJECT)
    expected = f"its annotation atlasinvites.io/allowed-projects does not list {PROJECT}"
    assert refusal == (None if allowed else expected)


@pytest.mark.parametrize("namespace", [OWN, TEAM])
@pytest.mark.parametrize(
    "annotation",
    [
        *MALFORMED_LISTS,
        "*",
        PROJECT.upper(),
        f"{PROJECT},",
        f"{PROJECT},*",
        f"{PROJECT},my-project",
        f"{PROJECT},{OTHER_PROJECT[1:]}",
        f"{PROJECT},{OTHER_PROJECT}0",
        f"{PROJECT};{OTHER_PROJECT}",
        f"{PROJECT}\n",
    ],
)
def test_malformed_projects(annotation: str, namespace: str) -> None:
    """If one entry is not an id, the annotation allows nothing, also in the Secret's own namespace."""
    for group_id in (PROJECT, OTHER_PROJECT, "*", ""):
        refusal = Allowed("*", annotation).refusal(OWN, namespace, group_id)
        assert refusal == (
            "its annotation atlasinvites.io/allowed-projects is malformed, so it allows nothing; "
            "write project ids, each 24 hex digits in lower case, separated by commas"
        )


def test_both_annotations_must_allow() -> None:
    """An allowed namespace may use the Secret only for allowed projects, and the reverse."""
    uses = {(namespace, project) for namespace in (TEAM, "team-b") for project in (PROJECT, OTHER_PROJECT)}
    allowed = Allowed(TEAM, PROJECT)
    assert {use for use in uses if allowed.refusal(OWN, *use) is None} == {(TEAM, PROJECT)}


def test_a_namespace_is_not_a_prefix() -> None:
    """A Secret of namespace team is not one of team-a."""
    assert Allowed().refusal("team", "team-a", PROJECT) == "it has no annotation atlasinvites.io/allowed-namespaces"


def test_annotations_of_a_secret() -> None:
    """The two annotations decide what is allowed; others do not matter."""
    annotations = {"atlasinvites.io/allowed-namespaces": "*", "allowed-projects": PROJECT, "example.com/x": "y"}
    assert Allowed.by(annotations) == Allowed("*", None)
    assert Allowed.by({"atlasinvites.io/allowed-projects": PROJECT}) == Allowed(None, PROJECT)


def test_stored_credentials_do_not_print_their_values() -> None:
    """Nor do they with their annotations."""
    assert CANARY not in repr(StoredCredentials(ApiKey(CANARY, CANARY), Allowed("*")))
