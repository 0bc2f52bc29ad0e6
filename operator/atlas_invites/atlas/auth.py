"""The two ways to authenticate: HTTP digest for an API key, a bearer token for a service account."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from atlas_invites.atlas.bearer import BearerAuth
from atlas_invites.atlas.digest import DigestAuth
from atlas_invites.invitation.credentials import ApiKey, Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

TOKEN_PATH = "/api/oauth/token"  # noqa: S105 - where tokens come from


def auth_for(
    credentials: Credentials, url: httpx.URL, clock: Callable[[], float] = time.monotonic
) -> DigestAuth | BearerAuth:
    """Return the way to authenticate with these credentials at the Atlas of that URL."""
    if isinstance(credentials, ApiKey):
        return DigestAuth(credentials)
    return BearerAuth(credentials, url.copy_with(path=TOKEN_PATH), clock)
