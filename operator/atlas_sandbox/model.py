"""The immutable records of Atlas: invitations of the Invites API, users of the Users API, and how they ended."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from unicodedata import normalize

LIFETIME = timedelta(days=30)
"""How long an invitation of either API stays pending (Atlas Admin API facts)."""

ROLE = re.compile(r"GROUP_[A-Z][A-Z0-9_]*")
"""A project role. The documents of the Admin API no longer list the roles."""


def email_key(address: str) -> str:
    """Return the form in which e-mails are compared: lower case, NFC, an internationalized domain as punycode."""
    if address.isascii():
        return address.lower()
    local, at, domain = normalize("NFC", address.lower()).rpartition("@")
    with suppress(UnicodeError):
        domain = domain.encode("idna").decode()
    return f"{local}{at}{domain}"


class Api(StrEnum):
    """The API through which an invitation was sent: each API shows only its own pending invitations."""

    INVITES = "Invites"
    USERS = "Users"


class Membership(StrEnum):
    """`orgMembershipStatus` of the Users API."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REJECTED = "INVITATION_REJECTED"


Via = Literal["team", "organization"]
"""How a person may have access to a project without being a user of it."""

How = Literal["accepted", "declined", "expired", "cancelled", "removed", "replaced"]
"""How an invitation or a membership ended."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A pending invitation of the Invites API."""

    id: str
    username: str
    roles: tuple[str, ...]
    inviter: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """A user of one project, as the Users API shows it.

    `expires_at` is None once the invitation was declined, `joined_at` is None unless the user is ACTIVE.
    """

    id: str
    username: str
    roles: tuple[str, ...]
    status: Membership
    inviter: str
    invited_at: datetime
    expires_at: datetime | None = None
    joined_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An invitation or membership that has ended."""

    api: Api
    id: str
    username: str
    how: How
    at: datetime
