"""Atlas credentials as the official operator's Secret holds them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A programmatic API key: HTTP digest with the public and the private key."""

    public_key: str = field(repr=False)
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account: OAuth 2.0 client credentials."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


Credentials = ApiKey | ServiceAccount

_PAIRS: dict[type[ApiKey | ServiceAccount], tuple[str, str]] = {
    ApiKey: ("publicApiKey", "privateApiKey"),
    ServiceAccount: ("clientId", "clientSecret"),
}


def parse(data: Mapping[str, str]) -> Credentials:
    """Return the credentials of a Secret's ``data`` (base64 values). A key that is empty counts as absent.

    Raises:
        ValueError: neither or both pairs are there, or half of one, or a value is no text. The message names the keys,
            never a value.
    """
    texts = {key: _text(key, data[key]) for pair in _PAIRS.values() for key in pair if key in data}
    given = {key: text for key, text in texts.items() if text}
    wanted = [kind for kind, pair in _PAIRS.items() if any(key in given for key in pair)]
    if not wanted:
        raise ValueError("it has neither publicApiKey and privateApiKey nor clientId and clientSecret; fill one pair")
    if len(wanted) > 1:
        raise ValueError("it has keys of both pairs; keep publicApiKey and privateApiKey, or clientId and clientSecret")
    kind = wanted[0]
    if missing := [key for key in _PAIRS[kind] if key not in given]:
        raise ValueError(f"the key {missing[0]} is missing or empty; fill it")
    first, second = (given[key] for key in _PAIRS[kind])
    return kind(first, second)


def _text(key: str, value: str) -> str:
    try:
        text = base64.b64decode(value, validate=True).decode().strip()
    except ValueError:
        text = None
    if text is None or not text.isprintable():
        raise ValueError(f"the key {key} does not hold printable text; write it again")
    return text
