"""A headless Chromium, controlled through its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.control_plane.processes import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "--window-size=1400,1000"),
)
PATIENCE = 30.0
"""The time limit for a page or a response of the browser, in seconds."""


class BrowserError(Exception):
    """No browser is installed, or a command to the browser failed."""


class Browser:
    """One tab.

    Attributes:
        requested: every URL that the pages have requested since the browser started.
        complaints: every error that the pages have logged, and every request that failed.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._responses: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()

    async def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._loaded.clear()
        await self.do("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def evaluate(self, script: str) -> Any:  # noqa: ANN401 - any value of JavaScript
        """Return the value of a JavaScript expression; for a promise, its result.

        Raises:
            BrowserError: the expression throws.
        """
        done = await self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise BrowserError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    async def wait_for(self, script: str) -> Any:  # noqa: ANN401 - as above
        """Return the first truthy value of an expression.

        Raises:
            BrowserError: there was none in time.
        """
        end = asyncio.get_running_loop().time() + PATIENCE
        while not (value := await self.evaluate(script)):
            if asyncio.get_running_loop().time() > end:
                raise BrowserError(f"not true in time on {await self.evaluate('location.href')}: {script}")
            await asyncio.sleep(0.05)
        return value

    async def do(self, method: str, **parameters: Any) -> Any:  # noqa: ANN401 - any value of the protocol
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        self._responses[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await asyncio.wait_for(self._responses[number], PATIENCE)

    async def listen(self) -> None:
        """Receive the messages of the browser until it ends."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                future = self._responses.pop(said["id"])
                if "error" in said:
                    future.set_exception(BrowserError(str(said["error"])))
                else:
                    future.set_result(said["result"])
            else:
                self._note(said["method"], said["params"])

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Network.requestWillBeSent":
            self.requested.append(about["request"]["url"])
        elif event == "Network.responseReceived" and about["response"]["status"] >= 400:
            self.complaints.append(f"{about['response']['status']} {about['response']['url']}")
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start a browser with an empty profile, which ends with the block.

    Raises:
        BrowserError: no browser is installed.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise BrowserError("no Chromium is installed: apt-get install chromium")
    group = ProcessGroup()
    profile = tempfile.mkdtemp(dir=group.folder)
    try:
        process = group.start("chromium", [found, *FLAGS, f"--user-data-dir={profile}", "about:blank"])
        port = Path(profile) / "DevToolsActivePort"
        group.wait_until(lambda: port.exists() and port.read_text().count("\n") > 0, process)
        host = f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{host}/json/list") as response:
                (tab,) = [one for one in await response.json() if one["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                started = Browser(socket)
                listener = asyncio.create_task(started.listen())
                for domain in ("Page", "Network", "Runtime", "Log"):
                    await started.do(f"{domain}.enable")
                yield started
                listener.cancel()
    finally:
        group.close()
