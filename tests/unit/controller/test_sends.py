"""The guards of a send: it must never happen twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from atlas_invites.atlas.calls import Entries
from atlas_invites.controller.sends import Sends
from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.guard import CONFIRM_AFTER
from atlas_invites.invitation.model import Api, Membership, Operation, Origin, User
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import Key
from atlas_invites.telemetry.metrics import SENT
from tests.unit.builders import (
    EMAIL,
    EXPIRES,
    GROUP_ID,
    INVITATION_ID,
    KEY,
    OWNER,
    SECRET,
    USER_ID,
    error,
    user,
    wire_spec,
)
from tests.unit.controller.fakes import CREDENTIALS, OTHER_CREDENTIALS, FakeAtlas, World
from tests.unit.controller.test_reconcile import adopted, reason_of
from tests.unit.virtual_time import now, virtual_time

LOST = "no answer came"


def lost() -> Failure:
    """Return the failure of a send that may have worked."""
    failure = Failure(Reason.ATLAS_UNAVAILABLE, LOST)
    failure.unanswered = True
    return failure


def sends(world: World) -> int:
    return sum(call[0] in {"CreateInvite", "AddUser"} for call in world.atlas.calls)


@pytest.mark.parametrize("api", list(Api))
@virtual_time
async def test_a_new_object_sends_at_once(api: Api) -> None:
    """This process added the finalizer, so no other can have sent before: one read, and the send."""
    world = World()
    world.atlas.api = api
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 1
    assert world.cluster.status().origin is Origin.CREATED


@virtual_time
async def test_a_finalizer_of_another_process_waits_for_a_minute() -> None:
    """Law 1.

    Another process may have sent and been killed; Atlas is read again a minute later, before anything is sent.
    """
    world = World()
    world.cluster.apply(finalizers=["atlasinvites.io/invitation"])
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    await asyncio.sleep(CONFIRM_AFTER - 1)
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    assert sends(world) == 0
    await asyncio.sleep(1)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 1


@pytest.mark.parametrize("trouble", [lost(), None], ids=["lost answer", "confirming"])
@virtual_time
async def test_a_finalizer_that_was_removed_from_an_evaluated_object_waits_for_a_minute(
    trouble: Failure | None,
) -> None:
    """Law 1: status shows that a former process could have sent, so adding the finalizer again proves nothing."""
    world = World()
    if trouble is None:
        world.cluster.apply(finalizers=["atlasinvites.io/invitation"])
    else:
        world.cluster.apply()
        world.atlas.faults.fail("CreateInvite", trouble)
    await world.turn()
    before = sends(world)
    world.cluster.apply(finalizers=[])
    world.restart()
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    assert world.cluster.objects[KEY]["metadata"]["finalizers"] == ["atlasinvites.io/invitation"]
    assert sends(world) == before
    await asyncio.sleep(CONFIRM_AFTER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == before + 1


@virtual_time
async def test_an_object_that_waited_for_its_secret_sends_at_once() -> None:
    """Its status shows nothing of Atlas: no process ever added a finalizer."""
    world = World()
    world.cluster.apply()
    secrets = dict(world.cluster.secrets)
    world.cluster.secrets.clear()
    assert reason_of(await world.turn()) is Reason.SECRET_NOT_FOUND
    world.cluster.secrets.update(secrets)
    world.restart()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 1


@virtual_time
async def test_what_another_process_sent_is_adopted() -> None:
    """Killed between send and status: the next process finds the invitation, and reports it as adopted."""
    world = World()
    world.cluster.apply(finalizers=["atlasinvites.io/invitation"])
    await world.turn()
    world.atlas.invite()
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 0
    assert world.cluster.status().origin is Origin.ADOPTED


@virtual_time
async def test_a_send_without_a_response_waits_for_a_minute_and_reads() -> None:
    """Law 3: an unconfirmed send is not repeated before a read that began a minute after it."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.fail("CreateInvite", lost())
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    await asyncio.sleep(CONFIRM_AFTER / 2)
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    assert sends(world) == 1
    await asyncio.sleep(CONFIRM_AFTER / 2)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 2


