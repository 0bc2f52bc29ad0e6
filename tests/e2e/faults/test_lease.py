"""Two operators on a real API server: one acts at any time, and the other one follows it whatever happens to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import ELECTION, LEASE, adopt_all, has_roles, send, sent, until_all
from tests.e2e.world import OWNER
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.world import World

TAKEOVER = 20.0
"""Seconds in which another one leads."""

PEOPLE = [f"p{number:02}" for number in range(60)]
"""More than there are workers: when the leader is lost, there is something that it has not begun yet."""


@pytest.fixture
def busy(own: World, pair: tuple[Contender, Contender]) -> tuple[Contender, Contender]:
    """A leader in the middle of changing roles, each of which takes Atlas a second, and a standby."""
    leader, _ = pair
    adopt_all(own, PEOPLE)
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 1})
    for person in PEOPLE:
        own.edit(person, roles=[OWNER])
    wait_until("the leader is at it", leader.atlas.writes)
    return pair


def take_over(own: World, lost: Contender, standby: Contender, since: float) -> None:
    """See the standby lead in time and end what the lost one began, and that they never acted side by side."""
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0})
    send(own, "new")
    wait_until("the other one leads", lambda: standby.leads, TAKEOVER - (time.monotonic() - since))
    until_all(own, PEOPLE, "have the new roles", has_roles(OWNER))
    own.until("new", "Invited")
    assert max(seen.at for seen in lost.writes()) < min(seen.at for seen in standby.writes())
    assert sent(own) == ["CreateInvite 200"]


def test_the_leader_is_killed(own: World, busy: tuple[Contender, Contender]) -> None:
    """After kill -9 the standby leads within 20 seconds, ends what was begun, and doubles nothing."""
    leader, standby = busy
    take_over(own, leader, standby, leader.kill())


def test_the_leader_is_stopped_and_woken(own: World, busy: tuple[Contender, Contender]) -> None:
    """Who was stopped for longer than its lease writes nothing when it wakes, and exits with 1."""
    leader, standby = busy
    take_over(own, leader, standby, leader.freeze())
    woken = leader.wake()
    assert leader.exit_code() == 1
    assert leader.writes(since=woken) == []
    assert "the lease is lost" in leader.operator.log


def test_the_leader_is_cut_off(own: World, busy: tuple[Contender, Contender]) -> None:
    """Who cannot reach the API server ends before another one leads, though it can reach Atlas, and exits with 1."""
    leader, standby = busy
    leader.kube.silent, since = True, time.monotonic()
    take_over(own, leader, standby, since)
    assert leader.exit_code() == 1


def test_a_leader_that_stops_in_order_makes_nobody_wait(own: World, pair: tuple[Contender, Contender]) -> None:
    """At SIGTERM the lease is given back, and the standby takes it at its next try."""
    leader, standby = pair
    own.adopt()
    assert leader.operator.stop() == 0
    assert own.plane.api.do("GET", LEASE)["spec"].get("holderIdentity", "") in {"", holder_of(standby)}
    wait_until("the other one leads", lambda: standby.leads, 5)
    standby.operator.wait_for_line("ready: ")
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    assert own.atlas_writes() == ["UpdateInvite 200"]


def test_a_standby_only_stands_by(own: World, pair: tuple[Contender, Contender]) -> None:
    """A standby is alive and ready, asks for nothing but the Lease, and ends with 0."""
    leader, standby = pair
    own.adopt()
    assert (standby.get("/healthz").status_code, standby.get("/readyz").status_code) == (200, 200)
    assert (leader.metric("leader"), standby.metric("leader")) == (1, 0)
    assert {seen.line.split("?")[0] for seen in standby.kube.seen} == {f"GET /{LEASE}"}
    assert standby.atlas.seen == []
    assert standby.operator.stop() == 0
    assert {seen.line.split("?")[0] for seen in standby.kube.seen} == {f"GET /{LEASE}"}


def test_an_api_server_that_fails_for_seconds_costs_nobody_the_lease(
    own: World, pair: tuple[Contender, Contender]
) -> None:
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
def test_a_lease_that_is_deleted_passes_on(own: World, pair: tuple[Contender, Contender]) -> None:
    """The leader ends with 1 when its Lease is gone, and the standby leads when it would have ended."""
    leader, standby = pair
    own.adopt()
    own.plane.api.do("DELETE", LEASE)
    since = time.monotonic()
    assert leader.exit_code() == 1
    wait_until("the other one leads", lambda: standby.leads, TAKEOVER - (time.monotonic() - since))


def test_without_rights_on_the_lease(own: World, start: Start) -> None:
    """An operator that may not use the Lease stands by, and says what it lacks."""
    started = start(*ELECTION[:1], "--lease-namespace", "kube-system", wait=False)
    started.operator.wait_for_line("check the operator's RBAC")
    assert not started.leads
    assert started.operator.stop() == 0
    own.forgive_refusals()


def holder_of(contender: Contender) -> str:
    """Return the identity with which a contender leads, or an impossible one."""
    for line in contender.operator.log.splitlines():
        if "leading as " in line:
            return line.partition("leading as ")[2]
    return "nobody"
