"""The end of a process: in order, within ten seconds, and at once where it is asked twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import ELECTION, LEASE, send, sent
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Start
    from tests.e2e.world import World

WITHIN = 12.0
"""Ten seconds, and what a busy machine adds."""


def test_a_sending_that_hangs_is_cut(own: World, start: Start, no_lease: None) -> None:
    """A sending under way is cut after 8 s, the Lease given back, exit code 0; nobody is invited twice."""
    del no_lease
    first = start(*ELECTION)
    window = first.atlas.fault("POST .*/invites", after=True)
    send(own, "jane")
    wait_until("Atlas has sent the invitation", lambda: own.atlas["invitations"])
    first.operator.process.popen.send_signal(signal.SIGTERM)
    assert first.operator.process.popen.wait(WITHIN) == 0
    assert not own.plane.api.do("GET", LEASE)["spec"].get("holderIdentity")
    assert window.struck
    start(*ELECTION)
    assert own.until("jane", "Invited")["status"]["origin"] == "Adopted"
    assert sent(own) == ["CreateInvite 200"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_it_at_once(own: World, start: Start, second: signal.Signals) -> None:
    """Whatever runs, the second SIGTERM or Ctrl-C does not wait for it: exit code 1."""
    operator = start()
    held = operator.atlas.fault("GET .*/invites")
    send(own, "jane")
    wait_until("a call hangs", lambda: held.struck)
    process = operator.operator.process.popen
    process.send_signal(signal.SIGTERM)
    operator.operator.wait_for_line("stopping")
    process.send_signal(second)
    assert process.wait(WITHIN) == 1
    assert "ending at once: a second signal" in operator.operator.log


def test_an_api_server_that_is_gone_does_not_hold_up_the_end(own: World, start: Start, no_lease: None) -> None:
    """Where the Lease cannot be given back, and status cannot be written, the process ends all the same."""
    del no_lease
    operator = start(*ELECTION)
    own.adopt()
    operator.kube.silent = True
    operator.operator.process.popen.send_signal(signal.SIGTERM)
    assert operator.operator.process.popen.wait(WITHIN) == 0
    assert "the lease was not given back" in operator.operator.log
