"""The sandbox as an ASGI application: the Atlas API under `/api/`, the control API under `/_sandbox/`."""

from __future__ import annotations

from asyncio import sleep
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount

from atlas_sandbox.api import username_of
from atlas_sandbox.auth import auth_kind
from atlas_sandbox.breakage import break_connection, strike
from atlas_sandbox.calls import CallRecord
from atlas_sandbox.control import HANDLED_ERRORS, Control, error_response
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.faults import ConnectionFault, Fault, FaultKind
from atlas_sandbox.gate import Gate
from atlas_sandbox.oauth import client_id_of
from atlas_sandbox.operations import Route, route
from atlas_sandbox.sandbox import Sandbox
from atlas_sandbox.wire import (
    ClientDisconnectedError,
    DateHeader,
    HttpRequest,
    Response,
    encode,
    read_body,
    send_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send


def create_app(
    sandbox: Sandbox | None = None, *, connection_error: Callable[[FaultKind], Exception] = ConnectionFault
) -> Starlette:
    """Create the application of one sandbox (a new one by default), which is `app.state.sandbox`.

    In process there is no socket to break. There a fault of the connection raises `connection_error(kind)` from the
    application to the client.
    """
    sandbox = sandbox or Sandbox()
    app = Starlette(
        routes=[Mount("/_sandbox", routes=Control(sandbox).routes())],
        middleware=[Middleware(DateHeader, clock=sandbox.clock)],
        exception_handlers={**dict.fromkeys(HANDLED_ERRORS, error_response), Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    app.router.default = AtlasApi(sandbox, connection_error)
    app.state.sandbox = sandbox
    return app


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    error = AtlasError("UNEXPECTED_ERROR")
    return JSONResponse(error.body(), error.status)


@dataclass(slots=True)
class _Progress:
    """What is known about a call so far, for the log of calls."""

    operation: str = "Unknown"
    credential: str = ""
    fault: str = ""
    status: int = 0


class AtlasApi:
    """The API itself: each request gets one response (or fault) and one entry in the log of calls."""

    def __init__(self, sandbox: Sandbox, connection_error: Callable[[FaultKind], Exception]) -> None:
        self._sandbox = sandbox
        self._gate = Gate(sandbox)
        self._connection_error = connection_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        incoming, progress, started = HttpRequest.of(scope), _Progress(), self._sandbox.clock()
        try:
            response = await self._respond(incoming, receive, progress)
            encoded = encode(response, incoming.query, keep_status=self._sandbox.envelope_keeps_status)
            progress.status = response.status
            await send_response(send, encoded, response.headers)
        except ConnectionFault as fault:
            if incoming.transport is None:
                raise self._connection_error(fault.kind) from fault
            await break_connection(incoming.transport, fault, receive)
        except ClientDisconnectedError:
            pass  # The client is gone, so nothing is sent; the call is recorded below.
        finally:
            self._sandbox.calls.add(
                CallRecord(
                    number=self._sandbox.calls.total + 1,
                    time=started,
                    operation=progress.operation,
                    method=incoming.method,
                    path=incoming.target,
                    status=progress.status,
                    auth=auth_kind(incoming.header(b"authorization")),
                    credential=progress.credential,
                    fault=progress.fault,
                )
            )

    async def _respond(self, incoming: HttpRequest, receive: Receive, progress: _Progress) -> Response:
        try:
            where = route(incoming.method, incoming.path)
            progress.operation = where.operation.name
            body = await read_body(receive)
        except AtlasError as error:
            return Response.of(error)
        if self._sandbox.latency > 0:
            await sleep(self._sandbox.latency)
        refused, credential = None, None
        try:
            credential = self._gate.admit(incoming, where)
        except AtlasError as error:
            refused = Response.of(error)
        authorization = incoming.header(b"authorization")
        progress.credential = credential.id if credential else client_id_of(authorization)
        fault = self._fault(incoming, where, body, authenticated=refused is None)
        if fault is None:
            return refused or self._gate.carry_out(incoming, where, body, credential)
        progress.fault = f"{fault.kind} {fault.when}"
        if fault.when == "before":
            struck = await strike(fault, incoming, receive, None)
            return struck or refused or self._gate.carry_out(incoming, where, body, credential)
        response = refused or self._gate.carry_out(incoming, where, body, credential)
        return await strike(fault, incoming, receive, response) or response

    def _fault(self, incoming: HttpRequest, where: Route, body: bytes, *, authenticated: bool) -> Fault | None:
        faults = self._sandbox.faults
        if not faults:
            return None
        username = username_of(self._sandbox.state, body, incoming.query, where)
        return faults.take(where.operation.name, where.project_id, username, authenticated=authenticated)
