"""The trail: one log line for each change that was requested from Atlas. No line contains an e-mail.

The lines have no request id: neither the OpenAPI document nor recorded responses have a header with one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from atlas_invites.telemetry.logs import subject

if TYPE_CHECKING:
    from atlas_invites.atlas.calls import Call

log = logging.getLogger(__name__)

T = TypeVar("T")


def log_change(call: Call[T], status: int | None) -> None:
    """Log a call that changes something in Atlas, with the object that is being reconciled; ignore a read.

    Args:
        call: what was requested.
        status: the HTTP status of the response, or None without a response: the change may have been made.
    """
    operation = call.endpoint.operation
    if operation.is_read:
        return
    body = call.body or {}
    roles = body.get("roles") or [role for role in (body.get("groupRole"),) if role]
    log.info(
        "%s in project %s: %s%s",
        operation,
        call.group_id,
        "no response" if status is None else f"HTTP {status}",
        f"; roles: {', '.join(roles)}" if roles else "",
        extra={
            "object": subject(),
            "fields": {
                "operation": call.endpoint.operation,
                "project": call.group_id,
                "roles": roles,
                "status": status,
            },
        },
    )
