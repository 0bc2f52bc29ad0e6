"""The checks of one call: credential, address, rate limit and API version. Then the call is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_sandbox.api import Request, perform
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.limits import Caller, Headers
from atlas_sandbox.oauth import OAuthError, client_id_of
from atlas_sandbox.operations import FIRST, REVOKE, Route, resolve_version
from atlas_sandbox.wire import HttpRequest, Response, media_type

if TYPE_CHECKING:
    from datetime import date

    from atlas_sandbox.credentials import Credential
    from atlas_sandbox.sandbox import Sandbox


class Gate:
    """Admit calls to one sandbox, and carry them out."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def admit(self, incoming: HttpRequest, where: Route) -> Credential | None:
        """Return the credential of a call; None for the token endpoint, which checks its own.

        Raises:
            AtlasError: 401 with a challenge.
        """
        if where.operation.scope == "token":
            return None
        return self._sandbox.auth.identify(incoming.method, incoming.target, incoming.header(b"authorization"))

    def carry_out(self, incoming: HttpRequest, where: Route, body: bytes, credential: Credential | None) -> Response:
        """Carry out a call, and return its response, also if it is an error."""
        headers: list[tuple[str, str]] = [("X-Java-Method", where.operation.java_method)]
        try:
            if credential is None:
                response = self._token(incoming, where, body, headers)
            else:
                response = self._call(incoming, where, body, credential, headers)
        except AtlasError as error:
            response = Response.of(error)
        except OAuthError as error:
            response = Response(error.status, error.body())
        return Response(response.status, response.content, response.media_type, (*headers, *response.headers))

    def _token(self, incoming: HttpRequest, where: Route, body: bytes, headers: list[tuple[str, str]]) -> Response:
        tokens, authorization = self._sandbox.auth.tokens, incoming.header(b"authorization")
        headers.extend(
            self._sandbox.limits.take(Caller(where.operation.name, "", client_id_of(authorization), incoming.ip))
        )
        headers.append(("Cache-Control", "no-store"))
        if where.operation is REVOKE:
            tokens.revoke(authorization, body)
            return Response(200, {})
        return Response(200, tokens.issue(authorization, body))

    def _call(
        self, incoming: HttpRequest, where: Route, body: bytes, credential: Credential, headers: list[tuple[str, str]]
    ) -> Response:
        operation, limits = where.operation, self._sandbox.limits
        credential.check_address(incoming.ip)
        headers.extend(limits.take(Caller(operation.name, where.project_id, credential.id, incoming.ip)))
        version = resolve_version(operation, incoming.header(b"accept"))
        if version == FIRST and operation.deprecation:
            if self._sandbox.sunset.gone(self._sandbox.clock()):
                raise AtlasError("VERSION_GONE", version.isoformat(), incoming.path.lstrip("/"))
            headers.extend(self._deprecation(operation.deprecation))
        if operation.sends:
            limits.check_sending(incoming.ip)
        content_type = incoming.header(b"content-type")
        request = Request(where, version, credential, incoming.query, content_type, body, incoming.url)
        content = perform(self._sandbox.state, request)
        if operation.sends:
            limits.count_sending(incoming.ip)
        shown = self._sandbox.overrides.shown(operation.name, where.project_id, content)
        return Response(operation.success, shown, media_type(version))

    def _deprecation(self, since: str) -> Headers:
        day: date = self._sandbox.sunset.day
        sunset = f"{day:%a}, {day.day} {day:%b %Y} 00:00:00 GMT"
        return (("Deprecation", since), ("Sunset", sunset))
