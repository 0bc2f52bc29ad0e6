"""The Lease's gate for writes to Atlas, and what each request adds to the metrics."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from atlas_invites.atlas.calls import Entries
from atlas_invites.atlas.client import Atlas
from atlas_invites.atlas.errors import AtlasUnavailable
from atlas_invites.failures import ClusterUnavailable
from atlas_invites.invitation.credentials import ServiceAccount
from tests.unit.atlas.wire import Heard, Wire, answer, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from atlas_invites.atlas.project import Project

GROUP = "32b6e34b3d91647abb20e7b8"
ID = "5f0000000000000000000001"
ACCOUNT = ServiceAccount("id", "secret")

WRITES: dict[str, Callable[[Project], Awaitable[object]]] = {
    "CreateInvite": lambda project: project.create_invite("a@example.com", ["R"]),
    "UpdateInvite": lambda project: project.update_invite(ID, ["R"]),
    "CancelInvite": lambda project: project.cancel_invite(ID),
    "AddUser": lambda project: project.add_user("a@example.com", ["R"]),
    "RemoveUser": lambda project: project.remove_user(ID),
    "AddRole": lambda project: project.add_role(ID, "R"),
    "RemoveRole": lambda project: project.remove_role(ID, "R"),
}


def closed() -> float:
    raise ClusterUnavailable("the lease is not ours for long enough")


@asynccontextmanager
async def project_behind(
    gate: Callable[[], float], *, hangs: bool = False
) -> AsyncIterator[tuple[Project, Wire, Atlas]]:
    """Return a project whose Atlas issues tokens, and sends no other response if it ``hangs``."""

    async def talk(heard: Heard, _: asyncio.StreamWriter) -> bytes:
        if "/oauth/" in heard.target:
            return answer(200, {"access_token": "t", "expires_in": 3600})
        if hangs:
            await asyncio.Event().wait()
        return answer(200, [] if heard.line.startswith("GET") else {"id": ID})

    async with wire(talk) as server, Atlas(server.url, gate=gate) as atlas:
        yield atlas.project(ACCOUNT, GROUP), server, atlas


def requests_so_far(operation: str, code: str) -> float:
    labels = {"operation": operation, "code": code}
    return REGISTRY.get_sample_value("atlas_invites_atlas_requests_total", labels) or 0.0


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
async def test_a_closed_gate_lets_no_write_out(write: Callable[[Project], Awaitable[object]]) -> None:
    """None of the seven calls that change something is sent; at most a token is fetched."""
    async with project_behind(closed) as (project, server, _):
        with pytest.raises(ClusterUnavailable):
            await write(project)
    assert [heard.target for heard in server.heard if "/oauth/" not in heard.target] == []


async def test_a_closed_gate_lets_reads_pass() -> None:
    """A replica that may not write may read."""
    async with project_behind(closed) as (project, _, _):
        assert await project.list_invites() == Entries(())


@pytest.mark.parametrize("operation", WRITES)
async def test_a_write_is_cut_when_the_gate_requires_it(operation: str) -> None:
    """A write without a response in its time counts as one that may have been carried out."""
    before = requests_so_far(operation, "none")
    async with project_behind(lambda: 0.05, hangs=True) as (project, _, _):
        with pytest.raises(AtlasUnavailable) as caught:
            await WRITES[operation](project)
    assert caught.value.unanswered
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert requests_so_far(operation, "none") == before + 1


async def test_a_read_is_not_cut_by_the_gate() -> None:
    """The Lease's time does not limit reads."""
    async with project_behind(lambda: 0.0) as (project, _, _):
        assert await project.list_invites() == Entries(())


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
async def test_no_write_starts_after_sending_has_stopped(write: Callable[[Project], Awaitable[object]]) -> None:
    """A write that has not begun when the process stops is not sent, and is not in doubt."""
    async with project_behind(lambda: float("inf")) as (project, server, atlas):
        await project.list_invites()
        atlas.stop_sending()
        with pytest.raises(ClusterUnavailable):
            await write(project)
        await project.list_invites()
    assert [heard.line.split()[0] for heard in server.heard if "/oauth/" not in heard.target] == ["GET", "GET"]


async def test_a_write_under_way_goes_on_after_sending_has_stopped() -> None:
    """The operator waits for its response."""
    came, goes_on = asyncio.Event(), asyncio.Event()

    async def talk(heard: Heard, _: asyncio.StreamWriter) -> bytes:
        if "/oauth/" in heard.target:
            return answer(200, {"access_token": "t", "expires_in": 3600})
        came.set()
        await goes_on.wait()
        return answer(200, {"id": ID})

    async with wire(talk) as server, Atlas(server.url) as atlas:
        sending = asyncio.create_task(atlas.project(ACCOUNT, GROUP).create_invite("a@example.com", ["R"]))
        await came.wait()
        atlas.stop_sending()
        goes_on.set()
        assert (await sending).id == ID


async def test_every_request_is_counted() -> None:
    """Each adds one to its operation and status; the token request too."""
    before = requests_so_far("ListInvites", "200"), requests_so_far("Token", "200")
    async with project_behind(lambda: float("inf")) as (project, _, _):
        await project.list_invites()
        await project.list_invites()
    assert requests_so_far("ListInvites", "200") == before[0] + 2
    assert requests_so_far("Token", "200") == before[1] + 1
