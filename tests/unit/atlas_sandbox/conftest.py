"""A sandbox whose clock moves only if a test moves it, and a client in the same process."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

import httpx
import pytest

from atlas_sandbox.app import create_app
from atlas_sandbox.clock import Clock
from atlas_sandbox.sandbox import PROJECT_ID, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START = datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Sandbox:
    numbers = count(1)
    return Sandbox(Clock(lambda: START), lambda: f"{next(numbers):024x}")


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a bearer token, at the project's address, that requests the latest versions."""
    form = b"grant_type=client_credentials&client_id=mdb_sa_id_sandbox&client_secret=mdb_sa_sk_sandbox"
    token = sandbox.auth.tokens.issue("", form)["access_token"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(sandbox)),
        base_url=f"http://atlas.test/api/atlas/v2/groups/{PROJECT_ID}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.atlas.2025-03-12+json"},
    ) as client:
        yield client


@pytest.fixture
async def levers(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the controls under `/_sandbox/`."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(sandbox)), base_url="http://atlas.test/_sandbox"
    ) as client:
        yield client
