"""Validate a request: ids, e-mails, roles, and the attributes of its JSON body."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import ROLE, Membership

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ID = re.compile(r"[a-f0-9]{24}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
EMAIL_LENGTH = 254
PAGE = 500
"""The most items that one page may have."""


def object_id(value: str, code: str) -> str:
    """Check and return an id of 24 lower-case hex digits.

    Raises:
        AtlasError: `code`.
    """
    if _ID.fullmatch(value) is None:
        raise AtlasError(code, value)
    return value


def body_object(raw: bytes, allowed: frozenset[str]) -> dict[str, object]:
    """Parse a JSON object with only these attributes: Atlas rejects unknown attributes, and does not ignore them.

    Raises:
        AtlasError: 400 MALFORMED_JSON or INVALID_ATTRIBUTE.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AtlasError("MALFORMED_JSON") from error
    if not isinstance(body, dict):
        raise AtlasError("MALFORMED_JSON")
    for attribute in body:
        if attribute not in allowed:
            raise AtlasError("INVALID_ATTRIBUTE", attribute, fields=((attribute, "unknown attribute"),))
    return body


def email(body: dict[str, object]) -> str:
    """Return the attribute `username`: an e-mail address, as it was written.

    Raises:
        AtlasError: 400 MISSING_ATTRIBUTE, INVALID_JSON_ATTRIBUTE or INVALID_EMAIL_ADDRESS.
    """
    value = _attribute(body, "username")
    if not isinstance(value, str):
        raise AtlasError("INVALID_JSON_ATTRIBUTE", "username", fields=(("username", "must be a string"),))
    if len(value) > EMAIL_LENGTH or _EMAIL.fullmatch(value) is None:
        raise AtlasError("INVALID_EMAIL_ADDRESS", value, fields=(("username", "must be an email address"),))
    return value


def roles(body: dict[str, object], attribute: str = "roles") -> tuple[str, ...]:
    """Return a list of project roles, at least one, without duplicates.

    Raises:
        AtlasError: 400 MISSING_ATTRIBUTE, INVALID_JSON_ATTRIBUTE, VALIDATION_ERROR or INVALID_ENUM_VALUE.
    """
    value = _attribute(body, attribute)
    if not isinstance(value, list):
        raise AtlasError("INVALID_JSON_ATTRIBUTE", attribute, fields=((attribute, "must be a list of strings"),))
    if not value:
        raise AtlasError(
            "VALIDATION_ERROR", f"{attribute} must not be empty.", fields=((attribute, "must not be empty"),)
        )
    return tuple(dict.fromkeys(_role(item, attribute) for item in value))


def role(body: dict[str, object]) -> str:
    """Return the attribute `groupRole`: one project role.

    Raises:
        AtlasError: 400 MISSING_ATTRIBUTE, INVALID_JSON_ATTRIBUTE or INVALID_ENUM_VALUE.
    """
    return _role(_attribute(body, "groupRole"), "groupRole")


def flag(query: Mapping[str, Sequence[str]], name: str, *, default: bool = False) -> bool:
    """Return a query parameter that is true or false.

    Raises:
        AtlasError: 400 VALIDATION_ERROR.
    """
    value = query.get(name, [str(default)])[-1].lower()
    if value not in {"true", "false"}:
        raise AtlasError("VALIDATION_ERROR", f"Query parameter {name} must be true or false.")
    return value == "true"


def number(query: Mapping[str, Sequence[str]], name: str, default: int, most: int | None = None) -> int:
    """Return a query parameter that is a whole number from 1.

    Raises:
        AtlasError: 400 VALIDATION_ERROR.
    """
    value = query.get(name, [str(default)])[-1]
    count = int(value) if value.isascii() and value.isdigit() and len(value) <= 9 else 0  # noqa: PLR2004 - fits an int32
    if count < 1 or (most is not None and count > most):
        limit = "at least 1" if most is None else f"from 1 to {most}"
        raise AtlasError("VALIDATION_ERROR", f"Query parameter {name} must be {limit}.")
    return count


def statuses(query: Mapping[str, Sequence[str]], default: frozenset[Membership]) -> frozenset[Membership]:
    """Return the `orgMembershipStatuses` of the query, or the deprecated `orgMembershipStatus`, but not both.

    Raises:
        AtlasError: 400 VALIDATION_ERROR or INVALID_ENUM_VALUE.
    """
    many, one = query.get("orgMembershipStatuses", []), query.get("orgMembershipStatus", [])
    if many and one:
        text = "orgMembershipStatus cannot be combined with orgMembershipStatuses."
        raise AtlasError("VALIDATION_ERROR", text)
    wanted = set()
    for value in (*many, *one):
        if value not in Membership.__members__:
            raise AtlasError("INVALID_ENUM_VALUE", value)
        wanted.add(Membership(value))
    return frozenset(wanted) or default


def _attribute(body: dict[str, object], name: str) -> object:
    if body.get(name) is None:
        raise AtlasError("MISSING_ATTRIBUTE", name, fields=((name, "must not be null"),))
    return body[name]


def _role(value: object, attribute: str) -> str:
    if not isinstance(value, str):
        raise AtlasError("INVALID_JSON_ATTRIBUTE", attribute, fields=((attribute, "must be a string"),))
    if ROLE.fullmatch(value) is None:
        raise AtlasError("INVALID_ENUM_VALUE", value, fields=((attribute, "unknown role"),))
    return value
