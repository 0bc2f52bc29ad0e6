"""Renames and moves in one commit, and what a deletion waits for, on the real API server.

A deletion waits for an hour of the test's clock: what ends before that does not wait.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from kubernetes.aio.client import CoreV1Api, V1Namespace, V1ObjectMeta

from tests.cluster.life import READ_ONLY, Life
from tests.cluster.test_table_a import BOTH, JANE, invited

GRACE = 3600.0
WRITES = {"CreateInvite", "AddUser", "CancelInvite", "RemoveUser"}


@pytest.fixture
def grace() -> float:
    """Return a grace so long that no test waits for it in real time."""
    return GRACE


async def naming(life: Life, by: str) -> dict[str, Any]:
    """Return the spec of another object for jane's invitation."""
    return {"username": JANE} if by == "email" else {"invitationId": (await life.status("jane"))["invitation"]["id"]}


async def is_there(life: Life) -> bool:
    """Return whether the person is still invited or a member."""
    return await life.roles_of(JANE) is not None


@BOTH
@pytest.mark.parametrize("by", ["email", "id"])
@pytest.mark.parametrize("first", ["delete", "create"])
async def test_a_rename_in_one_commit_keeps_the_invitation(life: Life, by: str, first: str) -> None:
    """In either order nothing is sent or canceled, and the new object is Created, so that a prune cancels it."""
    await invited(life)
    before, spec = (await life.status("jane"))["invitation"], await naming(life, by)
    async with life.counting() as counted:
        if first == "delete":
            await life.delete("jane")
        await life.create_younger("renamed", **spec)
        if first == "create":
            await life.delete("jane")
        status = await life.reaches("renamed", "Invited", origin="Created", state="Pending")
        await life.gone("jane")
    assert status["invitation"]["id"] == before["id"]
    assert not set(counted) & WRITES
    await life.delete("renamed")
    await life.quiet()
    assert await is_there(life)
    await life.move(seconds=GRACE + 1)
    await life.gone("renamed")
    assert not await is_there(life)


@BOTH
async def test_a_move_to_another_namespace_keeps_the_invitation(life: Life, namespace_b: str) -> None:
    """The same across namespaces; the message does not name the object of the other one."""
    life.also = (namespace_b,)
    await life.restart()
    other = life.of(namespace_b)
    await other.put_secret()
    await invited(life)
    async with life.counting() as counted:
        await life.delete("jane")
        await other.create("jane", username=JANE)
        await other.reaches("jane", "Invited", origin="Created", state="Pending")
        await life.gone("jane")
    assert not set(counted) & WRITES


@BOTH
async def test_a_rename_over_a_restart_keeps_the_invitation(life: Life) -> None:
    """The operator is down, or ends in the middle: the new object is still Created."""
    await invited(life)
    async with life.counting() as counted:
        await life.delete("jane")
        await life.quiet()
        await life.stop()
        await life.create("renamed", username=JANE)
        await life.start()
        await life.until("the new one has our finalizer", lambda: _has_finalizer(life, "renamed"))
        await life.restart()
        await life.reaches("renamed", "Invited", origin="Created", state="Pending")
        await life.gone("jane")
    assert not set(counted) & WRITES


@BOTH
async def test_a_prune_leaves_what_the_former_object_had_adopted(life: Life, api: str) -> None:
    """An invitation sent by hand stays Adopted over a rename: no later deletion cancels it."""
    await life.invited_by_hand(JANE, api="Users" if api == "users" else "Invites")
    await life.create("jane", username=JANE)
    await life.reaches("jane", "Invited", origin="Adopted")
    await life.delete("jane")
    await life.create("renamed", username=JANE)
    await life.reaches("renamed", "Invited", origin="Adopted")
    await life.delete("renamed")
    await life.gone("renamed")
    assert await life.roles_of(JANE) == [READ_ONLY]


@BOTH
async def test_a_member_is_not_removed_by_a_rename(life: Life) -> None:
    """Revoke waits too: the member stays, and the new object shows the member."""
    await invited(life, deletionPolicy="Revoke")
    await life.people("accept", JANE)
    await life.resync()
    member = (await life.reaches("jane", "Accepted"))["member"]
    async with life.counting() as counted:
        await life.delete("jane")
        await life.create("renamed", username=JANE, deletionPolicy="Revoke")
        status = await life.reaches("renamed", "Accepted", origin="Created")
        await life.gone("jane")
    assert status["member"]["id"] == member["id"]
    assert not set(counted) & WRITES


@BOTH
@pytest.mark.parametrize("policy", ["Cancel", "Revoke"])
async def test_a_deletion_that_nothing_takes_over_ends_after_its_grace(life: Life, policy: str) -> None:
    """It waits without a write, ends after the grace, and reads again, in case the person accepted meanwhile."""
    await invited(life, deletionPolicy=policy)
    await life.delete("jane")
    await life.quiet()
    assert await is_there(life)
    await life.people("accept", JANE)
    await life.move(seconds=GRACE + 1)
    await life.gone("jane")
    assert await is_there(life) is (policy == "Cancel")


async def test_force_delete_does_not_wait(life: Life) -> None:
    """The annotation ends the wait."""
    await invited(life)
    await life.delete("jane")
    await life.quiet()
    assert await is_there(life)
    await life.annotate("jane", force_delete="true")
    await life.gone("jane")
    assert not await is_there(life)


@BOTH
async def test_a_deletion_that_removes_nothing_does_not_wait(life: Life) -> None:
    """A member keeps the access with Cancel, so there is nothing to wait for."""
    await invited(life)
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    await life.delete("jane")
    await life.gone("jane")


async def test_a_namespace_that_is_being_deleted_does_not_wait(life: Life) -> None:
    """No object can be created there: its invitations are canceled at once, and the namespace is deleted."""
    namespace = f"test-{secrets.token_hex(4)}"
    core = CoreV1Api(life.admin)
    await core.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=namespace)))
    life.also = (namespace,)
    await life.restart()
    other = life.of(namespace)
    await other.put_secret()
    await invited(other)
    await core.delete_namespace(namespace)
    await other.gone("jane")
    life.also = ()
    assert not await is_there(life)


async def _has_finalizer(life: Life, name: str) -> bool:
    found = await life.get(name)
    return found is not None and bool(found["metadata"].get("finalizers"))
