"""The HTTP endpoint for probes and metrics: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence


def build_app(
    alive: Callable[[], str | None], ready: Callable[[], str | None], details: Callable[[], Sequence[str]]
) -> web.Application:
    """Return the web application of the endpoint.

    Args:
        alive: returns why the process should be restarted, or None.
        ready: returns why the process is not ready, or None.
        details: returns additional lines for ``/readyz?verbose``.
    """

    def respond(problem: str | None, details: Sequence[str] = ()) -> web.Response:
        lines = [*details, problem or "ok"]
        return web.Response(text="".join(f"{line}\n" for line in lines), status=503 if problem else 200)

    async def healthz(_: web.Request) -> web.Response:
        return respond(alive())

    async def readyz(request: web.Request) -> web.Response:
        return respond(ready(), details() if "verbose" in request.query else ())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application while the context lasts.

    Raises:
        OSError: the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
