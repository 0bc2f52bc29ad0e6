"""Service accounts: the token endpoint (OAuth 2.0 client credentials) and the bearer tokens that it issues.

Errors here have OAuth's body (RFC 6749, 5.2: `error` is a word), not Atlas's.
"""

from __future__ import annotations

import secrets
from base64 import b64decode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from atlas_sandbox.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_sandbox.credentials import Credential, Credentials


def client_id_of(authorization: str) -> str:
    """Return the client id of a Basic `Authorization` header, empty if there is none."""
    return _basic(authorization)[0]


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        client_id, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return client_id, secret


class OAuthError(Exception):
    """An error of the token endpoint: HTTP status, OAuth's error code, a description."""

    def __init__(self, status: int, error: str, description: str) -> None:
        self.status = status
        self.error = error
        self.description = description
        super().__init__(f"{status} {error}: {description}")

    def body(self) -> dict[str, object]:
        """Return the JSON body."""
        return {"error": self.error, "error_description": self.description}


class Tokens:
    """Issue tokens to service accounts, and check them; `lifetime` is how long a new token is valid, in seconds."""

    def __init__(self, credentials: Credentials, now: Callable[[], datetime]) -> None:
        self.lifetime = 3600
        self._credentials = credentials
        self._now = now
        self._tokens: dict[str, tuple[str, datetime]] = {}

    def issue(self, authorization: str, body: bytes) -> dict[str, object]:
        """Return the response of the token endpoint: a new token.

        Raises:
            OAuthError: 400 if the grant is not `client_credentials`, 401 for a wrong client.
        """
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        account = self._client(authorization, form)
        if form.get("grant_type") != "client_credentials":
            raise OAuthError(400, "unsupported_grant_type", "The grant type must be client_credentials.")
        token = secrets.token_urlsafe(48)
        self._tokens[token] = (account.id, self._now() + timedelta(seconds=self.lifetime))
        return {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}

    def revoke(self, authorization: str, body: bytes) -> None:
        """Revoke one token of the client (RFC 7009); an unknown token is no error.

        Raises:
            OAuthError: 401 for a wrong client.
        """
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        self._client(authorization, form)
        self._tokens.pop(form.get("token", ""), None)

    def end_all(self) -> int:
        """Invalidate every token, and return their number."""
        count = len(self._tokens)
        self._tokens.clear()
        return count

    def check(self, token: str) -> Credential:
        """Return the service account to which this token was issued.

        Raises:
            AtlasError: 401: the token is unknown or no longer valid, or its account is gone.
        """
        client_id, ends_at = self._tokens.get(token, ("", None))
        account = self._credentials.of("serviceAccount", client_id)
        if account is None or ends_at is None or ends_at <= self._now():
            value = 'Bearer realm="MMS Public API", error="invalid_token"'
            raise AtlasError("UNAUTHORIZED", headers=(("WWW-Authenticate", value),))
        return account

    def _client(self, authorization: str, form: dict[str, str]) -> Credential:
        client_id, secret = _basic(authorization)
        if not client_id:
            client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        account = self._credentials.of("serviceAccount", client_id)
        if account is None or not secrets.compare_digest(account.secret.encode(), secret.encode()):
            raise OAuthError(401, "invalid_client", "The client id or the client secret is wrong.")
        return account
