"""The endpoint for probes and metrics, over a real server on loopback."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.metrics import MetricWrapperBase

from atlas_invites.telemetry import metrics
from atlas_invites.telemetry.probes import build_app, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class State:
    """The state that the operator would report."""

    def __init__(self) -> None:
        self.dead: str | None = None
        self.not_ready: str | None = None
        self.details: list[str] = []


@asynccontextmanager
async def endpoint(state: State) -> AsyncIterator[str]:
    """Serve on a free port of loopback, and return the base URL."""
    app = build_app(alive=lambda: state.dead, ready=lambda: state.not_ready, details=lambda: state.details)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_alive_and_ready() -> None:
    """Both probes respond with 200 and ok."""
    async with endpoint(State()) as url:
        assert await get(f"{url}/healthz") == (200, "ok\n")
        assert await get(f"{url}/readyz") == (200, "ok\n")


async def test_each_probe_is_separate() -> None:
    """503 with the reason as text; a process that is not ready is not restarted for it."""
    state = State()
    async with endpoint(state) as url:
        state.not_ready = "the first complete list has not arrived"
        assert await get(f"{url}/readyz") == (503, "the first complete list has not arrived\n")
        assert await get(f"{url}/healthz") == (200, "ok\n")
        state.not_ready, state.dead = None, "the watch shows nothing"
        assert await get(f"{url}/readyz") == (200, "ok\n")
        assert await get(f"{url}/healthz") == (503, "the watch shows nothing\n")


async def test_readiness_in_detail() -> None:
    """Only on request, as with the probes of Kubernetes: `?verbose`."""
    state = State()
    state.details = ["[+]namespace team-a ok", "[-]namespace team-b not served: HTTP 403"]
    async with endpoint(state) as url:
        assert await get(f"{url}/readyz") == (200, "ok\n")
        assert await get(f"{url}/readyz?verbose") == (200, "\n".join([*state.details, "ok\n"]))
        assert await get(f"{url}/healthz?verbose") == (200, "ok\n")


async def test_metrics() -> None:
    """Prometheus can read them, and they include the operator's own."""
    metrics.RECONCILES.labels("Settled", "Invited").inc()
    async with endpoint(State()) as url, aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = await answer.text()
    assert 'atlas_invites_reconcile_total{outcome="Settled",reason="Invited"}' in text
    assert "atlas_invites_reconcile_seconds_bucket" in text


async def test_other_paths_are_not_found() -> None:
    """There is nothing else to read, and nothing to change."""
    async with endpoint(State()) as url:
        assert (await get(f"{url}/"))[0] == 404
        async with aiohttp.ClientSession() as session, session.post(f"{url}/healthz") as answer:
            assert answer.status == 405


async def test_the_server_ends_with_its_context(unused_tcp_port: int) -> None:
    """It listens as long as the context lasts; then the port is free again."""
    url = f"http://127.0.0.1:{unused_tcp_port}/healthz"
    for _ in range(2):
        async with serve(build_app(lambda: None, lambda: None, list), "127.0.0.1", unused_tcp_port):
            assert await get(url) == (200, "ok\n")
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(url)


async def test_an_address_in_use_is_an_error(unused_tcp_port: int) -> None:
    """A process that cannot listen reports it at the start."""
    async with serve(build_app(lambda: None, lambda: None, list), "127.0.0.1", unused_tcp_port):
        with pytest.raises(OSError, match="address already in use"):
            async with serve(build_app(lambda: None, lambda: None, list), "127.0.0.1", unused_tcp_port):
                pytest.fail("two servers on one port")


def test_no_metric_has_a_label_that_could_name_someone() -> None:
    """Every metric of the operator has the prefix, and no label for an e-mail, an object or a project."""
    ours = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    assert len(ours) >= 2
    for metric in ours:
        (family,) = metric.describe()
        assert family.name.startswith("atlas_invites_")
        assert not {"email", "username", "namespace", "name", "object", "project", "group"} & set(metric._labelnames)  # noqa: SLF001 - shown nowhere else
