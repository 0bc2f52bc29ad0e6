"""Secrets that are created, changed and deleted, on the real API server."""

from __future__ import annotations

import pytest

from tests.cluster.life import OWNER, Life
from tests.cluster.test_refusals import message_of
from tests.cluster.test_table_a import JANE, invited

CLIENT = {"clientId": "mdb_sa_id_sandbox", "clientSecret": "mdb_sa_sk_sandbox"}
SECOND = {"publicApiKey": "second", "privateApiKey": "second-key"}


async def add_key(life: Life, **more: object) -> None:
    await life.lever("POST", "/credentials", {"kind": "apiKey", "id": "second", "secret": "second-key", **more})


async def test_a_rotated_key_is_picked_up_within_a_minute(life: Life) -> None:
    """The old key is revoked, the Secret gets the new one: every object recovers, and no restart is needed."""
    await invited(life)
    await add_key(life)
    await life.lever("DELETE", "/credentials/sandbox")
    await life.edit("jane", roles=[OWNER])
    status = await life.reaches("jane", "CredentialsRejected")
    assert status["error"]["error"] == 401
    await life.put_secret(**SECOND)
    await life.move(seconds=61)
    await life.reaches("jane", "Invited")
    assert await life.roles_of(JANE) == [OWNER]


async def test_a_rotation_in_time_causes_no_error(life: Life) -> None:
    """The Secret was changed before the old key was revoked.

    A 401 makes the operator read it again, in one reconcile.
    """
    await invited(life)
    await add_key(life)
    await life.put_secret(**SECOND)
    await life.lever("DELETE", "/credentials/sandbox")
    await life.edit("jane", roles=[OWNER])
    await life.reaches("jane", "Invited")
    assert await life.roles_of(JANE) == [OWNER]
    assert "CredentialsRejected" not in [reason for _, reason in await life.events("jane")]


async def test_from_key_to_service_account_and_back(life: Life) -> None:
    """The kind of credentials may change like any other rotation; the former keys may stay, empty."""
    await invited(life)
    await life.put_secret(**CLIENT, publicApiKey="", privateApiKey="")
    await life.move(seconds=61)
    await life.edit("jane", roles=[OWNER])
    await life.reaches("jane", "Invited")
    assert "Token" in await life.calls()
    await life.put_secret()
    await life.move(seconds=61)
    await life.edit("jane", roles=["GROUP_CLUSTER_MANAGER"])
    await life.reaches("jane", "Invited")


async def test_two_secrets_side_by_side(life: Life) -> None:
    """Each object uses its own Secret; a dead one does not affect the others."""
    await add_key(life)
    await life.put_secret("second", **SECOND)
    await life.create("jane", username=JANE)
    await life.create("bob", username="bob@example.com", connectionSecretRef={"name": "second"})
    await life.reaches("jane", "Invited")
    await life.reaches("bob", "Invited")
    await life.lever("DELETE", "/credentials/second")
    await life.edit("bob", roles=[OWNER])
    await life.edit("jane", roles=[OWNER])
    await life.reaches("bob", "CredentialsRejected")
    await life.reaches("jane", "Invited")


async def test_a_dead_key_of_many_objects_makes_one_probe_a_minute(life: Life) -> None:
    """Forty objects with a dead key: one call a minute probes it, for all of them."""
    names = [f"user-{number}" for number in range(40)]
    await life.lever("DELETE", "/credentials/sandbox")
    for name in names:
        await life.create(name, username=f"{name}@example.com")
    for name in names:
        await life.reaches(name, "CredentialsRejected")
    await life.quiet()
    before = await life.lever("GET", "/calls")
    for _ in range(5):
        await life.move(seconds=61)
        await life.quiet()
    after = await life.lever("GET", "/calls")
    probes = after["total"] - before["total"]
    assert 5 <= probes <= 2 * 5, probes  # a digest probe is a challenge and a response


async def test_an_unusable_secret_names_the_key(life: Life) -> None:
    """Missing, half filled, doubly filled: Waiting, with the key's name and no value.

    Once corrected, the object goes on.
    """
    secrets = {
        "half": {"publicApiKey": "canary-public"},
        "double": {"publicApiKey": "canary-public", "privateApiKey": "canary-private"} | CLIENT,
        "neither": {"orgId": "canary-org"},
    }
    await life.create("missing", username="missing@example.com", connectionSecretRef={"name": "missing"})
    for name, data in secrets.items():
        await life.put_secret(name, **data)
        await life.create(name, username=f"{name}@example.com", connectionSecretRef={"name": name})
    said = {"missing": await life.reaches("missing", "SecretNotFound")}
    said |= {name: await life.reaches(name, "SecretInvalid") for name in secrets}
    assert "privateApiKey" in str(said["half"])
    assert "canary" not in str(said)
    for name in ("missing", *secrets):
        await life.put_secret(name)
    await life.move(seconds=61)
    for name in ("missing", *secrets):
        await life.reaches(name, "Invited")


MANAGER = {"projectOwner": False, "accessManager": True}


@pytest.mark.parametrize("api", ["users"])
async def test_an_access_manager_is_enough_for_the_users_api(life: Life) -> None:
    """Invite, change the roles of the member, and remove the member, with only Project Access Manager."""
    await add_key(life, **MANAGER)
    await life.put_secret(**SECOND)
    await life.create("jane", username=JANE, memberPolicy="Manage", deletionPolicy="Revoke")
    await life.reaches("jane", "Invited", origin="Created")
    await life.people("accept", JANE)
    await life.resync()
    await life.edit("jane", roles=[OWNER])
    await life.reaches("jane", "Accepted")
    assert await life.roles_of(JANE) == [OWNER]
    await life.delete("jane")
    await life.gone("jane")
    assert await life.roles_of(JANE) is None


async def test_the_invites_api_needs_an_owner(life: Life) -> None:
    """The message names the role that is missing; with it the person is invited."""
    await add_key(life, **MANAGER)
    await life.put_secret(**SECOND)
    await life.create("jane", username=JANE)
    status = await life.reaches("jane", "Forbidden")
    assert "Grant them Project Owner and add" in message_of(status)
    await add_key(life)
    await life.resync()
    await life.reaches("jane", "Invited", origin="Created")
