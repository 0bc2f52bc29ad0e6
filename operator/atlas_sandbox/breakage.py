"""How a fault strikes: an answer that Atlas would not give, or a connection that breaks."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from atlas_sandbox.errors import reason_of
from atlas_sandbox.faults import GARBAGE, HTML, ConnectionFault, Fault
from atlas_sandbox.wire import Answer, Asked, ClientLeftError, Encoded, encode, head_of

if TYPE_CHECKING:
    from starlette.types import Receive

_CUT_OFF = Encoded(200, "application/json", b'{"id": "32b6e34b3d91647abb20e7b8", "roles": ["GROUP_READ_ONLY"]}')


async def strike(fault: Fault, asked: Asked, receive: Receive, answer: Answer | None) -> Answer | None:
    """Let a fault strike; `answer` is the true one, None where the call has not been carried out.

    Returns what is answered instead, None for the true answer (a time-out that is over).

    Raises:
        ConnectionFault: nothing is answered, or not all of it.
        ClientLeftError: the client did not wait.
    """
    match fault.kind:
        case "status":
            return _status(fault)
        case "html":
            return Answer(fault.status or 502, raw=HTML, media_type="text/html", headers=tuple(fault.headers.items()))
        case "empty":
            return Answer(
                fault.status or 200, raw=b"", media_type=fault.content_type, headers=tuple(fault.headers.items())
            )
        case "timeout":
            await _hold(fault, asked, receive)
            return None
        case "truncated":
            whole = encode(answer, asked.query, keep_status=True) if answer is not None else _CUT_OFF
            whole = whole if whole.body else _CUT_OFF
            raise ConnectionFault(fault.kind, head_of(whole) + whole.body[: len(whole.body) // 2])
        case "garbage":
            raise ConnectionFault(fault.kind, GARBAGE)
        case "reset" | "close":
            raise ConnectionFault(fault.kind)


async def break_connection(transport: asyncio.Transport, fault: ConnectionFault, receive: Receive) -> None:
    """Break the connection as ordered: `reset` sends a TCP reset, the others what they have and then the end."""
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


def _status(fault: Fault) -> Answer:
    status, headers = fault.status or 500, tuple(fault.headers.items())
    if fault.body is not None:
        return Answer(status, raw=fault.body.encode(errors="replace"), media_type=fault.content_type, headers=headers)
    body = {
        "detail": fault.detail,
        "error": status,
        "errorCode": fault.error_code,
        "parameters": fault.parameters,
        "reason": reason_of(status),
    }
    return Answer(status, body, headers=headers)


async def _hold(fault: Fault, asked: Asked, receive: Receive) -> None:
    if asked.transport is None:
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
        raise ClientLeftError
