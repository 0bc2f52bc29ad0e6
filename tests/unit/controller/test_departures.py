"""Departures with spec.departurePolicy Settle: the operator acts as with Stall, and only status differs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from atlas_invites.invitation.guard import CONFIRM_AFTER
from atlas_invites.invitation.model import DeparturePolicy, Origin
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import RESEND_REQUESTED_AT
from tests.unit.builders import EXPIRES, GROUP_ID, INVITATION_ID, OTHER_ID, USER_ID, invitation, time_text, wire_spec
from tests.unit.controller.test_reconcile import adopted, ready_of, reason_of
from tests.unit.controller.test_resync import resynced
from tests.unit.controller.test_sends import lost
from tests.unit.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.controller.fakes import World

SETTLE, STALL = wire_spec(departurePolicy="Settle"), wire_spec(departurePolicy="Stall")


def expire(world: World) -> None:
    world.atlas.groups[GROUP_ID].invitations.clear()
    world.atlas.time = EXPIRES + timedelta(minutes=1)


def decline(world: World) -> None:
    world.atlas.groups[GROUP_ID].invitations.clear()


async def join_and_leave(world: World) -> None:
    world.atlas.accept(INVITATION_ID, USER_ID)
    await world.turn()
    world.atlas.groups[GROUP_ID].users.clear()


DEPARTURES = {
    Reason.INVITATION_EXPIRED: expire,
    Reason.INVITATION_WITHDRAWN: decline,
    Reason.MEMBER_REMOVED: join_and_leave,
}
EVENTS = {
    Reason.INVITATION_EXPIRED: "Expired",
    Reason.INVITATION_WITHDRAWN: "Withdrawn",
    Reason.MEMBER_REMOVED: "Removed",
}


async def departed(reason: Reason, **spec: object) -> World:
    """Return a world in which the person never joined, or has left; calls are counted from here."""
    world = await adopted(**spec)
    depart: Callable[[World], object] = DEPARTURES[reason]
    if (joined := depart(world)) is not None:
        await joined  # type: ignore[misc]
    assert reason_of(await world.turn()) is reason
    assert EVENTS[reason] in world.events.reasons
    await world.woken()
    world.forget_calls()
    return world


@pytest.mark.parametrize("reason", DEPARTURES)
@virtual_time
async def test_a_settled_departure_is_ready_and_quiet(reason: Reason) -> None:
    """Ready is True with the reason; a hundred resyncs and reconciles, and a restart, write and send nothing."""
    world = await departed(reason, departurePolicy="Settle")
    assert ready_of(world) == ("True", reason)
    assert world.cluster.status().condition("Stalled") is None
    for _ in range(50):
        assert await resynced(world) == []
        assert reason_of(await world.turn()) is reason
    world.restart()
    assert await resynced(world) == []
    assert reason_of(await world.turn()) is reason
    assert world.write_kinds == []
    assert world.atlas.writes == []
    assert world.events.published == []


@pytest.mark.parametrize("reason", DEPARTURES)
@virtual_time
async def test_the_policy_applies_to_an_earlier_departure(reason: Reason) -> None:
    """Settle settles a stalled object at its next reconcile, and Stall stalls it again: one write of status each."""
    world = await departed(reason)
    for spec, ready in ((SETTLE, "True"), (STALL, "False")):
        assert ready_of(world) != (ready, reason)
        world.forget_calls()
        world.cluster.apply(spec=spec)
        assert reason_of(await world.turn()) is reason
        assert ready_of(world) == (ready, reason)
        assert world.write_kinds == ["status"]
        assert world.atlas.writes == []
        assert world.events.published == []


@pytest.mark.parametrize("reason", DEPARTURES)
@virtual_time
async def test_a_settled_departure_adopts_what_is_sent_by_hand(reason: Reason) -> None:
    """The resync finds a new invitation of the person and adopts it, as with Stall."""
    world = await departed(reason, departurePolicy="Settle")
    world.atlas.invite(
        invitation(
            id=OTHER_ID,
            createdAt="2026-09-20T00:00:00Z",
            expiresAt="2026-10-20T00:00:00Z",
        )
    )
    assert len(await resynced(world)) == 1
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.atlas.writes == []


@pytest.mark.parametrize("reason", DEPARTURES)
@virtual_time
async def test_a_settled_departure_is_sent_again_on_request(reason: Reason) -> None:
    """A requested resend sends one invitation, as with Stall."""
    world = await departed(reason, departurePolicy="Settle")
    world.cluster.annotate(RESEND_REQUESTED_AT, "now")
    for _ in range(3):
        await world.turn()
        await asyncio.sleep(CONFIRM_AFTER)
    assert world.atlas.names.count("CreateInvite") == 1
    assert ready_of(world) == ("True", Reason.INVITED)


@pytest.mark.parametrize("policy", DeparturePolicy)
@virtual_time
async def test_a_settled_departure_is_remembered_like_a_stalled_one(policy: DeparturePolicy) -> None:
    """The result of an unconfirmed send of this process is its own, also if a departure was reported meanwhile."""
    world = await departed(Reason.INVITATION_EXPIRED, departurePolicy=policy)
    world.cluster.apply(spec=wire_spec(departurePolicy=policy, reinvitePolicy="OnExpiry"))
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    await asyncio.sleep(CONFIRM_AFTER)
    world.atlas.faults.fail("CreateInvite", lost())
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    world.cluster.apply(spec=wire_spec(departurePolicy=policy))
    assert reason_of(await world.turn()) is Reason.INVITATION_EXPIRED
    sent_at = world.atlas.now()
    world.atlas.invite(
        invitation(id=OTHER_ID, createdAt=time_text(sent_at), expiresAt=time_text(sent_at + timedelta(days=30)))
    )
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.cluster.status().origin is Origin.CREATED
