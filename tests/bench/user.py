"""Create, change and delete thousands of objects through the API server, many at a time."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from pathlib import Path

NAMESPACE = "bench"
SECRET = "atlas-credentials"
AT_A_TIME = 40
_MERGE = "application/merge-patch+json"


class User:
    """An administrator of the cluster, with a kubeconfig in JSON."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server: str = cluster["server"]
        self._tls = ssl.create_default_context(cadata=authority)
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}

    def create(self, objects: Iterable[dict[str, Any]]) -> None:
        """Create objects."""
        self._all([("POST", "", json.dumps(body), "application/json") for body in objects])

    def change(self, names: Iterable[str], spec: dict[str, Any]) -> None:
        """Change the same fields of the spec of many objects."""
        body = json.dumps({"spec": spec})
        self._all([("PATCH", f"/{name}", body, _MERGE) for name in names])

    def label(self, names: Iterable[str], value: str) -> None:
        """Set a label on many objects: an ordinary write for the API server, and no work for the operator."""
        body = json.dumps({"metadata": {"labels": {"bench": value}}})
        self._all([("PATCH", f"/{name}", body, _MERGE) for name in names])

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects."""
        self._all([("DELETE", f"/{name}", None, _MERGE) for name in names])

    def _all(self, requests: list[tuple[str, str, str | None, str]]) -> None:
        asyncio.run(self._send(requests))

    async def _send(self, requests: list[tuple[str, str, str | None, str]]) -> None:
        path = f"{self._server}/apis/atlasinvites.io/v1alpha1/namespaces/{NAMESPACE}/atlasprojectinvites"
        queue = iter(requests)
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=AT_A_TIME)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers) as session:

            async def work() -> None:
                for method, name, body, kind in queue:
                    headers = {"Content-Type": kind}
                    async with session.request(method, path + name, data=body, headers=headers) as response:
                        text = await response.text()
                        assert response.ok, text

            jobs: list[Coroutine[Any, Any, None]] = [work() for _ in range(min(AT_A_TIME, len(requests)))]
            await asyncio.gather(*jobs)
