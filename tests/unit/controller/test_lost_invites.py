"""An unconfirmed send through the Invites API, and then the end of that API: nobody is invited twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.failures import Failure
from atlas_invites.invitation.guard import CONFIRM_AFTER
from atlas_invites.invitation.model import Api, AtlasInfo, Origin, State
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FINALIZER, Key
from tests.unit.builders import EXPIRES, KEY, USER_ID, error, invitation, ready, status, user, wire_spec
from tests.unit.controller.fakes import World
from tests.unit.controller.test_reconcile import reason_of
from tests.unit.controller.test_sends import lost, sends
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

OLDER = Key("team-a", "jane-older")
LIFETIME = timedelta(days=30)


def end_of_invites_api(world: World) -> None:
    world.atlas.api = Api.USERS


async def lost_over_the_end(**spec: Any) -> World:  # noqa: ANN401 - a spec's fields
    """Return a world in which a send got no response although it worked, and the Invites API ended."""
    world = World()
    world.cluster.apply(spec=wire_spec(**spec))
    world.atlas.faults.before("CreateInvite", world.atlas.invite)
    world.atlas.faults.fail("CreateInvite", lost())
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    end_of_invites_api(world)
    await asyncio.sleep(CONFIRM_AFTER + 1)
    return world


@pytest.mark.parametrize("restart", [False, True])
@virtual_time
async def test_nothing_is_sent_while_the_lost_invitation_may_be_pending(restart: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """For thirty days the Users API cannot show it: reported, and not sent again, also over restarts and outages."""
    world = await lost_over_the_end()
    for day in range(29):
        if restart:
            world.restart()
        if day % 5 == 4:
            world.atlas.faults.fail("Look", Failure(Reason.ATLAS_UNAVAILABLE, "503", error=error(503, "X")))
            await world.turn()
        assert reason_of(await world.turn()) is Reason.LEGACY_INVITATION
        world.atlas.time += timedelta(days=1)
    assert sends(world) == 1
    world.atlas.time += LIFETIME
    assert reason_of(await world.turn()) is (Reason.CONFIRMING_INVITATION if restart else Reason.INVITED)
    await asyncio.sleep(CONFIRM_AFTER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 2
    assert world.cluster.status().atlas == AtlasInfo(
        api=Api.USERS, deprecated_since="2023-10-04T00:00:00Z", sunset="2027-07-01T00:00:00Z"
    )


@virtual_time
async def test_it_is_reported_once() -> None:
    """Law 5: turn after turn nothing is written."""
    world = await lost_over_the_end()
    await world.turn()
    world.deliver()
    world.forget_calls()
    for _ in range(20):
        await world.turn()
    assert world.cluster.writes == []


@virtual_time
async def test_the_lost_invitation_is_accepted() -> None:
    """The person who accepts it shows as a member, and the object settles."""
    world = await lost_over_the_end()
    await world.turn()
    world.atlas.let_in(user())
    assert reason_of(await world.turn()) is Reason.ACCEPTED
    assert sends(world) == 1


@virtual_time
async def test_another_object_for_the_person_sends_nothing_either() -> None:
    """Which object sent it does not matter: it is the same person."""
    world = await lost_over_the_end()
    world.cluster.apply(spec=wire_spec(suspend=True))
    world.cluster.apply(OLDER, creationTimestamp="2026-08-01T00:00:00Z")
    world.deliver()
    world.store.claims.mark_evaluated(KEY)
    assert reason_of(await world.turn(OLDER)) is Reason.LEGACY_INVITATION
    assert sends(world) == 1


@virtual_time
async def test_a_send_that_was_confirmed_in_time_is_not_lost() -> None:
    """A minute after the lost response the Invites API shows nothing, and then it ends: the Users API sends."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.fail("CreateInvite", lost())
    await world.turn()
    await asyncio.sleep(CONFIRM_AFTER)
    world.atlas.faults.before("CreateInvite", lambda: end_of_invites_api(world))
    world.atlas.faults.fail("CreateInvite", Failure(Reason.INVALID_REQUEST, "gone", error=error(410, "VERSION_GONE")))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert [call[0] for call in world.atlas.writes] == ["CreateInvite", "CreateInvite", "AddUser"]


