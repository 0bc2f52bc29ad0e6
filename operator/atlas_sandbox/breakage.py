"""Apply a fault to a call: send a wrong response, or break the connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from atlas_sandbox.errors import reason_of
from atlas_sandbox.faults import GARBAGE, HTML, ConnectionFault, Fault
from atlas_sandbox.wire import ClientDisconnectedError, Encoded, HttpRequest, Response, encode, head_of

if TYPE_CHECKING:
    from starlette.types import Receive

_CUT_OFF = Encoded(200, "application/json", b'{"id": "32b6e34b3d91647abb20e7b8", "roles": ["GROUP_READ_ONLY"]}')


async def strike(fault: Fault, incoming: HttpRequest, receive: Receive, response: Response | None) -> Response | None:
    """Apply a fault; `response` is the true response, or None if the call has not been carried out.

    Returns the response to send instead, or None to send the true one (the time-out of the fault has passed).

    Raises:
        ConnectionFault: nothing is sent, or only a part.
        ClientDisconnectedError: the client did not wait.
    """
    match fault.kind:
        case "status":
            return _status(fault)
        case "html":
            return Response(fault.status or 502, raw=HTML, media_type="text/html", headers=tuple(fault.headers.items()))
        case "empty":
            return Response(
                fault.status or 200, raw=b"", media_type=fault.content_type, headers=tuple(fault.headers.items())
            )
        case "timeout":
            await _hold(fault, incoming, receive)
            return None
        case "truncated":
            whole = encode(response, incoming.query, keep_status=True) if response is not None else _CUT_OFF
            whole = whole if whole.body else _CUT_OFF
            raise ConnectionFault(fault.kind, head_of(whole) + whole.body[: len(whole.body) // 2])
        case "garbage":
            raise ConnectionFault(fault.kind, GARBAGE)
        case "reset" | "close":
            raise ConnectionFault(fault.kind)


async def break_connection(transport: asyncio.Transport, fault: ConnectionFault, receive: Receive) -> None:
    """Break the connection: `reset` sends a TCP reset; the other kinds send their bytes and then close it."""
    if fault.kind == "reset":
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        if fault.sent:
            transport.write(fault.sent)
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass


def _status(fault: Fault) -> Response:
    status, headers = fault.status or 500, tuple(fault.headers.items())
    if fault.body is not None:
        return Response(status, raw=fault.body.encode(errors="replace"), media_type=fault.content_type, headers=headers)
    body = {
        "detail": fault.detail,
        "error": status,
        "errorCode": fault.error_code,
        "parameters": fault.parameters,
        "reason": reason_of(status),
    }
    return Response(status, body, headers=headers)


async def _hold(fault: Fault, incoming: HttpRequest, receive: Receive) -> None:
    if incoming.transport is None:
        if fault.seconds is None:
            raise ConnectionFault(fault.kind)
        await asyncio.sleep(fault.seconds)
        return
    leaving = asyncio.ensure_future(receive())
    try:
        done, _ = await asyncio.wait({leaving}, timeout=fault.seconds)
    finally:
        leaving.cancel()
    if done:
        raise ClientDisconnectedError
