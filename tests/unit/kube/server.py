"""An API server whose responses a test chooses, and a client of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@asynccontextmanager
async def api_server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[ApiClient]:
    """Serve on a free port of loopback, and return a client."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        client = ApiClient(Configuration(host=f"http://{host}:{port}"))
        try:
            yield client
        finally:
            await client.close()  # type: ignore[no-untyped-call]
    finally:
        await runner.cleanup()


def always(
    status: int = 200, text: str = "", content_type: str = "application/json"
) -> Callable[..., Awaitable[web.Response]]:
    """Return the same response to every request."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type=content_type)

    return answer
