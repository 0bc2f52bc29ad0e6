"""Two operators on a real API server: one acts at any time, and the other one follows it whatever happens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import ELECTION, LEASE, adopt_all, has_roles, send, sent, until_all
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.faults.proxy import Observation
    from tests.e2e.world import World

    Pair = tuple[Contender, Contender]

TAKEOVER = 60.0
"""Seconds in which another one leads; on a machine that does nothing else it is less than 20."""

CONFIRMED = 150.0
"""Seconds in which what a lost leader may have sent was confirmed for a minute, and the rest is sent."""

PEOPLE = [f"p{number:02}" for number in range(60)]
"""More than there are workers: when the leader is lost, there is something that it has not begun yet."""

INVITED = [f"i{number:02}" for number in range(20)]
UNANSWERED = 5
"""Of the invitations under way when the leader is lost, these were sent by Atlas, and the leader never learns it."""


@pytest.fixture
def busy(own: World, pair: Pair) -> Pair:
    """A leader in the middle of changing roles, each of which takes Atlas a second, and a standby."""
    leader, _ = pair
    begin_changes(own, leader)
    return pair


def begin_changes(own: World, leader: Contender, latency: float = 1.0) -> None:
    """Let a leader change many roles, each of which takes Atlas some seconds, and return when it is at it."""
    adopt_all(own, PEOPLE)
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": latency})
    for person in PEOPLE:
        own.edit(person, roles=[OWNER])
    wait_until("the leader is at it", leader.atlas.writes)


@pytest.fixture
def sending(own: World, pair: Pair) -> Pair:
    """A leader in the middle of sending invitations, each of which takes Atlas a second, and a standby."""
    leader, _ = pair
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 1})
    unanswered = leader.atlas.fault("POST .*/invites", after=True, count=UNANSWERED)
    for person in INVITED:
        send(own, person)
    wait_until("some wait for an answer that does not come", lambda: unanswered.struck == UNANSWERED)
    wait_until("others are under way", lambda: len(leader.atlas_writes()) > UNANSWERED)
    return pair


def take_over(own: World, lost: Contender, standby: Contender) -> None:
    """See the standby lead and end what the lost one began, and that they never acted side by side."""
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0})
    send(own, "new")
    wait_until("the other one leads", lambda: standby.leads, TAKEOVER)
    until_all(own, PEOPLE, "have the new roles", has_roles(OWNER))
    own.until("new", "Invited")
    check_never_side_by_side(lost, standby)
    assert sent(own) == ["CreateInvite 200"]


def take_over_sending(own: World, lost: Contender, standby: Contender) -> None:
    """See the standby lead and invite whom the lost one has not invited, and nobody twice."""
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0})
    wait_until("the other one leads", lambda: standby.leads, TAKEOVER)
    until_all(own, INVITED, "are invited", has_roles(READ_ONLY), CONFIRMED)
    check_never_side_by_side(lost, standby)
    invited = [invitation["username"] for invitation in own.atlas["invitations"]]
    assert sorted(invited) == sorted(map(own.email, INVITED))
    assert sent(own).count("CreateInvite 200") == len(INVITED), "somebody was sent a second invitation"


def check_never_side_by_side(lost: Contender, standby: Contender) -> None:
    """Check that the one had written its last before the other one wrote its first."""
    assert max(seen.at for seen in lost.writes()) < min(seen.at for seen in standby.writes())


def wake_and_end(leader: Contender) -> None:
    """Wake a leader that was stopped for longer than its lease, and see it begin nothing, and exit with 1.

    What it was just sending to the API server when it was stopped may go out; it is cut, and says so.
    """
    woken = leader.wake()
    assert leader.exit_code() == 1
    assert leader.atlas_writes(since=woken) == []
    assert len(leader.kube.writes(since=woken)) <= leader.operator.log.count("TimeoutError")
    assert "the lease is lost" in leader.operator.log


def test_the_leader_is_killed(own: World, busy: Pair) -> None:
    """After kill -9 the standby leads, ends what was begun, and doubles nothing."""
    leader, standby = busy
    leader.kill()
    take_over(own, leader, standby)


def test_the_leader_is_stopped_and_woken(own: World, busy: Pair) -> None:
    """Who was stopped for longer than its lease begins no write when it wakes, and exits with 1."""
    leader, standby = busy
    leader.freeze()
    take_over(own, leader, standby)
    wake_and_end(leader)


def test_the_leader_is_cut_off(own: World, busy: Pair) -> None:
    """Who cannot reach the API server ends before another one leads, though it can reach Atlas, and exits with 1."""
    leader, standby = busy
    leader.cut_off()
    take_over(own, leader, standby)
    assert leader.exit_code() == 1


def test_writes_end_before_the_lease_does(own: World, start: Start, no_lease: None) -> None:
    """A leader whose renewals fail slowly refuses its own writes, though Atlas and the API server would take them."""
    del no_lease
    workers = 2  # so that many changes are left when the lease comes to its end
    leader = start(*ELECTION, "--workers", str(workers))
    standby = start(*ELECTION, wait=False)
    standby.operator.wait_for_line("standing by")
    begin_changes(own, leader, latency=0.5)
    leader.kube.fault("PATCH .*/leases/", 503, seconds=1.1)  # so the leader gives up a second after the gate has closed
    assert leader.exit_code() == 1
    statuses = [seen for seen in leader.kube.writes() if seen.line.endswith("/status")]
    assert len(leader.atlas_writes()) - (len(statuses) - len(PEOPLE)) <= workers, "it went on changing roles"
    take_over(own, leader, standby)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_leader_is_killed_while_it_sends(own: World, sending: Pair) -> None:
    """Invitations under way at a kill -9 are looked for: nobody has two, everybody has one."""
    leader, standby = sending
    leader.kill()
    take_over_sending(own, leader, standby)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_leader_is_stopped_and_woken_while_it_sends(own: World, sending: Pair) -> None:
    """The same where the leader was stopped, also when it goes on."""
    leader, standby = sending
    leader.freeze()
    take_over_sending(own, leader, standby)
    wake_and_end(leader)
    assert sent(own).count("CreateInvite 200") == len(INVITED)


@pytest.mark.timeout(300)
def test_the_leader_is_cut_off_while_it_sends(own: World, sending: Pair) -> None:
    """The same where the leader cannot reach the API server, and still reaches Atlas."""
    leader, standby = sending
    leader.cut_off()
    take_over_sending(own, leader, standby)
    assert leader.exit_code() == 1


def test_a_leader_that_stops_in_order_makes_nobody_wait(own: World, pair: Pair) -> None:
    """At SIGTERM the lease is given back, and the standby takes it without waiting for its end."""
    leader, standby = pair
    own.adopt()
    assert leader.terminate() == 0
    assert "the lease was released" in leader.operator.log
    wait_until("the other one leads", lambda: standby.leads)
    released = lease_calls(leader)[-1]
    after = [seen for seen in lease_calls(standby) if seen.at > released.at]
    looks = next(number for number, seen in enumerate(after) if seen.writes)
    assert looks <= 2, "it waited for the lease to end"  # two, where the first was under way at the release
    standby.operator.wait_for_line("ready: ")
    wait_until("the Lease names it", lambda: holder(own) == leads_as(standby))
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    assert own.atlas_writes() == ["UpdateInvite 200"]


def test_a_standby_only_stands_by(own: World, pair: Pair) -> None:
    """A standby is alive and ready, asks for nothing but the Lease, and ends with 0."""
    leader, standby = pair
    own.adopt()
    assert (standby.get("/healthz").status_code, standby.get("/readyz").status_code) == (200, 200)
    assert (leader.metric("leader"), standby.metric("leader")) == (1, 0)
    assert {seen.line.split("?")[0] for seen in standby.kube.seen} == {f"GET /{LEASE}"}
    assert standby.atlas.seen == []
    assert standby.terminate() == 0
    assert {seen.line.split("?")[0] for seen in standby.kube.seen} == {f"GET /{LEASE}"}


def test_an_api_server_that_fails_for_seconds_costs_nobody_the_lease(own: World, pair: Pair) -> None:
    """Renewals that are refused for a while are tried again, and the leader goes on."""
    leader, standby = pair
    refused = leader.kube.fault("PATCH .*/leases/", 503, count=2)
    wait_until("renewals were refused", lambda: refused.struck == 2)
    own.adopt()
    renewed = len(leader.kube.seen)
    wait_until("it renews again", lambda: any("/leases/" in s.line for s in leader.kube.seen[renewed:]))
    assert not standby.leads
    assert leader.operator.process.popen.poll() is None


@pytest.mark.long
def test_a_lease_that_is_deleted_passes_on(own: World, pair: Pair) -> None:
    """The leader ends with 1 when its Lease is gone, and the standby leads when it would have ended."""
    leader, standby = pair
    own.adopt()
    own.plane.api.do("DELETE", LEASE)
    assert leader.exit_code() == 1
    wait_until("the other one leads", lambda: standby.leads, TAKEOVER)


def test_without_rights_on_the_lease(own: World, start: Start) -> None:
    """An operator that may not use the Lease stands by, and says what it lacks."""
    started = start(*ELECTION[:1], "--lease-namespace", "kube-system", wait=False)
    started.operator.wait_for_line("the operator's RBAC lacks this right")
    assert not started.leads
    assert started.terminate() == 0
    own.forgive_refusals()


def lease_calls(contender: Contender) -> list[Observation]:
    """Return a contender's calls for the Lease, in order."""
    return [seen for seen in contender.kube.seen if "/leases/" in seen.line]


def holder(own: World) -> str:
    """Return who holds the Lease."""
    return str(own.plane.api.do("GET", LEASE)["spec"].get("holderIdentity", ""))


def leads_as(contender: Contender) -> str:
    """Return the identity with which a contender leads."""
    (line,) = [line for line in contender.operator.log.splitlines() if "leading as " in line]
    return line.partition("leading as ")[2]