@pytest.mark.parametrize("what", [RuntimeError, OverflowError, TimeoutError, asyncio.CancelledError])
@virtual_time
async def test_a_send_that_ends_unexpectedly_may_have_worked(what: type[BaseException]) -> None:
    """Law 3: a bug, or a canceled task, while the request is out counts as a lost response."""
    world = World()
    world.cluster.apply()

    def strike() -> None:
        raise what("a bug")

    world.atlas.faults.before("CreateInvite", strike)
    with pytest.raises(what):
        await world.turn()
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    await asyncio.sleep(CONFIRM_AFTER)
    found = world.atlas.invite()
    made = world.atlas.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.atlas.invite(found.model_copy(update={"created_at": made}))
    assert reason_of(await world.turn()) is Reason.INVITED
    assert world.cluster.status().origin is Origin.CREATED


@virtual_time
async def test_a_send_that_was_not_admitted_is_not_in_doubt() -> None:
    """Without the Lease nothing is sent: the next try sends, without a minute's wait."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.fail("CreateInvite", ClusterUnavailable("the lease is not ours"))
    with pytest.raises(ClusterUnavailable):
        await world.turn()
    assert reason_of(await world.turn()) is Reason.INVITED


@virtual_time
async def test_a_wake_up_before_the_minute_does_not_count_after_it() -> None:
    """What was observed before the minute was over is no reason to send, however late the worker comes."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.fail("CreateInvite", lost())
    await world.turn()
    woken = asyncio.get_running_loop().time() + CONFIRM_AFTER - 1
    await asyncio.sleep(CONFIRM_AFTER + 10)
    outcome = await world.reconciler.reconcile(next(iter(world.cluster.objects)), woken)
    assert reason_of(outcome) is Reason.CONFIRMING_INVITATION
    assert sends(world) == 1