def by_send(world: World) -> None:
    """The former process waited before its send, or got no response to it, through the Invites API."""
    world.cluster.put_status(
        status(observed_generation=1, atlas=AtlasInfo(), conditions=(ready(Reason.CONFIRMING_INVITATION),))
    )


def by_second_send(world: World) -> None:
    """The same, on expiry."""
    world.cluster.put_status(
        status(
            observed_generation=1,
            state=State.EXPIRED,
            origin=Origin.CREATED,
            atlas=AtlasInfo(),
            invitation=invitation(),
            conditions=(ready(Reason.CONFIRMING_INVITATION),),
        )
    )
    world.atlas.time = EXPIRES + timedelta(minutes=1)


@pytest.mark.parametrize("left", [by_send, by_second_send])
@virtual_time
async def test_what_a_former_process_may_have_sent_is_not_sent_again(left: Callable[[World], None]) -> None:
    """Killed at a moment in which it may have sent through the Invites API, as status shows.

    The next process is in users mode.
    """
    world = World()
    world.cluster.apply(spec=wire_spec(reinvitePolicy="OnExpiry"), finalizers=[FINALIZER])
    left(world)
    world.restart()
    end_of_invites_api(world)
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.LEGACY_INVITATION
        await asyncio.sleep(CONFIRM_AFTER)
    assert sends(world) == 0


@virtual_time
async def test_a_suspension_does_not_hide_what_a_former_process_may_have_sent() -> None:
    """A suspension removes the reason from status. What may have been sent before is still not sent again after it."""
    world = World()
    spec = wire_spec(reinvitePolicy="OnExpiry")
    world.cluster.apply(spec=spec, finalizers=[FINALIZER])
    by_second_send(world)
    world.cluster.apply(spec=spec | {"suspend": True})
    assert await world.turn() is None
    world.restart()
    end_of_invites_api(world)
    world.cluster.apply(spec=spec)
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.LEGACY_INVITATION
        await asyncio.sleep(CONFIRM_AFTER)
    assert sends(world) == 0


@pytest.mark.parametrize("known", [None, AtlasInfo(api=Api.USERS)], ids=["nothing-on-status", "users-mode-on-status"])
@virtual_time
async def test_a_restart_in_users_mode_sends_after_a_minute(known: AtlasInfo | None) -> None:
    """If nothing shows that the Invites API was in use, another process's finalizer costs the usual minute."""
    world = World()
    world.cluster.apply(finalizers=[FINALIZER])
    conditions = (ready(Reason.ATLAS_UNAVAILABLE),)
    world.cluster.put_status(status(observed_generation=1, atlas=known, conditions=conditions))
    world.restart()
    end_of_invites_api(world)
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    await asyncio.sleep(CONFIRM_AFTER)
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_legacy_invitation_that_expired_is_sent_again() -> None:
    """The object is idle until after the end of the API and its own expiry, in a process that sent nothing.

    OnExpiry sends.
    """
    world = World()
    world.atlas.invite()
    world.cluster.apply(spec=wire_spec(reinvitePolicy="OnExpiry"))
    await world.turn()
    world.restart()
    end_of_invites_api(world)
    world.atlas.time = EXPIRES + timedelta(minutes=1)
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    await asyncio.sleep(CONFIRM_AFTER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 1


@virtual_time
async def test_a_deletion_warns_of_the_lost_invitation() -> None:
    """It cannot be canceled any more: after ten minutes the finalizer is removed with a warning."""
    world = await lost_over_the_end(deletionPolicy="Cancel")
    await world.turn()
    world.cluster.delete()
    await world.turn()
    assert KEY in world.cluster.objects
    await asyncio.sleep(601)
    await world.turn()
    assert KEY not in world.cluster.objects
    assert "OrphanedInvitation" in world.events.reasons
    assert USER_ID not in str(world.atlas.writes)
