"""The way of one call through Atlas: who it is, where from, how often, in which version; then it is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_sandbox.api import Request, perform
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.limits import Caller, Headers
from atlas_sandbox.oauth import OAuthError, client_id_of
from atlas_sandbox.operations import FIRST, REVOKE, Route, resolve_version
from atlas_sandbox.wire import Answer, Asked, media_type

if TYPE_CHECKING:
    from datetime import date

    from atlas_sandbox.credentials import Credential
    from atlas_sandbox.sandbox import Sandbox


class Gate:
    """Admits calls to one sandbox, and carries them out."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def admit(self, asked: Asked, where: Route) -> Credential | None:
        """The credential behind a call; None for the token endpoint, which looks for itself.

        Raises:
            AtlasError: 401 with a challenge.
        """
        if where.operation.scope == "token":
            return None
        return self._sandbox.auth.identify(asked.method, asked.target, asked.header(b"authorization"))

    def carry_out(self, asked: Asked, where: Route, body: bytes, credential: Credential | None) -> Answer:
        """Do what a call asks; the answer, also where that is an error."""
        headers: list[tuple[str, str]] = [("X-Java-Method", where.operation.java_method)]
        try:
            if credential is None:
                answer = self._token(asked, where, body, headers)
            else:
                answer = self._call(asked, where, body, credential, headers)
        except AtlasError as error:
            answer = Answer.of(error)
        except OAuthError as error:
            answer = Answer(error.status, error.body())
        return Answer(answer.status, answer.content, answer.media_type, (*headers, *answer.headers))

    def _token(self, asked: Asked, where: Route, body: bytes, headers: list[tuple[str, str]]) -> Answer:
        tokens, authorization = self._sandbox.auth.tokens, asked.header(b"authorization")
        headers.extend(
            self._sandbox.limits.take(Caller(where.operation.name, "", client_id_of(authorization), asked.ip))
        )
        headers.append(("Cache-Control", "no-store"))
        if where.operation is REVOKE:
            tokens.revoke(authorization, body)
            return Answer(200, {})
        return Answer(200, tokens.issue(authorization, body))

    def _call(
        self, asked: Asked, where: Route, body: bytes, credential: Credential, headers: list[tuple[str, str]]
    ) -> Answer:
        operation, limits = where.operation, self._sandbox.limits
        credential.check_address(asked.ip)
        headers.extend(limits.take(Caller(operation.name, where.project_id, credential.id, asked.ip)))
        version = resolve_version(operation, asked.header(b"accept"))
        if version == FIRST and operation.deprecation:
            if self._sandbox.sunset.gone(self._sandbox.clock()):
                raise AtlasError("VERSION_GONE", version.isoformat(), asked.path.lstrip("/"))
            headers.extend(self._deprecation(operation.deprecation))
        if operation.sends:
            limits.check_sending(asked.ip)
        content_type = asked.header(b"content-type")
        request = Request(where, version, credential, asked.query, content_type, body, asked.url)
        content = perform(self._sandbox.state, request)
        if operation.sends:
            limits.count_sending(asked.ip)
        shown = self._sandbox.overrides.shown(operation.name, where.project_id, content)
        return Answer(operation.success, shown, media_type(version))

    def _deprecation(self, since: str) -> Headers:
        day: date = self._sandbox.sunset.day
        sunset = f"{day:%a}, {day.day} {day:%b %Y} 00:00:00 GMT"
        return (("Deprecation", since), ("Sunset", sunset))
