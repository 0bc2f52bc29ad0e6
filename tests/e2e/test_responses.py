"""Each row of the response table, as a real response to a real PATCH: the resulting status, and that it converges."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.kstatus import condition
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World


class Back(Enum):
    """What requeues an object once the fault has ended."""

    ITSELF = auto()
    REQUEST = auto()


@dataclass(frozen=True)
class Answer:
    """A response to the PATCH, and its expected result; ``code`` is None if there is no error of Atlas's."""

    reason: str
    status: int = 0
    code: str | None = None
    kind: str = "status"
    back: Back = Back.ITSELF
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status}-{self.code}" if self.code else self.kind

    @property
    def fault(self) -> dict[str, Any]:
        """Return the fault that causes it."""
        if self.code is None:
            return {"kind": self.kind}
        return {
            "status": self.status,
            "errorCode": self.code,
            "detail": f"what {self.code} means",
            "parameters": ["one", 2],
            "headers": self.headers,
        }


ANSWERS = [
    Answer("RateLimited", 429, "RATE_LIMITED", headers={"Retry-After": "2"}),
    Answer("RateLimited", 400, "INVITATIONS_RATE_LIMITED_IP"),
    Answer("AtlasUnavailable", 500, "UNEXPECTED_ERROR"),
    Answer("AtlasUnavailable", 503, "SERVICE_UNAVAILABLE", headers={"Retry-After": "1"}),
    *(Answer("AtlasUnavailable", kind=k) for k in ("html", "empty", "truncated", "garbage", "reset", "close")),
    Answer("Forbidden", 403, "USER_UNAUTHORIZED", back=Back.REQUEST),
    Answer("Forbidden", 404, "NOT_IN_GROUP", back=Back.REQUEST),
    Answer("ProjectNotFound", 404, "GROUP_NOT_FOUND", back=Back.REQUEST),
    Answer("Conflict", 409, "USER_ALREADY_IN_GROUP"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_a_response(world: World, answer: Answer) -> None:
    """Status has the reason of the response and Atlas's own error in full.

    Once the fault ends, it converges (law 6).
    """
    known = world.adopt()["status"]["invitation"]
    fault = world.fault("UpdateInvite", **answer.fault)
    world.edit("jane", roles=[OWNER])
    status = world.until("jane", answer.reason)["status"]
    assert (status["state"], status["invitation"]) == ("Pending", known)
    assert status.get("error") == (
        {
            "error": answer.status,
            "errorCode": answer.code,
            "reason": status["error"]["reason"],
            "detail": f"what {answer.code} means",
            "parameters": ["one", 2],
            "operation": "UpdateInvite",
        }
        if answer.code
        else None
    )
    assert world.writes() == ["status"]
    world.sandbox.mend(fault)
    if answer.back is Back.REQUEST:
        world.handle("jane", "mended")
    status = world.until("jane", "Invited")["status"]
    assert status["invitation"]["roles"] == world.atlas["invitations"][0]["roles"] == [OWNER]
    assert "error" not in status
    assert world.atlas_writes()[-1] == "UpdateInvite 200"


def test_an_outage_is_written_once(world: World) -> None:
    """However often it fails in the same way, the object is written once, and once more at the end (law 5)."""
    world.adopt()
    fault = world.fault("UpdateInvite", status=503)
    world.edit("jane", roles=[OWNER])
    wait_until("three tries", lambda: world.sandbox.struck(fault) >= 3)
    assert world.writes() == ["status"]
    world.sandbox.mend(fault)
    world.until("jane", "Invited")
    assert world.writes() == ["status", "status"]


def test_retry_after_is_honored(world: World) -> None:
    """After a 429 the next try is not earlier than Retry-After asks."""
    world.adopt()
    world.fault("UpdateInvite", status=429, errorCode="RATE_LIMITED", headers={"Retry-After": "3"}, count=1)
    world.edit("jane", roles=[OWNER])
    world.until("jane", "Invited")
    calls = [c for c in world.sandbox.calls(world.project) if c["operation"] == "UpdateInvite"]
    first, second = (datetime.fromisoformat(call["time"]) for call in calls[-2:])
    assert [call["status"] for call in calls[-2:]] == [429, 200]
    assert (second - first).total_seconds() >= 2.9


def test_an_invalid_request_is_not_repeated(world: World) -> None:
    """A rejection by Atlas is reported word for word, and the request repeated only for another spec or on request."""
    world.adopt()
    world.adopt("other")
    body = {
        "error": 400,
        "errorCode": "VALIDATION_ERROR",
        "reason": "Bad Request",
        "detail": "The roles are not valid.",
        "parameters": ["roles"],
        "badRequestDetail": {"fields": [{"field": "roles", "description": "must be something else"}]},
    }
    fault = world.fault("UpdateInvite", status=400, body=json.dumps(body))
    world.edit("jane", roles=[OWNER])
    status = world.until("jane", "InvalidRequest")["status"]
    assert status["error"] == {**body, "operation": "UpdateInvite"}
    world.annotate("jane", "example.com/touched", "true")
    world.handle("other", "by the same way")
    assert world.atlas_writes() == ["UpdateInvite 400"]
    assert world.writes("jane") == ["status"]

    world.handle("jane", "try again")
    assert world.atlas_writes() == ["UpdateInvite 400", "UpdateInvite 400"]

    world.sandbox.mend(fault)
    world.edit("jane", roles=[OWNER, READ_ONLY])
    assert "error" not in world.until("jane", "Invited")["status"]
    assert world.atlas["invitations"][0]["roles"] == [OWNER, READ_ONLY]


def test_the_end_of_the_invites_api(world: World) -> None:
    """After 410 VERSION_GONE the Users API is used: an unseen pending invitation stays, and acceptance is observed."""
    world.adopt()
    of_the_api = ("ListInvites", "CreateInvite", "UpdateInvite", "ReadInvite", "CancelInvite")
    world.fault(*of_the_api, status=410, errorCode="VERSION_GONE")
    world.edit("jane", roles=[OWNER])
    status = world.until("jane", "LegacyInvitation")["status"]
    assert (status["state"], status["atlas"]["api"]) == ("Pending", "Users")
    world.edit("jane", roles=[READ_ONLY])
    assert world.until("jane", "Invited")["status"]["invitation"]["api"] == "Invites"
    world.happen("accept")
    world.handle("jane", "accepted")
    world.until("jane", "Accepted")
    assert world.atlas_writes() == ["UpdateInvite 410"]


def test_only_the_invites_api(own: World, start_operator: StartOperator) -> None:
    """With --atlas-api invites a 410 is InvalidRequest: the writes of the Users API are never called."""
    start_operator("--atlas-api", "invites")
    own.adopt()
    own.fault("UpdateInvite", status=410, errorCode="VERSION_GONE")
    own.edit("jane", roles=[OWNER])
    status = own.until("jane", "InvalidRequest")["status"]
    assert (status["error"]["errorCode"], status["atlas"]["api"]) == ("VERSION_GONE", "Invites")
    assert own.atlas_writes() == ["UpdateInvite 410"]


def test_a_missing_project(world: World) -> None:
    """An unknown project is ProjectNotFound with Atlas's message, and does not delay the object's deletion."""
    world.create("jane", "0123456789abcdef01234567", groupId="fedcba9876543210fedcba98", deletionPolicy="Cancel")
    item = world.until("jane", "ProjectNotFound")
    error = item["status"]["error"]
    assert (error["errorCode"], error["operation"]) == ("GROUP_NOT_FOUND", "ListInvites")
    world.delete("jane")
    world.until_gone("jane")


def test_a_project_without_access(world: World) -> None:
    """A project that the credentials do not see is Forbidden, with what to do."""
    other = world.sandbox.control("POST", "/projects", {})["id"]
    world.create("jane", "0123456789abcdef01234567", groupId=other)
    item = world.until("jane", "Forbidden")
    error = item["status"]["error"]
    assert (error["error"], error["errorCode"], error["operation"]) == (404, "NOT_IN_GROUP", "ListInvites")
    assert "Project Owner" in condition(item, "Ready")["message"]  # type: ignore[index]
    assert world.finalizers("jane") == []
