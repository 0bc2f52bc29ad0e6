"""HTTP digest authentication (RFC 7616, `qop=auth`), as a strict server checks it.

A client may use a challenge many times: it counts `nc` up, and every count is valid once. Concurrent requests of one
client overtake each other. So any count that was not seen before is valid, within a window below the highest one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import TYPE_CHECKING

from atlas_sandbox.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_sandbox.credentials import Credential, Credentials

REALM = "MMS Public API"
"""The realm of Atlas's own challenges."""
NONCES_KEPT = 10_000
WINDOW = 4096

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_NC = re.compile(r"[0-9a-fA-F]{8}")
_HASHES: dict[str, Callable[[bytes], hashlib._Hash]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
}


@dataclass(slots=True)
class _Nonce:
    made_at: datetime
    ended: bool = False
    highest: int = 0
    seen: set[int] = field(default_factory=set)

    def use(self, count: int) -> bool:
        """Mark this count as used, and return whether it was valid and unused before."""
        if count <= max(0, self.highest - WINDOW) or count in self.seen:
            return False
        self.seen.add(count)
        self.highest = max(self.highest, count)
        if len(self.seen) > 2 * WINDOW:
            self.seen = {number for number in self.seen if number > self.highest - WINDOW}
        return True


class Digest:
    """Create challenges, and check the responses to them; `lifetime` is how long a challenge is valid, in seconds."""

    def __init__(self, credentials: Credentials, now: Callable[[], datetime]) -> None:
        self.lifetime = 300.0
        self._credentials = credentials
        self._now = now
        self._nonces: OrderedDict[str, _Nonce] = OrderedDict()
        self._secrets: dict[tuple[str, str, str], str] = {}

    def challenge(self, *, stale: bool = False) -> AtlasError:
        """Return a 401 with a new nonce; `stale` tells the client that its key is valid and only the nonce is not."""
        nonce = secrets.token_urlsafe(24)
        self._nonces[nonce] = _Nonce(self._now())
        if len(self._nonces) > NONCES_KEPT:
            self._nonces.popitem(last=False)
        value = (
            f'Digest realm="{REALM}", domain="", nonce="{nonce}", algorithm=MD5, qop="auth", stale={str(stale).lower()}'
        )
        return AtlasError("UNAUTHORIZED", headers=(("WWW-Authenticate", value),))

    def end_all(self) -> int:
        """Make every nonce stale, and return their number."""
        count = len(self._nonces)
        for nonce in self._nonces.values():
            nonce.ended = True
        return count

    def check(self, method: str, target: str, parameters: str) -> Credential:
        """Return the API key that made this response; `target` is the request's path with its query, as it was sent.

        Raises:
            AtlasError: 401 with a new challenge: wrong key, wrong response, old nonce, or a count that was used before.
        """
        given = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(parameters)}
        nonce = self._nonces.get(given.get("nonce", ""))
        credential = self._credentials.of("apiKey", given.get("username", ""))
        well_formed = (
            given.get("realm") == REALM
            and given.get("qop") == "auth"
            and bool(given.get("cnonce"))
            and _NC.fullmatch(given.get("nc", "")) is not None
            and given.get("uri", "").rstrip("?") == target.rstrip("?")
            and given.get("algorithm", "MD5").upper() in _HASHES
        )
        if credential is None or not well_formed:
            raise self.challenge()
        if not compare_digest(self._expected(credential, method, given).encode(), given.get("response", "").encode()):
            raise self.challenge()
        fresh = nonce is not None and not nonce.ended and self._now() - nonce.made_at < timedelta(seconds=self.lifetime)
        if nonce is None or not fresh or not nonce.use(int(given["nc"], 16)):
            raise self.challenge(stale=True)
        return credential

    def _expected(self, credential: Credential, method: str, given: dict[str, str]) -> str:
        algorithm = given.get("algorithm", "MD5").upper()
        hashed = _HASHES[algorithm]
        key = (algorithm, credential.id, credential.secret)
        secret = self._secrets.get(key)
        if secret is None:
            secret = hashed(f"{credential.id}:{REALM}:{credential.secret}".encode()).hexdigest()
            self._secrets[key] = secret
        request = hashed(f"{method}:{given['uri']}".encode()).hexdigest()
        response = f"{secret}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{request}"
        return hashed(response.encode()).hexdigest()
