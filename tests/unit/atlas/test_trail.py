"""The trail: one log line for each change that was requested from Atlas, and none for a read."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from atlas_invites.atlas.errors import AtlasUnavailable, CredentialsRejected, Forbidden
from atlas_invites.invitation.resource import Key
from atlas_invites.telemetry.logs import JsonFormatter, TextFormatter, about
from tests.unit.atlas.test_client import GROUP, ID, Bench
from tests.unit.atlas.wire import answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.atlas.project import Project

EMAIL = "canary@example.com"
INVITATION = {"id": ID, "username": EMAIL, "roles": ["GROUP_OWNER", "GROUP_READ_ONLY"]}
USER = {**INVITATION, "orgMembershipStatus": "ACTIVE"}
BOTH = ["GROUP_OWNER", "GROUP_READ_ONLY"]
CHANGES: dict[str, tuple[Callable[[Project], Awaitable[object]], int, object, list[str]]] = {
    "CreateInvite": (lambda p: p.create_invite(EMAIL, BOTH[::-1]), 200, INVITATION, BOTH),
    "AddUser": (lambda p: p.add_user(EMAIL, BOTH), 201, USER, BOTH),
    "UpdateInvite": (lambda p: p.update_invite(ID, BOTH), 200, INVITATION, BOTH),
    "AddRole": (lambda p: p.add_role(ID, "GROUP_OWNER"), 200, USER, ["GROUP_OWNER"]),
    "RemoveRole": (lambda p: p.remove_role(ID, "GROUP_OWNER"), 200, USER, ["GROUP_OWNER"]),
    "CancelInvite": (lambda p: p.cancel_invite(ID), 204, None, []),
    "RemoveUser": (lambda p: p.remove_user(ID), 204, None, []),
}


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("operation", CHANGES)
async def test_a_change_is_one_line(operation: str, caplog: pytest.LogCaptureFixture) -> None:
    """Object, operation, project, roles and HTTP status, and no e-mail, in both formats."""
    change, status, body, roles = CHANGES[operation]
    async with Bench().running() as bench:
        bench.says = answer(status, body)
        with about(Key("team-a", "jane")):
            await change(bench.project)
    (record,) = caplog.records
    line = json.loads(JsonFormatter().format(record))
    assert line["level"] == "info"
    assert {name: line[name] for name in ("object", "operation", "project", "roles", "status")} == {
        "object": "team-a/jane",
        "operation": operation,
        "project": GROUP,
        "roles": roles,
        "status": status,
    }
    text = TextFormatter().format(record)
    for part in ("[team-a/jane]", operation, GROUP, f"HTTP {status}", *roles):
        assert part in text
    assert "canary" not in text + str(line)


async def test_a_rejected_change_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its status says that Atlas has not carried it out; Atlas's message may hold an e-mail, and is left out."""
    async with Bench().running() as bench:
        bench.says = answer(403, {"error": 403, "errorCode": "X", "detail": EMAIL})
        with about(Key("team-a", "jane")), pytest.raises(Forbidden):
            await bench.project.create_invite(EMAIL, BOTH)
    (record,) = caplog.records
    assert record.getMessage() == f"CreateInvite in project {GROUP}: HTTP 403; roles: {', '.join(BOTH)}"


async def test_a_change_without_a_response_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """It may have been carried out."""
    async with Bench().running() as bench:
        bench.says = b""
        with about(Key("team-a", "jane")), pytest.raises(AtlasUnavailable):
            await bench.project.cancel_invite(ID)
    (record,) = caplog.records
    assert record.getMessage() == f"CancelInvite in project {GROUP}: no response"
    assert json.loads(JsonFormatter().format(record))["status"] is None


async def test_a_change_with_rejected_credentials_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Rejected credentials change nothing; the reason on the object says so."""
    async with Bench().running() as bench:
        bench.says = answer(401, {"error": 401, "errorCode": "UNAUTHORIZED"})
        with pytest.raises(CredentialsRejected):
            await bench.project.cancel_invite(ID)
    assert caplog.records == []


async def test_a_read_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Reads are counted by the metrics."""
    async with Bench().running() as bench:
        await bench.project.list_invites()
    assert caplog.records == []
