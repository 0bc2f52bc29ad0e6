"""Writes that the API server rejects, loses or leaves without a response; Secrets that cannot be read for some time."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import has_roles, send, sent
from tests.e2e.kstatus import condition
from tests.e2e.world import OWNER, READ_ONLY, World
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.faults.proxy import Fault

STATUS, FINALIZER = "PATCH .*/atlasprojectinvites/[^/]+/status", "PATCH .*/atlasprojectinvites/[^/]+$"
WITHIN = 90.0
"""Seconds within which everything that is polled each minute was polled."""


def strike(operator: Contender, pattern: str, how: str, count: int) -> Fault:
    """Let the next writes fail."""
    if how == "lost":
        return operator.kube.fault(pattern, 504, after=True, count=count)
    if how == "time-out":
        return operator.kube.fault(pattern, count=1)
    return operator.kube.fault(pattern, int(how), count=count)


@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        (STATUS, "409"),
        (STATUS, "500"),
        (STATUS, "lost"),
        (STATUS, "time-out"),
        (FINALIZER, "409"),
        (FINALIZER, "500"),
    ],
)
def test_writes_that_fail(own: World, start: Start, pattern: str, how: str) -> None:
    """Whatever happens to the writes of a new object, one invitation is sent, and status shows it in the end."""
    operator = start()
    fault = strike(operator, pattern, how, count=2)
    send(own, "jane")
    wait_until("a write has failed", lambda: fault.struck)
    item = own.until("jane", "Invited")
    assert sent(own) == ["CreateInvite 200"]
    assert item["status"]["origin"] == "Created"
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.delete("jane")
    own.until_gone("jane")
    assert own.atlas["invitations"] == []
    once = [write for write, _ in groupby(own.atlas_writes())]  # the same roles again change nothing
    assert once == ["CreateInvite 200", "UpdateInvite 200", "CancelInvite 204"]


def test_a_secret_that_hangs_delays_no_other(own: World, start: Start) -> None:
    """While reads of one Secret get no response, its objects are in more projects than there are workers.

    Others go on. When the Secret can be read again, its objects go on too.
    """
    other = World.make(own.plane, own.sandbox, own.namespace)
    own.put_secret("hanging", publicApiKey=own.public_key, privateApiKey=own.key)
    operator = start()
    held = operator.kube.fault("GET .*/secrets/hanging")
    send(own, "jane", connectionSecretRef={"name": "hanging"})
    for number in range(100):
        send(own, f"p{number:03}", groupId=f"{number:024x}", connectionSecretRef={"name": "hanging"})
    wait_until("the Secret is asked for", lambda: held.struck)
    for name in ("other-1", "other-2", "other-3"):
        send(other, name)
        other.until_it(name, "is invited", has_roles(READ_ONLY))
    assert sent(own) == []
    operator.kube.mend(held)
    own.until_it("jane", "is invited", has_roles(READ_ONLY), WITHIN)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_secrets_forbidden_for_a_while(own: World, start: Start) -> None:
    """While its Secret may not be read, an object waits and says why.

    However many resyncs meet this, it is written once.
    """
    operator = start("--resync-interval", "1")
    own.adopt("settled")
    forbidden = operator.kube.fault("GET .*/secrets/", 403)
    own.put_secret("other", publicApiKey=own.public_key, privateApiKey=own.key)
    send(own, "jane", connectionSecretRef={"name": "other"})
    item = own.until("jane", "SecretNotFound")
    assert "its RBAC lacks get on secrets" in str(condition(item, "Ready"))
    own.until("settled", "SecretNotFound", WITHIN)
    struck = forbidden.struck
    wait_until("the Secret is asked for again", lambda: forbidden.struck > struck, WITHIN)
    assert own.writes("settled") == ["status"]
    assert sent(own) == []
    operator.kube.mend(forbidden)
    own.until_it("jane", "is invited", has_roles(READ_ONLY), WITHIN)
    own.until("settled", "Invited", WITHIN)
    resyncs = own.calls().count("ListInvites 200")
    wait_until("three more resyncs", lambda: own.calls().count("ListInvites 200") >= resyncs + 3)
    assert own.writes("settled") == ["status"] * 2
    assert own.atlas_writes() == ["CreateInvite 200"]
