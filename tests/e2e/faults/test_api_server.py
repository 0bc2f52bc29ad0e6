"""An API server that is killed and started again while operators run: connections are refused meanwhile.

The operators reach it without a proxy in between, which would respond in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.faults.conftest import ELECTION, has_roles, send, sent
from tests.e2e.world import OWNER
from tests.stack import PATIENCE, wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World


def test_killed_and_restarted(own: World, start_operator: StartOperator) -> None:
    """Changes in Atlas meanwhile are found, later changes are made, and nobody is invited twice."""
    operator = start_operator()
    own.adopt("jane")
    slow = own.fault("CreateInvite", kind="timeout", seconds=2)
    send(own, "new")
    wait_until("a send is under way", lambda: own.sandbox.struck(slow))
    own.plane.control_plane.stop_api_server()
    wait_until("Atlas has sent it", lambda: len(own.atlas["invitations"]) == 2)
    operator.wait_for_line(f"[{own.namespace}/new] will retry: writing the status of")
    own.plane.control_plane.start_api_server()
    new = own.until("new", "Invited")
    assert new["status"]["origin"] == "Created"
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.delete("new")
    own.until_gone("new")
    own.ignore_forbidden()  # an API server that has just started returns 403 for a moment
    assert own.atlas_writes() == ["CreateInvite 200", "UpdateInvite 200", "CancelInvite 204"]
    assert operator.process.popen.poll() is None


def test_down_for_longer_than_the_lease(own: World, start_operator: StartOperator, no_lease: None) -> None:
    """The leader exits with 1, the standby waits for the API server and then leads, and nobody is invited twice."""
    del no_lease
    leader = start_operator(*ELECTION)
    standby = start_operator(*ELECTION, wait=False)
    standby.wait_for_line("standing by")
    own.adopt("jane")
    window = own.fault("CreateInvite", kind="timeout", seconds=2, when="after")
    send(own, "new")
    wait_until("a send is under way", lambda: own.sandbox.struck(window))
    own.plane.control_plane.stop_api_server()
    assert leader.process.popen.wait(PATIENCE) == 1
    assert "the lease is lost" in leader.log
    assert standby.process.popen.poll() is None
    assert "leading as" not in standby.log
    own.plane.control_plane.start_api_server()
    standby.wait_for_line("leading as")
    own.until("new", "Invited")
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.ignore_forbidden()  # as above
    assert sent(own) == ["CreateInvite 200"]
    assert own.atlas_writes() == ["CreateInvite 200", "UpdateInvite 200"]
