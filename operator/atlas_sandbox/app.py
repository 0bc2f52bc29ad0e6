"""The sandbox as an ASGI application: the API under `/api/`, its levers under `/_sandbox/`."""

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
from atlas_sandbox.control import REFUSALS, Control, refuse
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.faults import ConnectionFault, Fault, FaultKind
from atlas_sandbox.gate import Gate
from atlas_sandbox.oauth import client_id_of
from atlas_sandbox.operations import Route, route
from atlas_sandbox.sandbox import Sandbox
from atlas_sandbox.wire import Answer, Asked, ClientLeftError, Dated, encode, read_body, send_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send


def create_app(
    sandbox: Sandbox | None = None, *, connection_error: Callable[[FaultKind], Exception] = ConnectionFault
) -> Starlette:
    """The application of one sandbox (a new one by default), which is `app.state.sandbox`.

    Where there is no socket to break (in process), a fault on the connection raises `connection_error(kind)` out of the
    application, to the client.
    """
    sandbox = sandbox or Sandbox()
    app = Starlette(
        routes=[Mount("/_sandbox", routes=Control(sandbox).routes())],
        middleware=[Middleware(Dated, clock=sandbox.clock)],
        exception_handlers={**dict.fromkeys(REFUSALS, refuse), Exception: _unexpected},
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
    """How far a call has come, for the log of calls."""

    operation: str = "Unknown"
    credential: str = ""
    fault: str = ""
    status: int = 0


class AtlasApi:
    """The API itself: one request in, one answer (or fault) out, one line in the log of calls."""

    def __init__(self, sandbox: Sandbox, connection_error: Callable[[FaultKind], Exception]) -> None:
        self._sandbox = sandbox
        self._gate = Gate(sandbox)
        self._connection_error = connection_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        asked, progress, started = Asked.of(scope), _Progress(), self._sandbox.clock()
        try:
            answer = await self._answer(asked, receive, progress)
            encoded = encode(answer, asked.query, keep_status=self._sandbox.envelope_keeps_status)
            progress.status = answer.status
            await send_answer(send, encoded, answer.headers)
        except ConnectionFault as fault:
            if asked.transport is None:
                raise self._connection_error(fault.kind) from fault
            await break_connection(asked.transport, fault, receive)
        except ClientLeftError:
            pass  # Nobody is left to respond to; the call is recorded below.
        finally:
            self._sandbox.calls.add(
                CallRecord(
                    number=self._sandbox.calls.total + 1,
                    time=started,
                    operation=progress.operation,
                    method=asked.method,
                    path=asked.target,
                    status=progress.status,
                    auth=auth_kind(asked.header(b"authorization")),
                    credential=progress.credential,
                    fault=progress.fault,
                )
            )

    async def _answer(self, asked: Asked, receive: Receive, progress: _Progress) -> Answer:
        try:
            where = route(asked.method, asked.path)
            progress.operation = where.operation.name
            body = await read_body(receive)
        except AtlasError as error:
            return Answer.of(error)
        if self._sandbox.latency > 0:
            await sleep(self._sandbox.latency)
        refused, credential = None, None
        try:
            credential = self._gate.admit(asked, where)
        except AtlasError as error:
            refused = Answer.of(error)
        authorization = asked.header(b"authorization")
        progress.credential = credential.id if credential else client_id_of(authorization)
        fault = self._fault(asked, where, body, let_in=refused is None)
        if fault is None:
            return refused or self._gate.carry_out(asked, where, body, credential)
        progress.fault = f"{fault.kind} {fault.when}"
        if fault.when == "before":
            struck = await strike(fault, asked, receive, None)
            return struck or refused or self._gate.carry_out(asked, where, body, credential)
        answer = refused or self._gate.carry_out(asked, where, body, credential)
        return await strike(fault, asked, receive, answer) or answer

    def _fault(self, asked: Asked, where: Route, body: bytes, *, let_in: bool) -> Fault | None:
        faults = self._sandbox.faults
        if not faults:
            return None
        username = username_of(self._sandbox.state, body, asked.query, where)
        return faults.take(where.operation.name, where.project_id, username, let_in=let_in)
