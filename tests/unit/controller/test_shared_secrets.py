"""Secrets of other namespaces, with a cluster and an Atlas in memory: who may use one, and what others learn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atlas_invites.failures import Failure
from atlas_invites.invitation.credentials import Allowed, Credentials
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import Key
from tests.unit.builders import EMAIL, GROUP_ID, INVITATION_ID, KEY, OTHER_EMAIL, SECRET, wire_spec
from tests.unit.controller.fakes import CREDENTIALS, OTHER_CREDENTIALS, World
from tests.unit.controller.test_reconcile import reason_of
from tests.unit.virtual_time import now, virtual_time

SHARED = Key("platform", "atlas")
BY_NAMESPACE = {"connectionSecretRef": {"name": SHARED.name, "namespace": SHARED.namespace}}
BY_DEFAULT = {"connectionSecretRef": None}
OTHER_PROJECT = "5f3c9d2e8a7b6c5d4e3f2a1b"
SECOND = Key("team-b", "joe")

Held = tuple[Credentials | Failure, Allowed]
CAUSES: dict[str, Held] = {
    "absent": (Failure(Reason.SECRET_NOT_FOUND, "it is not there"), Allowed()),
    "unreadable": (Failure(Reason.SECRET_NOT_FOUND, "RBAC", certain=False), Allowed()),
    "invalid": (Failure(Reason.SECRET_INVALID, "half a pair"), Allowed()),
    "not annotated": (CREDENTIALS, Allowed()),
    "for others": (CREDENTIALS, Allowed("team-b")),
    "for another project": (CREDENTIALS, Allowed("*", OTHER_PROJECT)),
    "malformed": (CREDENTIALS, Allowed("team-a,", GROUP_ID)),
}
"""Why an object of team-a may not use the Secret: the result of reading it, and what it allows."""


def hold(world: World, held: Held) -> None:
    """Let the cluster hold this Secret."""
    world.cluster.secrets[SHARED], world.cluster.allowed[SHARED] = held


async def settled(**spec: Any) -> World:  # noqa: ANN401 - a spec's fields
    """Return a world with an invited object that uses a Secret of another namespace; calls are counted from here."""
    world = World(default_secret=SHARED)
    hold(world, (CREDENTIALS, Allowed("team-a")))
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(**{**BY_NAMESPACE, **spec}))
    assert reason_of(await world.turn()) is Reason.INVITED
    await world.woken()
    world.forget_calls()
    return world


@pytest.mark.parametrize("named", [BY_NAMESPACE, BY_DEFAULT], ids=["named", "default"])
@virtual_time
async def test_the_cause_is_not_shown(named: dict[str, Any]) -> None:
    """Whatever the cause, status, events, writes and the next try are the same; Atlas is not called."""
    told = []
    for held in CAUSES.values():
        world = World(default_secret=SHARED)
        hold(world, held)
        world.atlas.invite()
        world.cluster.apply(spec=wire_spec(**named))
        began = now()
        outcome = await world.turn()
        assert outcome is not None
        assert world.atlas.calls == []
        status = world.cluster.status().to_wire()
        for condition in status["conditions"]:
            del condition["lastTransitionTime"]
        told.append((status, world.events.published, world.write_kinds, outcome.requeue_after, round(now() - began, 6)))
    assert all(one == told[0] for one in told)
    status, _, writes, requeue_after, _ = told[0]
    assert {condition["reason"] for condition in status["conditions"]} == {"SecretNotAllowed", "NotInvited"}
    assert (writes, requeue_after) == (["status"], 60)


@pytest.mark.parametrize("held", CAUSES.values(), ids=CAUSES)
@virtual_time
async def test_without_a_project_nothing_is_shown(held: Held) -> None:
    """The project is resolved first: a Secret that allows the namespace for other projects looks like a missing one."""
    world = World()
    hold(world, held)
    world.cluster.apply(spec=wire_spec(**BY_NAMESPACE, groupId=None, projectRef={"name": "payments"}))
    assert reason_of(await world.turn()) is Reason.PROJECT_NOT_READY
    assert SHARED not in world.cluster.reads


@pytest.mark.parametrize("held", CAUSES.values(), ids=CAUSES)
@virtual_time
async def test_a_permission_that_comes_and_goes(held: Held) -> None:
    """Within a minute of the change the object goes on or stops; what exists in Atlas stays."""
    world = World()
    hold(world, held)
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(**BY_NAMESPACE))
    assert reason_of(await world.turn()) is Reason.SECRET_NOT_ALLOWED
    hold(world, (CREDENTIALS, Allowed(" team-a ", GROUP_ID)))
    await asyncio.sleep(60)
    assert reason_of(await world.turn()) is Reason.INVITED
    hold(world, held)
    await asyncio.sleep(61)
    world.forget_calls()
    world.cluster.apply(spec=wire_spec(**BY_NAMESPACE, roles=["GROUP_OWNER"]))
    assert reason_of(await world.turn()) is Reason.SECRET_NOT_ALLOWED
    assert world.atlas.calls == []
    status = world.cluster.status()
    assert status.invitation is not None
    assert status.invitation.id == INVITATION_ID


@virtual_time
async def test_annotations_of_a_secret_wake_its_users() -> None:
    """A change of the annotations is a change of the Secret.

    One read wakes all objects that name it, in every namespace.
    """
    world = await settled()
    world.cluster.apply(SECOND, spec=wire_spec(username=OTHER_EMAIL, **BY_DEFAULT))
    assert reason_of(await world.turn(SECOND)) is Reason.SECRET_NOT_ALLOWED
    world.cluster.allowed[SHARED] = Allowed("team-b")
    await asyncio.sleep(61)
    await world.turn(SECOND)
    assert set(await world.woken()) == {KEY, SECOND}


@virtual_time
async def test_a_resync_finds_a_permission_that_is_gone() -> None:
    """Two namespaces use one Secret. It is withdrawn from one, whose settled object reports it; the other is quiet."""
    world = World()
    hold(world, (CREDENTIALS, Allowed("team-a,team-b")))
    for key, email in ((KEY, EMAIL), (SECOND, OTHER_EMAIL)):
        world.cluster.apply(key, spec=wire_spec(username=email, **BY_NAMESPACE))
        await world.turn(key)
        await asyncio.sleep(61)
        assert reason_of(await world.turn(key)) is Reason.INVITED
    await world.woken()
    world.cluster.allowed[SHARED] = Allowed("team-b")
    await asyncio.sleep(61)
    await world.resync.resync_all()
    assert set(await world.woken()) == {KEY, SECOND}  # each reads once, since the Secret has changed
    assert reason_of(await world.turn(KEY)) is Reason.SECRET_NOT_ALLOWED
    assert reason_of(await world.turn(SECOND)) is Reason.INVITED
    world.restart()
    world.cluster.allowed[SHARED] = Allowed("team-a")
    world.forget_calls()
    await world.resync.resync_all()
    assert await world.woken() == [SECOND]
    assert world.atlas.calls == []


@virtual_time
async def test_a_resync_keeps_the_references_of_two_namespaces_apart() -> None:
    """AtlasProjects of one name in two namespaces are two projects, even if one Secret serves both."""
    world = World(default_secret=SHARED)
    hold(world, (CREDENTIALS, Allowed("*", GROUP_ID)))
    world.cluster.project_ids = {Key("team-a", "payments"): GROUP_ID, Key("team-b", "payments"): OTHER_PROJECT}
    world.atlas.invite()
    for key, email in ((KEY, EMAIL), (SECOND, OTHER_EMAIL)):
        world.cluster.apply(
            key, spec=wire_spec(username=email, groupId=None, projectRef={"name": "payments"}, **BY_DEFAULT)
        )
    assert reason_of(await world.turn(KEY)) is Reason.INVITED
    assert reason_of(await world.turn(SECOND)) is Reason.SECRET_NOT_ALLOWED
    await world.woken()
    world.forget_calls()
    await world.resync.resync_all()
    assert await world.woken() == []
    assert world.atlas.names == ["Snapshot"]


# Deletion.


async def deleted(world: World) -> tuple[float, list[Any]]:
    """Delete the object; return how many seconds it took until it was gone, and the events of that time."""
    world.forget_calls()
    world.cluster.delete()
    began = now()
    while KEY in world.cluster.objects:
        outcome = await world.turn()
        if outcome is not None:
            assert reason_of(outcome) is Reason.SECRET_NOT_ALLOWED
            assert outcome.requeue_after is not None
            await asyncio.sleep(outcome.requeue_after)
    return now() - began, world.events.published


@pytest.mark.parametrize("restarts", [False, True])
@virtual_time
async def test_a_deletion_without_permission(restarts: bool) -> None:  # noqa: FBT001 - a case
    """Nothing is removed, not even with earlier credentials; after a minute it ends, always with the same warning."""
    told = []
    for held in CAUSES.values():
        world = await settled(deletionPolicy="Revoke")
        hold(world, held)
        if restarts:
            world.restart()
        else:
            await asyncio.sleep(61)
        seconds, events = await deleted(world)
        assert world.atlas.calls == []
        assert 60 <= seconds < 90
        told.append((seconds, [(notice.type, notice.reason, notice.note) for _, notice in events]))
    assert all(events == told[0][1] and abs(seconds - told[0][0]) < 0.1 for seconds, events in told)
    assert [reason for _, reason, _ in told[0][1]][-1] == "OrphanedInvitation"


@virtual_time
async def test_a_deletion_goes_on_once_it_is_allowed_again() -> None:
    """Within the minute: the policy is applied."""
    world = await settled(deletionPolicy="Cancel")
    world.restart()
    hold(world, CAUSES["for others"])
    world.cluster.delete()
    assert reason_of(await world.turn()) is Reason.SECRET_NOT_ALLOWED
    hold(world, (CREDENTIALS, Allowed("team-a")))
    await asyncio.sleep(59.99)
    while KEY in world.cluster.objects:
        await world.turn()
        await asyncio.sleep(1)
    assert world.atlas.names == ["CancelInvite"]


@virtual_time
async def test_a_deletion_uses_a_secret_only_for_its_projects() -> None:
    """A Secret in the object's namespace is now for another project: its earlier credentials are not used either."""
    world = World()
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(deletionPolicy="Cancel"))
    assert reason_of(await world.turn()) is Reason.INVITED
    world.cluster.allowed[SECRET] = Allowed(None, OTHER_PROJECT)
    await asyncio.sleep(61)
    seconds, events = await deleted(world)
    assert 60 <= seconds < 90
    assert world.atlas.calls == []
    assert [notice.reason for _, notice in events][-1] == "OrphanedInvitation"


@virtual_time
async def test_a_deletion_without_secret_and_project_lasts_a_minute() -> None:
    """After a restart neither the Secret of the namespace nor the AtlasProject exists: a minute, not ten."""
    world = World()
    world.cluster.project_ids[Key("team-a", "payments")] = GROUP_ID
    reference = {"groupId": None, "projectRef": {"name": "payments"}, "invitationId": INVITATION_ID}
    world.cluster.apply(spec=wire_spec(**reference, deletionPolicy="Cancel"))
    await world.turn()
    world.cluster.project_ids.clear()
    world.cluster.secrets = {SHARED: OTHER_CREDENTIALS}
    world.restart()
    world.cluster.delete()
    began = now()
    while KEY in world.cluster.objects:
        outcome = await world.turn()
        await asyncio.sleep(outcome.requeue_after or 0 if outcome is not None else 0)
    assert 60 <= now() - began < 90
