"""kill -9, at the worst moment and at any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import has_roles, send, sent, until_all, until_more
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Start
    from tests.e2e.world import World

CONFIRMED = 120.0
"""Seconds within which an invitation is sent that must first be confirmed for a minute."""


@pytest.mark.parametrize("answered", [False, True], ids=["before-the-response", "after-the-response"])
def test_killed_between_send_and_status(own: World, start: Start, *, answered: bool) -> None:
    """The next process sends no second invitation, reports it as Adopted, and leaves it when the object is deleted."""
    first = start()
    if answered:
        window = first.kube.fault("PATCH .*/status")
        send(own, "jane")
        wait_until("the status is under way", lambda: window.struck)
    else:
        window = first.atlas.fault("POST .*/invites", after=True)
        send(own, "jane")
        wait_until("Atlas has sent the invitation", lambda: own.atlas["invitations"])
    first.kill()
    (invitation,) = own.atlas["invitations"]

    start()
    item = own.until("jane", "Invited")
    assert item["status"]["origin"] == "Adopted"
    assert item["status"]["invitation"]["id"] == invitation["id"]
    own.edit("jane", roles=[OWNER])
    own.until("jane", "Invited")
    own.delete("jane")
    own.until_gone("jane")
    (left,) = own.atlas["invitations"]
    assert (left["id"], left["roles"]) == (invitation["id"], [OWNER])
    assert own.atlas_writes() == ["CreateInvite 200", "UpdateInvite 200"]


def test_killed_after_a_send_and_deleted_meanwhile(own: World, start: Start) -> None:
    """It is not known who sent the invitation: the next process leaves it, and an event names it."""
    first = start()
    window = first.kube.fault("PATCH .*/status")
    send(own, "jane")
    wait_until("the status is under way", lambda: window.struck)
    first.kill()
    (invitation,) = own.atlas["invitations"]
    own.delete("jane")

    second = start()
    own.until_gone("jane")
    assert own.atlas["invitations"] == [invitation]
    assert f"[{own.namespace}/jane] OrphanedInvitation" in second.operator.log
    path = f"apis/events.k8s.io/v1/namespaces/{own.namespace}/events"
    (event,) = wait_until(
        "it is told",
        lambda: [e for e in own.plane.api.do("GET", path)["items"] if e["reason"] == "OrphanedInvitation"],
    )
    assert event["type"] == "Warning"
    assert invitation["id"] in event["note"]
    assert own.email("jane") in event["note"]


@pytest.mark.long
def test_killed_again_and_again(own: World, start: Start) -> None:
    """However often it is killed while it sends, every person is invited, and nobody twice."""
    names = [f"n{number:02}" for number in range(24)]
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0.2})
    for name in names:
        send(own, name)
    for _ in range(3):
        operator = start("--workers", "3")
        until_more("it sends", lambda: len(sent(own)))
        operator.kill()
    start()
    until_all(own, names, "are invited", has_roles(READ_ONLY), CONFIRMED)
    assert sent(own) == ["CreateInvite 200"] * len(names)
    assert len(own.atlas["invitations"]) == len(names)


@pytest.mark.parametrize("moment", ["before-the-cancellation", "before-status", "before-the-send", "after-the-send"])
def test_killed_during_a_resend(own: World, start: Start, moment: str) -> None:
    """The next process sends the one requested invitation, unless it was sent."""
    first = start()
    send(own, "jane")
    own.until("jane", "Invited")
    window = {
        "before-the-cancellation": lambda: first.atlas.fault("DELETE .*/invites/.*"),
        "before-status": lambda: first.kube.fault("PATCH .*/status"),
        "before-the-send": lambda: first.atlas.fault("POST .*/invites"),
        "after-the-send": lambda: first.atlas.fault("POST .*/invites", after=True),
    }[moment]()
    own.annotate("jane", "atlasinvites.io/resend-requested-at", "once")
    wait_until("it is at that moment", lambda: window.struck)
    if moment == "after-the-send":
        wait_until("Atlas has sent the invitation", lambda: own.atlas["invitations"])
    first.kill()

    start()
    wait_until("the resend is done", lambda: _is_resent(own), CONFIRMED)
    assert len(own.atlas["invitations"]) == 1
    assert own.atlas_writes().count("CreateInvite 200") == 2
    assert own.atlas_writes().count("CancelInvite 204") == 1


def _is_resent(own: World) -> bool:
    status = (own.get("jane") or {}).get("status", {})
    return (status.get("lastHandledResendAt"), status.get("state")) == ("once", "Pending")