@pytest.mark.parametrize(("after", "origin"), [(1, Origin.CREATED), (-60, Origin.ADOPTED)])
@virtual_time
async def test_what_an_unconfirmed_send_made_is_ours(after: int, origin: Origin) -> None:
    """Found after a lost response, it is ours unless it is older than our send."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.fail("CreateInvite", lost())
    await world.turn()
    made = world.atlas.now() + timedelta(seconds=after)
    found = world.atlas.invite()
    world.atlas.invite(found.model_copy(update={"created_at": made.strftime("%Y-%m-%dT%H:%M:%SZ")}))
    await world.turn()
    assert world.cluster.status().origin is origin
    assert sends(world) == 1


@virtual_time
async def test_a_rate_limit_needs_no_minute() -> None:
    """Limited, so not sent: the next try sends."""
    world = World()
    world.cluster.apply()
    world.atlas.faults.fail("CreateInvite", Failure(Reason.RATE_LIMITED, "too many"))
    assert reason_of(await world.turn()) is Reason.RATE_LIMITED
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 2


@virtual_time
async def test_a_conflict_is_read_and_tried_once_more() -> None:
    """409 twice, and nothing is observed: the 409 is final, and there is no third try."""
    world = World()
    world.cluster.apply()
    conflict = error(409, "USER_ALREADY_IN_GROUP", operation="CreateInvite")
    for _ in range(2):
        world.atlas.faults.fail("CreateInvite", Failure(Reason.CONFLICT, "there is one", error=conflict))
    assert reason_of(await world.turn()) is Reason.CONFLICT
    assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    for _ in range(3):
        assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    assert sends(world) == 2
    assert world.cluster.status().error == conflict


@pytest.mark.parametrize("membership", [Membership.PENDING, Membership.ACTIVE])
@virtual_time
async def test_a_second_conflict_with_something_observed_is_read_again(membership: Membership) -> None:
    """409 twice, and then the person exists: the 409 is not final, and the next read finds the invitation or member."""
    world = World()
    conflict = error(409, "USER_ALREADY_IN_GROUP", operation="CreateInvite")
    for _ in range(2):
        world.atlas.faults.fail("CreateInvite", Failure(Reason.CONFLICT, "there is one", error=conflict))
    world.atlas.faults.before("ListUsers", lambda: world.atlas.let_in(user(membership)))
    world.cluster.apply()
    assert reason_of(await world.turn()) is Reason.CONFLICT
    assert reason_of(await world.turn()) is Reason.CONFLICT
    found = Reason.INVITED if membership is Membership.PENDING else Reason.ACCEPTED
    assert reason_of(await world.turn()) is found
    assert sends(world) == 2


@virtual_time
async def test_a_person_in_a_team_counts_as_not_observed() -> None:
    """409 twice, and only the view with teams shows the person: the 409 is final, and the message names the team."""
    world = World()
    world.cluster.apply()
    conflict = error(409, "USER_ALREADY_IN_GROUP", operation="CreateInvite")
    for _ in range(2):
        world.atlas.faults.fail("CreateInvite", Failure(Reason.CONFLICT, "there is one", error=conflict))

    async def list_users(username: str, *, flatten_teams: bool, include_org_users: bool) -> Entries[User]:
        del username
        return Entries((user(),) if flatten_teams and include_org_users else ())

    project = world.atlas.project(CREDENTIALS, GROUP_ID)
    project.list_users = list_users  # type: ignore[method-assign]
    await world.turn()
    assert reason_of(await world.turn()) is Reason.INVALID_REQUEST
    ready = world.cluster.status().condition("Ready")
    assert ready is not None
    assert "has access to the project, through a team or the organization, but" in ready.message


@pytest.mark.parametrize("membership", [Membership.PENDING, Membership.ACTIVE])
@virtual_time
async def test_only_an_invitation_counts_as_sent(membership: Membership) -> None:
    """The counter counts invitations: a person who is in the organization joins without one."""
    world = World()
    world.atlas.api = Api.USERS
    world.cluster.apply()

    async def add_user(username: str, roles: object) -> User:
        del username, roles
        return world.atlas.let_in(user(membership))

    project = world.atlas.project(CREDENTIALS, GROUP_ID)
    project.add_user = add_user  # type: ignore[method-assign]
    before = sent_in_all()
    await world.turn()
    assert sent_in_all() - before == (membership is Membership.PENDING)


def sent_in_all() -> float:
    """Return the counter of invitations sent."""
    (family,) = SENT.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_total"))


@virtual_time
async def test_a_person_in_the_organization_is_a_member_at_once() -> None:
    """The Users API responds ACTIVE: Accepted, and nothing is pending."""
    world = World()
    world.atlas.api = Api.USERS
    active = User(id=USER_ID, username=EMAIL, roles=(OWNER,), org_membership_status=Membership.ACTIVE)
    world.cluster.apply(spec=wire_spec(roles=[OWNER]))

    async def add_user(username: str, roles: object) -> User:
        del username, roles
        return world.atlas.let_in(active)

    project = world.atlas.project(CREDENTIALS, GROUP_ID)
    project.add_user = add_user  # type: ignore[method-assign]
    assert reason_of(await world.turn()) is Reason.ACCEPTED
    assert world.cluster.status().member is not None
    assert world.cluster.status().origin is Origin.CREATED


@virtual_time
async def test_expired_is_sent_again_only_after_a_minute_of_this_process() -> None:
    """Law 1: the first new send of a process waits too: the one before may have sent and been killed."""
    world = await adopted(reinvitePolicy="OnExpiry")
    world.atlas.groups[GROUP_ID].invitations.pop(INVITATION_ID)
    world.atlas.time = EXPIRES + timedelta(seconds=1)
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION
    assert sends(world) == 0
    await asyncio.sleep(CONFIRM_AFTER)
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 1


@virtual_time
async def test_not_sent_again_within_a_day() -> None:
    """An invitation that ended within a day of its send waits until that day is over."""
    world = World()
    world.atlas.api = Api.USERS
    world.cluster.apply(spec=wire_spec(reinvitePolicy="OnExpiry"))
    await world.turn()
    (sent,) = world.atlas.groups[GROUP_ID].users.values()
    world.atlas.let_in(sent.model_copy(update={"org_membership_status": Membership.EXPIRED}))
    world.restart()
    for _ in range(5):
        assert reason_of(await world.turn()) is Reason.INVITATION_EXPIRED
        await asyncio.sleep(4 * 3600)
    assert sends(world) == 1
    await asyncio.sleep(4 * 3600)
    assert reason_of(await world.turn()) is Reason.CONFIRMING_INVITATION


@virtual_time
async def test_what_another_object_may_have_sent_is_fetched() -> None:
    """The younger object has sent, in a former process, and the lists lag.

    The older one, which comes late, reads again.
    """
    world = World()
    younger = Key("team-b", "jane")
    secret = Key("team-b", SECRET.name)
    world.cluster.secrets[secret] = OTHER_CREDENTIALS
    world.cluster.apply(younger, creationTimestamp="2026-08-10T04:00:00Z")
    await world.turn(younger)
    world.cluster.apply()
    world.restart()

    (sent,) = world.atlas.groups[GROUP_ID].invitations
    world.atlas.unlisted[sent] = None
    assert reason_of(await world.turn()) is Reason.INVITED
    assert sends(world) == 1


@virtual_time
async def test_two_for_one_person_send_one_after_the_other() -> None:
    """Two reconciles are about to send to the same person at the same time.

    The second reads again, and finds the invitation.
    """
    sender = Sends(FakeAtlas(), now)
    order: list[tuple[str, bool]] = []

    async def send(name: str) -> None:
        async with sender.one_at_a_time("group/jane") as waited:
            order.append((name, waited))
            await asyncio.sleep(1)

    await asyncio.gather(send("first"), send("second"), send("third"))
    assert order == [("first", False), ("second", True), ("third", True)]
    assert sender._locks == {}  # noqa: SLF001


@virtual_time
async def test_nobody_is_invited_after_a_removal() -> None:
    """A member was removed: no policy, restart or waiting causes an invitation."""
    world = await adopted(reinvitePolicy="OnExpiry", memberPolicy="Manage")
    world.atlas.accept(INVITATION_ID, USER_ID)
    await world.turn()
    world.atlas.groups[GROUP_ID].users.clear()
    for days in (0, 31, 400):
        world.atlas.time = EXPIRES + timedelta(days=days)
        world.restart()
        assert reason_of(await world.turn()) is Reason.MEMBER_REMOVED
        await asyncio.sleep(CONFIRM_AFTER)
        assert reason_of(await world.turn()) is Reason.MEMBER_REMOVED
    assert world.atlas.writes == []


@virtual_time
async def test_a_member_found_first_counts_as_adopted() -> None:
    """A person who is a member already: nothing is sent, and the object did not create the membership."""
    world = World()
    world.atlas.let_in(user())
    world.cluster.apply()
    await world.turn()
    assert world.atlas.writes == []
    assert world.cluster.status().origin is Origin.ADOPTED


@virtual_time
async def test_the_guard_decides_last() -> None:
    """Law 1: the Invites API ends in the last read, and a send through it is unconfirmed: no other send follows."""
    world = World()
    world.cluster.apply()
    refused = error(403, "NOT_ALLOWED", operation=Operation.CREATE_INVITE)
    world.atlas.faults.fail("CreateInvite", Failure(Reason.FORBIDDEN, "no", error=refused))
    assert reason_of(await world.turn()) is Reason.FORBIDDEN
    await asyncio.sleep(3700)
    world.atlas.faults.fail("CreateInvite", lost())
    assert reason_of(await world.turn()) is Reason.ATLAS_UNAVAILABLE
    world.atlas.unlisted[world.atlas.invite().id] = None  # it was carried out, and the lists lag
    await asyncio.sleep(CONFIRM_AFTER + 10)

    def end() -> None:
        world.atlas.api = Api.USERS

    world.atlas.faults.before("Confirm", end)
    assert reason_of(await world.turn()) is Reason.LEGACY_INVITATION
    assert sends(world) == 2
