"""Authentication: HTTP digest with an API key, or a bearer token of a service account. Both are really checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from atlas_sandbox.digest import Digest
from atlas_sandbox.oauth import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_sandbox.credentials import Credential, Credentials

AuthKind = Literal["digest", "bearer", "basic", "none"]


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The two authentication methods."""

    digest: Digest
    tokens: Tokens

    @classmethod
    def of(cls, credentials: Credentials, now: Callable[[], datetime]) -> Authenticator:
        """Create an authenticator for these credentials, with this clock."""
        return cls(Digest(credentials, now), Tokens(credentials, now))

    def identify(self, method: str, target: str, authorization: str) -> Credential:
        """Return the credential of an `Authorization` header; `target` is path and query as they were sent.

        Raises:
            AtlasError: 401 with a challenge.
        """
        scheme, _, parameters = authorization.partition(" ")
        match scheme.lower():
            case "digest":
                return self.digest.check(method, target, parameters)
            case "bearer":
                return self.tokens.check(parameters.strip())
            case _:
                raise self.digest.challenge()


def auth_kind(authorization: str) -> AuthKind:
    """Return the kind of an `Authorization` header for the log of calls, without any of its content."""
    match authorization.partition(" ")[0].lower():
        case "digest":
            return "digest"
        case "bearer":
            return "bearer"
        case "basic":
            return "basic"
        case _:
            return "none"
