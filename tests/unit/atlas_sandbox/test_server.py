"""The sandbox on a socket: in an event loop, in a thread, as a program."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from atlas_sandbox.__main__ import main
from atlas_sandbox.app import create_app
from atlas_sandbox.sandbox import PROJECT_ID, Sandbox
from atlas_sandbox.server import SandboxServer, serve, serve_in_thread

SOURCES = Path(__file__).parents[3] / "operator"
URL = f"/api/atlas/v2/groups/{PROJECT_ID}"
HEADERS = {"Accept": "application/vnd.atlas.2023-01-01+json"}


async def read(url: str) -> httpx.Response:
    auth = httpx.DigestAuth("sandbox", "sandbox-private-key")
    async with httpx.AsyncClient(auth=auth, headers=HEADERS) as client:
        return await client.get(url + URL)


async def test_serves_in_a_running_loop() -> None:
    """`serve` gives a URL that responds, and leaves nothing listening."""
    async with serve(create_app()) as url:
        assert (await read(url)).status_code == 200
    with pytest.raises(httpx.ConnectError):
        await read(url)


def test_serves_in_a_thread() -> None:
    """`serve_in_thread` serves tests that have no event loop."""
    with serve_in_thread(create_app()) as url:
        answer = httpx.get(url + URL, headers=HEADERS, auth=httpx.DigestAuth("sandbox", "sandbox-private-key"))
    assert answer.status_code == 200


async def test_stopping_does_not_wait_for_held_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is held without an end does not keep the server from stopping."""
    app, held = create_app(), asyncio.Event()
    take = app.state.sandbox.faults.take

    def notice(*arguments: object, **options: object) -> object:
        held.set()
        return take(*arguments, **options)

    monkeypatch.setattr(app.state.sandbox.faults, "take", notice)
    async with serve(app) as url, httpx.AsyncClient(headers=HEADERS) as client:
        await client.post(f"{url}/_sandbox/faults", json={"kind": "timeout", "challenges": True})
        call = asyncio.create_task(client.get(url + URL))
        await held.wait()
    with pytest.raises(httpx.HTTPError):
        await call


async def test_calls_wait_concurrently(monkeypatch: pytest.MonkeyPatch) -> None:
    """All calls wait for the latency at the same time, not one after the other."""
    together = asyncio.Barrier(10)
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await together.wait()

    monkeypatch.setattr("atlas_sandbox.app.sleep", wait)
    transport = httpx.ASGITransport(create_app(Sandbox(latency=0.05)))
    async with httpx.AsyncClient(transport=transport, base_url="http://atlas.test") as client:
        answers = await asyncio.gather(*(client.get(URL) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {401}
    assert waits == [0.05] * 10


async def test_large_body_gets_a_413_on_a_socket() -> None:
    """A body that is far too large is read to its end, so that the client sees the 413."""
    async with serve(create_app()) as url, httpx.AsyncClient(headers=HEADERS) as client:
        answer = await client.post(f"{url}{URL}/invites", content=b" " * 5_000_000)
    assert answer.status_code == 413


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_program_prints_its_url_and_ends_cleanly(number: signal.Signals) -> None:
    """The program takes a free port, prints its URL when it is ready, and exits with 0 when it is stopped."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atlas_sandbox", "--port", "0", "--latency", "0.01"),
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    url = (await program.stdout.readline()).decode().strip()
    assert (await read(url)).status_code == 200
    program.send_signal(number)
    out, err = await program.communicate()
    assert (program.returncode, out, err) == (0, b"", b"")


def test_program_reports_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    """If the port is in use, the program prints one sentence and exits with 1."""
    taken = SandboxServer(create_app())
    port = taken.socket.getsockname()[1]
    assert main(["--port", str(port)]) == 1
    taken.socket.close()
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_listens_on_ipv6_too() -> None:
    """An IPv6 address is shown in brackets."""
    server = SandboxServer(create_app(), host="::1")
    server.socket.close()
    assert server.url.startswith("http://[::1]:")
