"""The two ways to authenticate, each a flow that can be run with ``next()`` and ``send()`` and no network.

``DigestAuth`` (API key, RFC 7616) reuses its challenge, so that a steady client pays one round trip. ``BearerAuth``
(service account, RFC 6749 client credentials) shares one token among all, and renews it before it ends. Both hold
secrets: neither shows them in its repr.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from atlas_invites.atlas.answers import failure_of
from atlas_invites.atlas.errors import AtlasUnavailable
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_invites.invitation.model import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

TOKEN_PATH = "/api/oauth/token"  # noqa: S105 - where tokens come from
TOKEN_LIFE = 3600.0
"""Seconds that a token is used at most, also where its answer does not say how long it lives (Atlas: one hour)."""
RENEW_AT = 0.8
"""The part of its life after which a token is renewed."""
RENEW_AGAIN = 30.0
"""Seconds between attempts to renew a token that still works."""
TOKENS, TOKENS_IN = 2, 60.0
"""A token that met a 401 is replaced only if Atlas gave fewer tokens than that in the last so many seconds."""
PROBE_WITH = 240.0
"""Seconds after which a rejected project is tried with a new token: Atlas may have forgotten the old one."""


def auth_for(
    credentials: Credentials, url: httpx.URL, clock: Callable[[], float] = time.monotonic
) -> DigestAuth | BearerAuth:
    """Return the way to authenticate with these credentials at the Atlas of that URL."""
    if isinstance(credentials, ApiKey):
        return DigestAuth(credentials)
    return BearerAuth(credentials, url.copy_with(path=TOKEN_PATH), clock)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a ``WWW-Authenticate: Digest`` asks for, with the client nonce that we answer it with."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    opaque: str | None = None
    qop: bool = True
    stale: bool = False
    cnonce: str = field(default_factory=lambda: secrets.token_hex(16))

    def hash(self, text: str) -> str:
        """Return the hex digest of the algorithm (RFC 7616: MD5 or SHA-256, each also as ``-sess``)."""
        if self.algorithm.upper().startswith("SHA-256"):
            return hashlib.sha256(text.encode()).hexdigest()
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def secret(self, key: ApiKey) -> str:
        """Return HA1. The client nonce is one for all calls of a challenge, so that ``-sess`` has but one reading."""
        secret = self.hash(f"{key.public_key}:{self.realm}:{key.private_key}")
        if self.algorithm.upper().endswith("-SESS"):
            return self.hash(f"{secret}:{self.nonce}:{self.cnonce}")
        return secret


_ALGORITHMS = ("SHA-256", "SHA-256-SESS", "MD5", "MD5-SESS")
_DIGEST = re.compile(r"(?:^|,)\s*digest\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def challenge_of(headers: Iterable[str]) -> Challenge | None:
    """Return the strongest digest challenge of the ``WWW-Authenticate`` headers that we can answer, or None."""
    found = [challenge for header in headers for part in _DIGEST.split(header)[1:] if (challenge := _challenge(part))]
    return min(found, key=lambda challenge: _ALGORITHMS.index(challenge.algorithm.upper()), default=None)


def _challenge(text: str) -> Challenge | None:
    given: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(text):
        given.setdefault(name.lower(), plain or re.sub(r"\\(.)", r"\1", quoted))
    qop = {option.strip().lower() for option in given["qop"].split(",")} if "qop" in given else None
    algorithm = given.get("algorithm", "MD5")
    if not given.get("nonce") or algorithm.upper() not in _ALGORITHMS or (qop is not None and "auth" not in qop):
        return None
    return Challenge(
        realm=given.get("realm", ""),
        nonce=given["nonce"],
        algorithm=algorithm,
        opaque=given.get("opaque"),
        qop=qop is not None,
        stale=given.get("stale", "").lower() == "true",
    )


class DigestAuth(httpx.Auth):
    """HTTP digest with one challenge for all calls; ``nc`` rises with each and never repeats for a nonce.

    A call that is refused is signed again with the challenge that came with the refusal. If that is refused too, and
    with another challenge, Atlas does not know the key: the response is marked ``unknown_key``. A refusal without a
    challenge is about the call's project; one more try, freshly signed, decides, unless the call is a probe.
    """

    ATTEMPTS = 4
    fetching = False

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self._challenge: Challenge | None = None
        self._secret = ""
        self._count = 0

    def ready_for(self, _request: httpx.Request) -> bool:
        """Return whether a challenge is known; if none is, let one call through at a time, which brings it."""
        return self._challenge is not None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request, signed when a challenge is known, until it is not refused or a refusal is final.

        Raises:
            AtlasUnavailable: every challenge is stale at once, which says nothing of the key.
        """
        ours = is_second = False
        for _ in range(self.ATTEMPTS):
            used = self._challenge
            if used is not None:
                request.headers["Authorization"] = self._signature(used, request)
            response = yield request
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                return
            challenge = challenge_of(response.headers.get_list("WWW-Authenticate"))
            if challenge is None:
                if is_second or request.extensions.get("is_probe"):
                    return
                is_second = True
            elif ours and not challenge.stale:
                response.extensions["unknown_key"] = True
                return
            elif ours := self._challenge is used:  # else another call has brought a newer one meanwhile
                self._adopt(challenge)
        raise AtlasUnavailable.of(request.extensions["operation"], "no challenge lasts", sent=False)

    def _adopt(self, challenge: Challenge) -> None:
        if self._challenge is None or self._challenge.nonce != challenge.nonce:
            self._count = 0
        self._challenge = challenge
        self._secret = challenge.secret(self._key)

    def _signature(self, challenge: Challenge, request: httpx.Request) -> str:
        self._count += 1
        uri = request.url.raw_path.decode("ascii")
        resource = challenge.hash(f"{request.method}:{uri}")
        said = {"username": self._key.public_key, "realm": challenge.realm, "nonce": challenge.nonce, "uri": uri}
        bare = {"algorithm": challenge.algorithm}
        signed = [self._secret, challenge.nonce, resource]
        if challenge.qop:
            count = f"{self._count:08x}"
            signed[2:2] = [count, challenge.cnonce, "auth"]
            said["cnonce"] = challenge.cnonce
            bare |= {"nc": count, "qop": "auth"}
        said["response"] = challenge.hash(":".join(signed))
        if challenge.opaque is not None:
            said["opaque"] = challenge.opaque
        quoted = [f'{name}="{_escaped(value)}"' for name, value in said.items()]
        return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare.items())])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and when it ends (seconds of the monotonic clock)."""

    value: str = field(repr=False)
    ends_at: float


class BearerAuth(httpx.Auth):
    """OAuth 2.0 client credentials with one token for all calls.

    If there is no token, let one call through at a time (``ready_for``): it brings one. A token is renewed by one call
    when 80 % of its life is over, while the others go on with it.

    A 401 may mean that Atlas has forgotten the token, or be about the call's project. The response is marked
    ``try_again``. The second try replaces the token that met the 401, unless the call had just fetched it, and at most
    twice a minute; the other calls go on with the old one meanwhile.
    """

    def __init__(self, account: ServiceAccount, url: httpx.URL, clock: Callable[[], float] = time.monotonic) -> None:
        self._account = account
        self._url = url
        self._clock = clock
        self._token: Token | None = None
        self._renew_at = 0.0
        self._asked_at = 0.0
        self._given_at: deque[float] = deque(maxlen=TOKENS)
        self._fetching = 0

    @property
    def fetching(self) -> bool:
        """Whether a token is on its way."""
        return self._fetching > 0

    @property
    def ready(self) -> bool:
        """Whether there is a token that has not ended."""
        return self._token is not None and self._clock() < self._token.ends_at

    def ready_for(self, request: httpx.Request) -> bool:
        """Return whether there is a token for a request: another one than it was refused with, if one may be had."""
        return self.ready and not self._is_refused(request)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield a request for a token where one is due, then the request with the token.

        Raises:
            AtlasFailure: the token endpoint gave none; ``operation`` is Token.
        """
        token, is_refused = self._token, self._is_refused(request)
        if self._is_due(request):
            self._asked_at = began = self._clock()
            self._renew_at = max(self._renew_at, began + RENEW_AGAIN)
            self._fetching += 1
            try:
                response = yield self._request(request)
            finally:
                self._fetching -= 1
            self._accept(response, began, is_refused=is_refused)
        is_new = self._token is not token
        token = self._token
        request.headers["Authorization"] = f"Bearer {token.value if token else ''}"
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            response.extensions["try_again"] = True
            if not is_new:
                request.extensions["refused_token"] = token

    def _is_due(self, request: httpx.Request) -> bool:
        """Return whether a token has to be asked for before a request goes."""
        now = self._clock()
        if not self.ready or now >= self._renew_at:
            return True
        is_old = request.extensions.get("is_probe", False) and now >= self._asked_at + PROBE_WITH
        return (is_old or self._is_refused(request)) and self._may_replace()

    def _is_refused(self, request: httpx.Request) -> bool:
        """Return whether a request needs another token than the one there is, which it was refused with.

        If that one may not be replaced yet, it is new, and the 401 is not about the token.
        """
        was_used = self.ready and self._token is request.extensions.get("refused_token")
        return was_used and (self.fetching or self._may_replace())

    def _may_replace(self) -> bool:
        """Return whether one more token may be asked for because of a 401."""
        now = self._clock()
        return self._fetching + sum(now < at + TOKENS_IN for at in self._given_at) < TOKENS

    def _request(self, request: httpx.Request) -> httpx.Request:
        """Return the request for a token that a request needs (Atlas: POST /api/oauth/token at the host's root)."""
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

    def _accept(self, response: httpx.Response, began: float, *, is_refused: bool) -> None:
        """Keep the token of an answer; without one go on with the old one while it lasts, unless that was refused."""
        failure = failure_of(Operation.TOKEN, response.status_code, response.extensions["json"], response.headers)
        token = None if failure else _token(response.extensions["json"], began)
        if token is not None:
            self._token = token
            self._given_at.append(self._clock())
            self._renew_at = began + RENEW_AT * (token.ends_at - began)
        elif is_refused or not self.ready:
            raise failure or AtlasUnavailable.of(Operation.TOKEN, "an answer that cannot be read")


def _token(json: object, began: float) -> Token | None:
    """Return the token of an answer that was asked for at ``began``, or None for an answer that has none."""
    if not isinstance(json, dict):
        return None
    value, life = json.get("access_token"), json.get("expires_in", TOKEN_LIFE)
    if isinstance(value, str) and re.fullmatch(r"[!-~]+", value) and isinstance(life, int | float) and life > 0:
        return Token(value, began + min(life, TOKEN_LIFE))
    return None
