"""Two operators on a real API server: one acts at any time, and the other takes over whatever happens to the first."""

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
"""Seconds within which another replica leads; on an idle machine it is less than 20."""

CONFIRMED = 150.0
"""Seconds within which the lost leader's sends are confirmed for a minute, and the others are sent."""

PEOPLE = [f"p{number:02}" for number in range(60)]
"""More than the number of workers: when the leader is lost, some objects have not been started yet."""

INVITED = [f"i{number:02}" for number in range(20)]
UNANSWERED = 5
"""Invitations under way when the leader is lost, which Atlas has sent without the leader getting a response."""


@pytest.fixture
def busy(own: World, pair: Pair) -> Pair:
    """A leader that is changing roles, each of which takes Atlas a second, and a standby."""
    leader, _ = pair
    begin_changes(own, leader)
    return pair


def begin_changes(own: World, leader: Contender, latency: float = 1.0) -> None:
    """Let a leader change many roles, each of which takes Atlas some seconds, and return once it has started."""
    adopt_all(own, PEOPLE)
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": latency})
    for person in PEOPLE:
        own.edit(person, roles=[OWNER])
    wait_until("the leader has started", leader.atlas.writes)


@pytest.fixture
def sending(own: World, pair: Pair) -> Pair:
    """A leader that is sending invitations, each of which takes Atlas a second, and a standby."""
    leader, _ = pair
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 1})
    unanswered = leader.atlas.fault("POST .*/invites", after=True, count=UNANSWERED)
    for person in INVITED:
        send(own, person)
    wait_until("some wait for a response that does not come", lambda: unanswered.struck == UNANSWERED)
    wait_until("others are under way", lambda: len(leader.atlas_writes()) > UNANSWERED)
    return pair


def take_over(own: World, lost: Contender, standby: Contender) -> None:
    """Check that the standby leads and ends what the lost leader began, and that they never acted at the same time."""
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0})
    send(own, "new")
    wait_until("the other replica leads", lambda: standby.leads, TAKEOVER)
    until_all(own, PEOPLE, "have the new roles", has_roles(OWNER))
    own.until("new", "Invited")
    check_never_side_by_side(lost, standby)
    assert sent(own) == ["CreateInvite 200"]


def take_over_sends(own: World, lost: Contender, standby: Contender) -> None:
    """Check that the standby leads and sends the invitations that the lost leader has not sent, and none twice."""
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0})
    wait_until("the other replica leads", lambda: standby.leads, TAKEOVER)
    until_all(own, INVITED, "are invited", has_roles(READ_ONLY), CONFIRMED)
    check_never_side_by_side(lost, standby)
    invited = [invitation["username"] for invitation in own.atlas["invitations"]]
    assert sorted(invited) == sorted(map(own.email, INVITED))
    assert sent(own).count("CreateInvite 200") == len(INVITED), "somebody was sent a second invitation"


def check_never_side_by_side(lost: Contender, standby: Contender) -> None:
    """Check that the first one's last write was before the second one's first."""
    assert max(seen.at for seen in lost.writes()) < min(seen.at for seen in standby.writes())


def wake_and_end(leader: Contender) -> None:
    """Continue a leader that was stopped for longer than its Lease; check that it begins nothing, and exits with 1.

    A request to the API server that was just being sent when it was stopped may go out; it is cut, and logged.
    """
    woken = leader.wake()
    assert leader.exit_code() == 1
    assert leader.atlas_writes(since=woken) == []
    assert len(leader.kube.writes(since=woken)) <= leader.operator.log.count("TimeoutError")
    assert "the lease is lost" in leader.operator.log


def test_the_leader_is_killed(own: World, busy: Pair) -> None:
    """After kill -9 the standby leads, ends what was begun, and repeats nothing."""
    leader, standby = busy
    leader.kill()
    take_over(own, leader, standby)


def test_the_leader_is_stopped_and_continued(own: World, busy: Pair) -> None:
    """A leader that was stopped for longer than its Lease begins no write when it continues, and exits with 1."""
    leader, standby = busy
    leader.freeze()
    take_over(own, leader, standby)
    wake_and_end(leader)


def test_the_leader_is_cut_off(own: World, busy: Pair) -> None:
    """A leader that cannot reach the API server ends before another one leads, and exits with 1.

    It can still reach Atlas.
    """
    leader, standby = busy
    leader.cut_off()
    take_over(own, leader, standby)
    assert leader.exit_code() == 1


