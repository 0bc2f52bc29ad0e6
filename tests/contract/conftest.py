"""The operator's client and the sandbox, on real sockets: neither uses the other's code."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from atlas_invites.atlas.client import Atlas
from atlas_invites.invitation.case import Target
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_sandbox import settings
from atlas_sandbox.app import create_app
from atlas_sandbox.credentials import Credential
from atlas_sandbox.sandbox import PROJECT_ID, Sandbox
from atlas_sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_invites.atlas.project import Project
    from atlas_invites.atlas.sunset import Mode
    from atlas_invites.invitation.model import Observation
    from atlas_sandbox.faults import Fault

CANARY = "canary-9b2e"
KEY = ApiKey(f"{CANARY}-public", f"{CANARY}-private")
ACCOUNT = ServiceAccount(f"mdb_sa_id_{CANARY}", f"mdb_sa_sk_{CANARY}")


@dataclass
class Bench:
    """The sandbox with its controls, and clients of it. Every field of every credential contains the canary."""

    sandbox: Sandbox
    url: str
    credentials: Credentials = KEY
    envelope: bool = False

    @asynccontextmanager
    async def client(self, api: Mode = "auto") -> AsyncIterator[Atlas]:
        async with Atlas(self.url, envelope=self.envelope, api=api) as atlas:
            yield atlas

    @asynccontextmanager
    async def project(self, api: Mode = "auto", group_id: str = PROJECT_ID) -> AsyncIterator[Project]:
        async with self.client(api) as atlas:
            yield atlas.project(self.credentials, group_id)

    def fault(self, fault: Fault) -> None:
        self.sandbox.faults.add(fault)

    def change(self, body: dict[str, object]) -> None:
        settings.change(self.sandbox, body)

    def calls(self, *without: str) -> list[str]:
        """Return the operations that were called and admitted, in order."""
        latest = self.sandbox.calls.latest(100_000)
        return [call.operation for call in latest if call.status != 401 and call.operation not in without]


async def look(project: Project, username: str | None, invitation_id: str | None = None) -> Observation:
    """Read until an invitation or user is found, or everything was read."""

    def is_enough(seen: Observation) -> bool:
        return bool(seen.invitations or seen.users)

    return await project.look(Target(username, invitation_id), time.monotonic(), is_enough)


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    app = create_app()
    sandbox: Sandbox = app.state.sandbox
    sandbox.credentials.add(Credential("apiKey", KEY.public_key, KEY.private_key))
    sandbox.credentials.add(Credential("serviceAccount", ACCOUNT.client_id, ACCOUNT.client_secret))
    async with serve(app) as url:
        yield Bench(sandbox, url)


@pytest.fixture(params=["digest", "bearer"])
def way(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    """The bench, for both ways to authenticate."""
    bench.credentials = KEY if request.param == "digest" else ACCOUNT
    return bench


@pytest.fixture(params=["plain", "enveloped", "enveloped with its status"])
def every_way(request: pytest.FixtureRequest, way: Bench) -> Bench:
    """The bench, for both ways to authenticate, plain and enveloped (whose HTTP status may be 200 or the real one)."""
    way.envelope = request.param != "plain"
    way.sandbox.envelope_keeps_status = request.param.endswith("status")
    return way
