"""Bearer authentication with a service account (RFC 6749, client credentials), as a flow of ``next()`` and ``send()``.

All calls share one token, which is renewed before it expires. Account and token are secrets: no repr shows them.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable
from atlas_invites.invitation.model import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from atlas_invites.invitation.credentials import ServiceAccount

TOKEN_LIFE = 3600.0
"""The maximum lifetime of a token in seconds, and the default if the response has none (Atlas: one hour)."""
RENEW_AT = 0.8
"""The part of its lifetime after which a token is renewed."""
RENEW_AGAIN = 30.0
"""Seconds between attempts to renew a token that still works."""
TOKENS, TOKENS_IN = 2, 60.0
"""After a 401 the token is replaced only if Atlas issued fewer than TOKENS tokens in the last TOKENS_IN seconds."""
PROBE_WITH = 240.0
"""Seconds after which a rejected project is tried with a new token: the old one may have been revoked."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and when it expires (seconds of the monotonic clock)."""

    value: str = field(repr=False)
    ends_at: float


class BearerAuth(httpx.Auth):
    """OAuth 2.0 client credentials with one token for all calls.

    If there is no token, the caller must send one call at a time (``ready_for``): the first call fetches a token. When
    80 % of its lifetime is over, one call renews the token, and the other calls continue to use the old one.

    A 401 may mean that Atlas does not know the token any more, or it may be about the project of the call. The response
    is marked ``try_again``. The second attempt replaces the token, unless the call had just fetched it, and at most
    twice a minute. Meanwhile the other calls continue to use the old token.
    """

    def __init__(self, account: ServiceAccount, url: httpx.URL, clock: Callable[[], float]) -> None:
        self._account = account
        self._url = url
        self._clock = clock
        self._token: Token | None = None
        self._renew_at = 0.0
        self._asked_at = 0.0
        self._given_at: deque[float] = deque(maxlen=TOKENS)
        self.fetching = 0
        """How many requests for a token are in progress."""

    @property
    def ready(self) -> bool:
        """Whether there is a token that has not expired."""
        return self._token is not None and self._clock() < self._token.ends_at

    def ready_for(self, request: httpx.Request) -> bool:
        """Return whether there is a token for a request. A rejected one counts only if it stays in use."""
        return self.ready and not self._is_rejected(request)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield a request for a token if one is due, then the request with the token.

        Raises:
            AtlasFailure: the token endpoint returned none; ``operation`` is Token.
        """
        token, is_rejected = self._token, self._is_rejected(request)
        if self._is_due(request):
            self._asked_at = began = self._clock()
            self._renew_at = max(self._renew_at, began + RENEW_AGAIN)
            self.fetching += 1
            try:
                response = yield self._request(request)
            finally:
                self.fetching -= 1
            self._accept(response, began, is_rejected=is_rejected)
        is_new = self._token is not token
        token = self._token
        request.headers["Authorization"] = f"Bearer {token.value if token else ''}"
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            response.extensions["try_again"] = True
            if not is_new:
                request.extensions["rejected_token"] = token

    def _is_due(self, request: httpx.Request) -> bool:
        """Return whether a token must be requested before the request is sent."""
        now = self._clock()
        if not self.ready or now >= self._renew_at:
            return True
        is_old = request.extensions.get("is_probe", False) and now >= self._asked_at + PROBE_WITH
        return (is_old or self._is_rejected(request)) and self._may_replace()

    def _is_rejected(self, request: httpx.Request) -> bool:
        """Return whether a request was rejected with the current token and needs another one.

        If the token may not be replaced yet, it is new, so the 401 is not about the token.
        """
        was_used = self.ready and self._token is request.extensions.get("rejected_token")
        return was_used and (self.fetching > 0 or self._may_replace())

    def _may_replace(self) -> bool:
        """Return whether one more token may be requested because of a 401."""
        now = self._clock()
        return self.fetching + sum(now < at + TOKENS_IN for at in self._given_at) < TOKENS

    def _request(self, request: httpx.Request) -> httpx.Request:
        """Return the request for a token (Atlas: POST /api/oauth/token at the root of the host)."""
        pair = f"{self._account.client_id}:{self._account.client_secret}".encode()
        return httpx.Request(
            "POST",
            self._url,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Authorization": f"Basic {base64.b64encode(pair).decode()}",
                "User-Agent": request.headers["User-Agent"],
            },
            data={"grant_type": "client_credentials"},
            extensions={**request.extensions, "operation": Operation.TOKEN, "of": id(self), "envelope": False},
        )

    def _accept(self, response: httpx.Response, began: float, *, is_rejected: bool) -> None:
        """Store the token of a response. Without one, keep the old token while it is valid and was not rejected."""
        failure: AtlasFailure | None = response.extensions["failure"]
        token = None if failure else _token(response.extensions["json"], began)
        if token is not None:
            self._token = token
            self._given_at.append(self._clock())
            self._renew_at = began + RENEW_AT * (token.ends_at - began)
        elif is_rejected or not self.ready:
            raise failure or AtlasUnavailable.of(Operation.TOKEN, "a response that cannot be read")


def _token(json: object, began: float) -> Token | None:
    """Return the token of a response, or None if it has none. ``began``: when the request was sent."""
    if not isinstance(json, dict):
        return None
    value, life = json.get("access_token"), json.get("expires_in", TOKEN_LIFE)
    if isinstance(value, str) and re.fullmatch(r"[!-~]+", value) and isinstance(life, int | float) and life > 0:
        return Token(value, began + min(life, TOKEN_LIFE))
    return None