def test_writes_end_before_the_lease_does(own: World, start: Start, no_lease: None) -> None:
    """A leader whose renewals slowly fail makes no more writes, although Atlas and the API server would accept them."""
    del no_lease
    workers = 2  # so that many changes are left when the Lease ends
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
    """Sends that are under way at a kill -9 are confirmed: every person has one invitation."""
    leader, standby = sending
    leader.kill()
    take_over_sends(own, leader, standby)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_leader_is_stopped_and_continued_while_it_sends(own: World, sending: Pair) -> None:
    """The same if the leader was stopped, also when it continues."""
    leader, standby = sending
    leader.freeze()
    take_over_sends(own, leader, standby)
    wake_and_end(leader)
    assert sent(own).count("CreateInvite 200") == len(INVITED)


@pytest.mark.timeout(300)
def test_the_leader_is_cut_off_while_it_sends(own: World, sending: Pair) -> None:
    """The same if the leader cannot reach the API server, but still reaches Atlas."""
    leader, standby = sending
    leader.cut_off()
    take_over_sends(own, leader, standby)
    assert leader.exit_code() == 1


def test_a_leader_that_stops_in_order_delays_no_other(own: World, pair: Pair) -> None:
    """At SIGTERM the Lease is released, and the standby takes it without waiting for its end."""
    leader, standby = pair
    own.adopt()
    assert leader.terminate() == 0
    assert "the lease was released" in leader.operator.log
    wait_until("the other replica leads", lambda: standby.leads)
    released = lease_calls(leader)[-1]
    after = [seen for seen in lease_calls(standby) if seen.at > released.at]
    looks = next(number for number, seen in enumerate(after) if seen.writes)
    assert looks <= 2, "it waited for the lease to end"  # two, if the first was under way at the release
    standby.operator.wait_for_line("ready: ")
    wait_until("the Lease names it", lambda: holder(own) == leads_as(standby))
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    assert own.atlas_writes() == ["UpdateInvite 200"]


def test_a_standby_uses_only_the_lease(own: World, pair: Pair) -> None:
    """A standby is alive and ready, requests nothing but the Lease, and exits with 0."""
    leader, standby = pair
    own.adopt()
    assert (standby.get("/healthz").status_code, standby.get("/readyz").status_code) == (200, 200)
    assert (leader.metric("leader"), standby.metric("leader")) == (1, 0)
    assert {seen.line.split("?")[0] for seen in standby.kube.seen} == {f"GET /{LEASE}"}
    assert standby.atlas.seen == []
    assert standby.terminate() == 0
    assert {seen.line.split("?")[0] for seen in standby.kube.seen} == {f"GET /{LEASE}"}


def test_an_api_server_that_fails_for_seconds_does_not_end_the_lease(own: World, pair: Pair) -> None:
    """Renewals that fail for some time are tried again, and the leader continues."""
    leader, standby = pair
    refused = leader.kube.fault("PATCH .*/leases/", 503, count=2)
    wait_until("renewals have failed", lambda: refused.struck == 2)
    own.adopt()
    renewed = len(leader.kube.seen)
    wait_until("it renews again", lambda: any("/leases/" in s.line for s in leader.kube.seen[renewed:]))
    assert not standby.leads
    assert leader.operator.process.popen.poll() is None


@pytest.mark.long
def test_a_lease_that_is_deleted_passes_on(own: World, pair: Pair) -> None:
    """The leader exits with 1 when its Lease is gone, and the standby leads when it would have ended."""
    leader, standby = pair
    own.adopt()
    own.plane.api.do("DELETE", LEASE)
    assert leader.exit_code() == 1
    wait_until("the other replica leads", lambda: standby.leads, TAKEOVER)


def test_without_rights_on_the_lease(own: World, start: Start) -> None:
    """An operator that may not use the Lease is a standby, and reports the missing right."""
    started = start(*ELECTION[:1], "--lease-namespace", "kube-system", wait=False)
    started.operator.wait_for_line("the operator's RBAC lacks this right")
    assert not started.leads
    assert started.terminate() == 0
    own.ignore_forbidden()


def lease_calls(contender: Contender) -> list[Observation]:
    """Return a contender's calls for the Lease, in order."""
    return [seen for seen in contender.kube.seen if "/leases/" in seen.line]


def holder(own: World) -> str:
    """Return who holds the Lease."""
    return str(own.plane.api.do("GET", LEASE)["spec"].get("holderIdentity", ""))


def leads_as(contender: Contender) -> str:
    """Return the identity with which an operator leads."""
    (line,) = [line for line in contender.operator.log.splitlines() if "leading as " in line]
    return line.partition("leading as ")[2]
