"""Atlas credentials in the Secret format of MongoDB's operator, and which objects may use them."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from atlas_invites.invitation.resource import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED_NAMESPACES, ALLOWED_PROJECTS = f"{GROUP}/allowed-namespaces", f"{GROUP}/allowed-projects"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A programmatic API key: HTTP digest authentication with the public and the private key."""

    public_key: str = field(repr=False)
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account: OAuth 2.0 client credentials."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


Credentials = ApiKey | ServiceAccount


@dataclass(frozen=True, slots=True)
class Allowed:
    """The annotations of a Secret that say which objects may use it. None stands for an absent annotation.

    Attributes:
        namespaces: ``*``, or a comma-separated list of namespaces. Objects in these namespaces may use the Secret, in
            addition to those in its own.
        projects: a comma-separated list of Atlas project ids. The Secret may be used only for these projects. If it is
            absent, the Secret may be used for all projects.
    """

    namespaces: str | None = None
    projects: str | None = None

    @classmethod
    def by(cls, annotations: Mapping[str, str]) -> Self:
        """Return which uses the annotations of a Secret allow."""
        return cls(annotations.get(ALLOWED_NAMESPACES), annotations.get(ALLOWED_PROJECTS))

    def refusal(self, secret_namespace: str, namespace: str, group_id: str) -> str | None:
        """Return why a use of the Secret is not allowed, or None if it is. A malformed annotation allows nothing.

        Args:
            secret_namespace: the namespace of the Secret.
            namespace: the namespace of the object that uses it.
            group_id: the id of the Atlas project for which it is used.
        """
        if namespace != secret_namespace:
            if self.namespaces is None:
                return f"it has no annotation {ALLOWED_NAMESPACES}"
            if self.namespaces.strip(" ") != "*" and (why := _refusal(ALLOWED_NAMESPACES, self.namespaces, namespace)):
                return why
        return None if self.projects is None else _refusal(ALLOWED_PROJECTS, self.projects, group_id)


_ENTRIES = {
    ALLOWED_NAMESPACES: (re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"), "* or names of namespaces"),
    ALLOWED_PROJECTS: (re.compile(r"[a-f0-9]{24}"), "project ids, each 24 hex digits in lower case"),
}
"""The valid entries of each annotation, as a pattern and in words."""


def _refusal(annotation: str, text: str, wanted: str) -> str | None:
    """Return why a comma-separated annotation does not allow the wanted entry, or None if it does."""
    entry, words = _ENTRIES[annotation]
    entries = [part.strip(" ") for part in text.split(",")]
    if any(entry.fullmatch(part) is None for part in entries):
        return f"its annotation {annotation} is malformed, so it allows nothing; write {words}, separated by commas"
    return None if wanted in entries else f"its annotation {annotation} does not list {wanted}"


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """The content of a Secret: credentials, and which objects may use them."""

    credentials: Credentials
    allowed: Allowed = Allowed()


_PAIRS: dict[type[ApiKey | ServiceAccount], tuple[str, str]] = {
    ApiKey: ("publicApiKey", "privateApiKey"),
    ServiceAccount: ("clientId", "clientSecret"),
}


def parse(data: Mapping[str, str]) -> Credentials:
    """Return the credentials in the ``data`` of a Secret (base64 values). An empty key counts as absent.

    Raises:
        ValueError: the Secret has neither pair of keys, both pairs or half of one, or a value is not text. The message
            names the keys, never a value.
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
