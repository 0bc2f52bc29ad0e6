"""The end of a process: in order, within ten seconds, and at once at a second signal.

Exit code 0 means that it was in time: a process that has not ended 9.5 seconds after SIGTERM ends itself, with 1.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import ELECTION, LEASE, send, sent, until_all
from tests.e2e.kstatus import reason
from tests.stack import PATIENCE, wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Start
    from tests.e2e.world import World

STATUS, EVENT, RENEWAL = "PATCH .*/atlasprojectinvites/[^/]+/status", "POST .*/events", "PATCH .*/leases/"
SERVICE_ACCOUNT = {"clientId": "mdb_sa_id_sandbox", "clientSecret": "mdb_sa_sk_sandbox"}


def test_a_send_that_hangs_is_cut(own: World, start: Start, no_lease: None) -> None:
    """A send under way is cut after 8 s, the Lease is released, exit code 0; nobody is invited twice."""
    del no_lease
    first = start(*ELECTION)
    window = first.atlas.fault("POST .*/invites", after=True)
    send(own, "jane")
    wait_until("Atlas has sent the invitation", lambda: own.atlas["invitations"])
    assert first.terminate() == 0
    assert not own.plane.api.do("GET", LEASE)["spec"].get("holderIdentity")
    assert window.struck
    start(*ELECTION)
    assert own.until("jane", "Invited")["status"]["origin"] == "Adopted"
    assert sent(own) == ["CreateInvite 200"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_it_at_once(own: World, start: Start, second: signal.Signals) -> None:
    """The second SIGTERM or Ctrl-C does not wait for anything: exit code 1."""
    operator = start()
    held = operator.atlas.fault("GET .*/invites")
    send(own, "jane")
    wait_until("a call hangs", lambda: held.struck)
    process = operator.operator.process.popen
    process.send_signal(signal.SIGTERM)
    operator.operator.wait_for_line("stopping")
    process.send_signal(second)
    assert process.wait(PATIENCE) == 1
    assert "exiting immediately: a second signal" in operator.operator.log


# An API server that stops responding at any moment.


def test_an_api_server_that_is_gone_does_not_delay_the_end(own: World, start: Start, no_lease: None) -> None:
    """If the Lease cannot be released, the process still ends."""
    del no_lease
    operator = start(*ELECTION)
    own.adopt()
    operator.cut_off()
    assert operator.terminate() == 0
    assert "the lease was not released" in operator.operator.log


def test_a_standby_ends_without_an_api_server(own: World, start: Start, no_lease: None) -> None:
    """A standby has nothing to release."""
    del own, no_lease
    start(*ELECTION)
    standby = start(*ELECTION, wait=False)
    standby.operator.wait_for_line("standing by")
    standby.cut_off()
    wait_until("it cannot read the holder of the Lease", lambda: standby.kube.swallowed)
    assert standby.terminate() == 0


@pytest.mark.parametrize("options", [(), ELECTION], ids=["alone", "election"])
def test_it_ends_while_it_waits_for_its_first_response(own: World, start: Start, options: tuple[str, ...]) -> None:
    """An API server that has never responded does not delay the end."""
    del own
    operator = start(*options, wait=False, silent=True)
    wait_until("it has asked", lambda: operator.kube.swallowed)
    assert operator.terminate() == 0


def test_it_ends_while_the_first_list_hangs(own: World, start: Start, no_lease: None) -> None:
    """A leader that has not listed yet releases the Lease."""
    del no_lease
    first = start(*ELECTION)
    assert first.terminate() == 0
    operator = start(*ELECTION, wait=False, silent=True)
    held = operator.kube.fault("GET .*atlasprojectinvites")
    operator.kube.silent = False
    wait_until("the first list hangs", lambda: held.struck)
    assert operator.terminate() == 0
    assert not own.plane.api.do("GET", LEASE)["spec"].get("holderIdentity")


def test_it_ends_while_a_token_is_fetched(own: World, start: Start) -> None:
    """A token endpoint that does not respond is not waited for, and the next process invites, once."""
    own.put_secret("service-account", **SERVICE_ACCOUNT)
    operator = start()
    held = operator.atlas.fault("POST .*/oauth/token")
    send(own, "jane", connectionSecretRef={"name": "service-account"})
    wait_until("the token does not come", lambda: held.struck)
    assert operator.terminate() == 0
    assert own.atlas["invitations"] == []
    start()
    own.until("jane", "Invited")
    assert len(own.atlas["invitations"]) == 1


def test_it_ends_while_a_status_an_event_and_the_lease_hang(own: World, start: Start, no_lease: None) -> None:
    """All together: the process ends in order, and nobody is invited twice."""
    del no_lease
    operator = start(*ELECTION)
    event = operator.kube.fault(EVENT)
    send(own, "joan")
    own.until("joan", "Invited")
    wait_until("the event waits", lambda: event.struck)
    status = operator.kube.fault(STATUS)
    operator.kube.fault(RENEWAL)
    send(own, "jane")
    wait_until("the status hangs", lambda: status.struck)
    assert operator.terminate() == 0
    assert "the lease was not released" in operator.operator.log
    start(*ELECTION)
    until_all(own, ["jane", "joan"], "are invited", lambda item: reason(item) == "Invited")
    assert sent(own) == ["CreateInvite 200"] * 2
    assert len(own.atlas["invitations"]) == 2
