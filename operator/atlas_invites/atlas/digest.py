"""HTTP digest authentication with an API key (RFC 7616), as a flow of ``next()`` and ``send()``.

A challenge is reused, so that a call usually needs only one round trip. The key is a secret: no repr shows it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from atlas_invites.atlas.errors import AtlasUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from atlas_invites.invitation.credentials import ApiKey


@dataclass(frozen=True, slots=True)
class Challenge:
    """The content of a ``WWW-Authenticate: Digest`` header, with our client nonce."""

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
        """Return HA1. All calls of a challenge share one client nonce, so that ``-sess`` is unambiguous."""
        secret = self.hash(f"{key.public_key}:{self.realm}:{key.private_key}")
        if self.algorithm.upper().endswith("-SESS"):
            return self.hash(f"{secret}:{self.nonce}:{self.cnonce}")
        return secret


_ALGORITHMS = ("SHA-256", "SHA-256-SESS", "MD5", "MD5-SESS")
_DIGEST = re.compile(r"(?:^|,)\s*digest\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def challenge_of(headers: Iterable[str]) -> Challenge | None:
    """Return the strongest digest challenge of the ``WWW-Authenticate`` headers that is supported, or None."""
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
    """HTTP digest with one challenge for all calls; ``nc`` rises with each call and never repeats for a nonce.

    A call that gets a 401 is signed again with the challenge of the 401. If the second 401 has a new challenge too,
    Atlas does not know the key: the response is marked ``unknown_key``. A 401 without a challenge is about the project
    of the call; unless the call is a probe, it is confirmed by one more attempt with a new signature.
    """

    ATTEMPTS = 4
    fetching = 0

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self._challenge: Challenge | None = None
        self._secret = self._prefix = ""
        self._count = 0

    def ready_for(self, _request: httpx.Request) -> bool:
        """Return whether a challenge is known. If not, the caller must send one call at a time: it gets a challenge."""
        return self._challenge is not None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request, signed if a challenge is known, until there is no 401 or the 401 is final.

        Raises:
            AtlasUnavailable: every challenge is stale immediately, which says nothing about the key.
        """
        used_current = is_second = False
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
            elif used_current and not challenge.stale:
                response.extensions["unknown_key"] = True
                return
            elif used_current := self._challenge is used:  # else another call has got a newer one meanwhile
                self._adopt(challenge)
        raise AtlasUnavailable.of(request.extensions["operation"], "every challenge is stale", sent=False)

    def _adopt(self, challenge: Challenge) -> None:
        if self._challenge is None or self._challenge.nonce != challenge.nonce:
            self._count = 0
        self._challenge = challenge
        self._secret = challenge.secret(self._key)
        said = {"username": self._key.public_key, "realm": challenge.realm, "nonce": challenge.nonce}
        if challenge.opaque is not None:
            said["opaque"] = challenge.opaque
        quoted = [f'{name}="{_escaped(value)}"' for name, value in said.items()]
        self._prefix = ", ".join([*quoted, f"algorithm={challenge.algorithm}"])

    def _signature(self, challenge: Challenge, request: httpx.Request) -> str:
        """Return the header that signs a request. The URL has neither quotation marks nor backslashes."""
        self._count += 1
        uri = request.url.raw_path.decode("ascii")
        resource = challenge.hash(f"{request.method}:{uri}")
        signed, count = f"{self._secret}:{challenge.nonce}", ""
        if challenge.qop:
            signed += f":{self._count:08x}:{challenge.cnonce}:auth"
            count = f', nc={self._count:08x}, cnonce="{challenge.cnonce}", qop=auth'
        return f'Digest {self._prefix}, uri="{uri}", response="{challenge.hash(f"{signed}:{resource}")}"{count}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
