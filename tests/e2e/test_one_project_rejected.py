"""Two projects with one Secret, and Atlas rejects the credentials for one of them."""

from __future__ import annotations

import pytest

from tests.e2e.kstatus import condition
from tests.e2e.world import OWNER, READ_ONLY, World

SOMEBODY = "0123456789abcdef01234567"


def put_secret(world: World, kind: str, *projects: str) -> None:
    """Let the world's Secret hold credentials of a kind for these projects."""
    name = world.public_key
    credential = {"kind": kind, "id": name, "secret": world.key, "projects": projects}
    world.sandbox.control("POST", "/credentials", credential)
    if kind == "serviceAccount":
        world.put_secret(clientId=name, clientSecret=world.key)


@pytest.mark.parametrize("kind", ["apiKey", "serviceAccount"])
def test_the_other_project_goes_on(world: World, kind: str) -> None:
    """While one project always gets a 401, the other project's objects stay Ready, change, and are canceled."""
    rejected = world.sandbox.control("POST", "/projects", {})["id"]
    put_secret(world, kind, world.project, rejected)
    detail = "This key may not use the project."
    world.sandbox.fault(project=rejected, status=401, errorCode="USER_UNAUTHORIZED", detail=detail)
    world.adopt("jane")
    world.adopt("john", deletionPolicy="Cancel")

    for name in ("bob", "alice"):
        world.create(name, SOMEBODY, groupId=rejected)
        item = world.until(name, "CredentialsRejected")
        assert item["status"]["error"] == {
            "error": 401,
            "errorCode": "USER_UNAUTHORIZED",
            "reason": "Unauthorized",
            "detail": detail,
            "parameters": [],
            "operation": "ListInvites",
        }
        message = condition(item, "Ready")["message"]  # type: ignore[index]
        assert "for this project: could not list the project's invitations (401 USER_UNAUTHORIZED)" in message

    world.edit("jane", roles=[OWNER])
    assert world.until("jane", "Invited")["status"]["invitation"]["roles"] == [OWNER]
    world.delete("john")
    world.until_gone("john")
    assert [i["roles"] for i in world.atlas["invitations"]] == [[OWNER]]
    world.create("carol", world.invite("carol")["id"], [READ_ONLY])
    world.until("carol", "Invited")

    for name in ("jane", "john", "carol"):
        assert "CredentialsRejected" not in str(world.statuses(name))
    tokens = [c for c in world.sandbox.calls() if c["operation"] == "Token" and c["credential"] == world.public_key]
    assert len(tokens) == (2 if kind == "serviceAccount" else 0)
    probes = [c for c in world.sandbox.calls(rejected) if c["fault"]]
    assert len(probes) == 2
