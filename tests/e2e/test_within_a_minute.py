"""Recoveries that take up to a minute.

Everything is broken and repaired at the same time, and each test waits for its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.control_plane.processes import ProcessGroup
from tests.e2e.conftest import DEBUG
from tests.e2e.kstatus import condition, kstatus
from tests.e2e.world import World
from tests.stack import Operator, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import Plane
    from tests.stack import Sandbox

WITHIN = 90.0
SECRETS = {
    "missing": None,
    "without-keys": {"orgId": "canary"},
    "half-an-api-key": {"publicApiKey": "canary"},
    "half-a-service-account": {"clientSecret": "canary"},
    "both": {"publicApiKey": "canary", "privateApiKey": "canary", "clientId": "canary", "clientSecret": "canary"},
    "empty": {"publicApiKey": "canary", "privateApiKey": ""},
}
NAMED = {
    "missing": "missing",
    "without-keys": "publicApiKey",
    "half-an-api-key": "privateApiKey",
    "half-a-service-account": "clientId",
    "both": "clientId",
    "empty": "privateApiKey",
}
"""What the message must name: the Secret, or the key to correct."""


@dataclass(slots=True)
class Broken:
    """Worlds in which everything was broken, and has just been repaired (except what must end without)."""

    secrets: World
    messages: dict[str, str]
    rejected: World
    orphaned: World


@pytest.fixture(scope="module")
def mended(plane: Plane, second_plane: Plane, operator: Operator, sandbox: Sandbox) -> Iterator[Broken]:
    """Break everything, wait until status says so, and repair it."""
    group = ProcessGroup()
    orphaned = _world(second_plane, sandbox, "orphaned")
    options = ("--atlas-url", sandbox.url, "--namespace", orphaned.namespace, *DEBUG)
    first = Operator.start(group, second_plane.control_plane, *options, name="first")
    orphaned.adopt(deletionPolicy="Cancel")
    assert first.stop() == 0
    orphaned.delete_secret()
    second_plane.api.do("DELETE", f"api/v1/namespaces/{orphaned.namespace}")
    orphaned.operators.append(Operator.start(group, second_plane.control_plane, *options, name="second"))

    secrets, rejected = _world(plane, sandbox, "secrets"), _world(plane, sandbox, "rejected")
    for world in (secrets, rejected):
        world.operators.append(operator)
    messages = _break_secrets(secrets)
    _break_credentials(rejected)
    for name in SECRETS:
        secrets.put_secret(name, publicApiKey=secrets.public_key, privateApiKey=secrets.key)
    for world in (secrets, rejected):
        world.mark()
    sandbox.control("PATCH", f"/credentials/{rejected.public_key}", {"secret": rejected.key})
    yield Broken(secrets, messages, rejected, orphaned)
    for world in (secrets, rejected, orphaned):
        world.check_laws()
    group.close()


def _world(plane: Plane, sandbox: Sandbox, name: str) -> World:
    plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": name}})
    return World.make(plane, sandbox, name)


def _break_secrets(world: World) -> dict[str, str]:
    """Give each object a Secret that cannot be used, and return its message."""
    messages = {}
    for name, values in SECRETS.items():
        if values is not None:
            world.put_secret(name, **values)
        world.create(name, world.invite(name)["id"], connectionSecretRef={"name": name})
    for name, values in SECRETS.items():
        item = world.until(name, "SecretNotFound" if values is None else "SecretInvalid")
        assert kstatus(item) == "InProgress"
        assert "error" not in item["status"]
        messages[name] = condition(item, "Ready")["message"]  # type: ignore[index]
    return messages


def _break_credentials(world: World) -> None:
    """Let Atlas reject the key of an object that was settled."""
    world.adopt()
    world.sandbox.control("PATCH", f"/credentials/{world.public_key}", {"secret": "rotated"})
    world.annotate("jane", "atlasinvites.io/reconcile-requested-at", "rotated")
    item = world.until("jane", "CredentialsRejected")
    assert kstatus(item) == "Failed"
    assert item["status"]["error"]["error"] == 401


def test_messages_name_the_key_and_no_value(mended: Broken) -> None:
    """Missing, half filled, doubly filled, empty.

    The message names the Secret and the key to correct, and never a value.
    """
    for name, message in mended.messages.items():
        assert name in message
        assert NAMED[name] in message
        assert "canary" not in message


def test_a_corrected_secret_is_found(mended: Broken) -> None:
    """Every object whose Secret was corrected is Ready within a minute, without a restart or another change."""
    for name in SECRETS:
        item = mended.secrets.until(name, "Invited", WITHIN)
        assert item["metadata"]["generation"] == 1
        assert condition(item, "Reconciling") is None
    assert mended.secrets.atlas_writes() == []


def test_accepted_credentials_are_found(mended: Broken) -> None:
    """Credentials that Atlas rejected and accepts again are tried within a minute."""
    item = mended.rejected.until("jane", "Invited", WITHIN)
    assert "error" not in item["status"]


def test_a_namespace_without_secret_ends(mended: Broken) -> None:
    """An object whose Secret was never read by this process is finalized after a minute, with the warning."""
    world = mended.orphaned
    path = f"api/v1/namespaces/{world.namespace}"
    wait_until("the namespace is gone", lambda: world.plane.api.ask("GET", path).status_code == 404, WITHIN)
    assert "[orphaned/jane] OrphanedInvitation" in world.operators[0].log
    assert world.atlas_writes() == []
    assert len(world.atlas["invitations"]) == 1
