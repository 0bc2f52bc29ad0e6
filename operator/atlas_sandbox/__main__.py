"""Run the sandbox as a program: `python -m atlas_sandbox`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from atlas_sandbox.app import create_app
from atlas_sandbox.sandbox import Sandbox
from atlas_sandbox.server import LOOPBACK, SandboxServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code: 0, or 1 if the address cannot be bound."""
    parser = argparse.ArgumentParser(prog="atlas_sandbox", description="A stand-in for the MongoDB Atlas Admin API.")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8081, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--latency", type=float, default=0.0, help="seconds by which every call is delayed (default: 0)"
    )
    options = parser.parse_args(arguments)
    try:
        server = SandboxServer(create_app(Sandbox(latency=options.latency)), options.host, options.port)
    except OSError as error:
        sys.stderr.write(f"atlas_sandbox: cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(server))
    return 0


async def _run(server: SandboxServer) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    task = asyncio.create_task(server.run_until_stopped())
    await server.ready.wait()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    await task


if __name__ == "__main__":
    sys.exit(main())
