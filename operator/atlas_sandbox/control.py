"""The levers under `/_sandbox/`: what people do in Atlas, and what is set to go wrong. JSON in, JSON out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atlas_sandbox.faults import Fault

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from atlas_sandbox.sandbox import Sandbox


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The routes that move one sandbox."""

    async def add_fault(request: Request) -> Response:
        body = json.loads(await request.body())
        fault = sandbox.faults.add(
            Fault(
                kind=body["kind"],
                operations=frozenset(body.get("operations", [])),
                project=body.get("project", ""),
                username=body.get("username", ""),
                when=body.get("when", "before"),
                count=body.get("count", 1),
                status=body.get("status"),
                error_code=body.get("errorCode", "UNEXPECTED_ERROR"),
                headers=body.get("headers", {}),
            )
        )
        return JSONResponse({"id": fault.id}, 201)

    async def clear_faults(_request: Request) -> Response:
        sandbox.faults.clear()
        return Response(status_code=204)

    async def list_calls(_request: Request) -> Response:
        latest = [{**asdict(call), "time": call.time.isoformat()} for call in sandbox.calls.latest(1000)]
        return JSONResponse({"total": sandbox.calls.total, "counts": sandbox.calls.by_operation, "calls": latest})

    return [
        Route("/faults", add_fault, methods=["POST"]),
        Route("/faults", clear_faults, methods=["DELETE"]),
        Route("/calls", list_calls, methods=["GET"]),
    ]
