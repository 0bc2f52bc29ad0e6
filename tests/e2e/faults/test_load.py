"""Many objects at once: an outage, a rate limit, a resync, and a project that does not respond."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.faults.conftest import adopt_all, has_roles, send, sent, until_all
from tests.e2e.kstatus import reason
from tests.e2e.world import OWNER, READ_ONLY, World
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.api import Object
    from tests.e2e.conftest import StartOperator
    from tests.stack import Operator

WITHIN = 300.0
"""Seconds within which a thousand objects settle, on a busy machine."""


def is_unavailable(item: Object) -> bool:
    """Return whether the latest generation met an outage."""
    return reason(item) == "AtlasUnavailable" and item["status"]["observedGeneration"] == item["metadata"]["generation"]


@pytest.mark.parametrize(("count", "lasts"), [(200, 0.0), pytest.param(1000, 60.0, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_an_outage_under_many_objects(own: World, start_operator: StartOperator, count: int, lasts: float) -> None:
    """An outage costs each changed object two status writes, one at its start and one at its end.

    It costs few calls.
    """
    people = [f"p{number:03}" for number in range(count)]
    operator = start_operator("--log-level", "info")
    adopt_all(own, people)
    before = memory(operator)
    outage, began = own.sandbox.fault(status=503), time.monotonic()
    for person in people:
        own.edit(person, roles=[OWNER])
    until_all(own, people, "met the outage", is_unavailable, WITHIN)
    struck = own.sandbox.struck(outage)
    wait_until("it is tried again", lambda: own.sandbox.struck(outage) > struck)
    time.sleep(max(began + lasts - time.monotonic(), 0.0))
    assert len(own.writes()) == len(people)
    assert own.sandbox.struck(outage) < len(people)
    own.sandbox.mend(outage)
    until_all(own, people, "are changed", has_roles(OWNER), WITHIN)
    assert own.writes() == ["status"] * 2 * len(people)
    assert own.calls("PATCH").count("UpdateInvite 200") == len(people)
    assert memory(operator) - before < 40


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_a_burst_against_the_limit_on_invitations(own: World, start_operator: StartOperator, count: int) -> None:
    """Every person is invited once, about in turn, at the pace that Atlas allows, with at most one refusal each."""
    own.sandbox.control("PUT", "/limits", {"buckets": [], "invitations": {"limit": 10, "minutes": 1 / 60}})
    people = [f"p{number:03}" for number in range(count)]
    start_operator("--workers", "16", "--log-level", "info")  # half of them at once for one project, in any order
    for person in people:
        send(own, person)
    until_all(own, people, "are invited", has_roles(READ_ONLY), WITHIN + count)
    calls = sent(own)
    assert calls.count("CreateInvite 200") == count
    assert calls.count("CreateInvite 400") <= count
    assert len(own.atlas["invitations"]) == count
    assert len(own.writes()) <= 3 * count
    assert len(own.calls("GET")) <= 2 * count, "each looks on its own"
    places = [people.index(invitation["username"].partition("@")[0]) for invitation in own.atlas["invitations"]]
    early, late = places[: count // 2], places[count // 2 :]
    assert max(places[:10]) < count // 4, "who came first did not go first"
    assert sum(early) / len(early) < sum(late) / len(late), "who came late did not go late"


def test_a_users_edit_overtakes_a_resync(own: World, start_operator: StartOperator) -> None:
    """While a resync corrects many objects, a user's change is done first."""
    people = [f"p{number:03}" for number in range(100)]
    first = start_operator("--log-level", "info")
    adopt_all(own, people)
    assert first.stop() == 0
    for person in people:
        own.change_in_atlas(person, [OWNER])
    own.sandbox.control("PATCH", "/settings", {"latencySeconds": 0.5})
    start_operator("--workers", "2", "--log-level", "info")
    wait_until("the resync corrects them", lambda: set_right(own) > 5)
    own.edit(people[-1], roles=["GROUP_CLUSTER_MANAGER"])
    own.until_it(people[-1], "is changed", has_roles("GROUP_CLUSTER_MANAGER"))
    assert set_right(own) < len(people) // 2


def set_right(own: World) -> int:
    """Return how many invitations a resync has given back the roles of their objects."""
    return sum(invitation["roles"] == [READ_ONLY] for invitation in own.atlas["invitations"])


@pytest.mark.parametrize("shared", [False, True], ids=["own-credentials", "shared-credentials"])
@pytest.mark.parametrize("how", ["held", "slow", "503"])
def test_a_project_that_does_not_respond_delays_no_other(
    own: World, start_operator: StartOperator, how: str, *, shared: bool
) -> None:
    """While each call for one project hangs, takes seconds or fails, other projects' changes are made."""
    other = World.make(own.plane, own.sandbox, own.namespace)
    own.put_secret("own", publicApiKey=own.public_key, privateApiKey=own.key)
    secret = "atlas-credentials" if shared else "own"
    if shared:
        own.sandbox.control("PATCH", f"/credentials/{other.public_key}", {"projects": [own.project, other.project]})
    start_operator("--log-level", "info")
    faults: dict[str, dict[str, Any]] = {
        "held": {"kind": "timeout"},
        "slow": {"kind": "timeout", "seconds": 3},
        "503": {"status": 503},
    }
    fault = own.fault(**faults[how])
    people = [f"p{number:03}" for number in range(150)]
    for person in people:
        send(own, person, connectionSecretRef={"name": secret})
    wait_until("the calls of the one project fail", lambda: own.sandbox.struck(fault))
    for name in ("other-1", "other-2", "other-3"):
        send(other, name)
        other.until_it(name, "is invited", has_roles(READ_ONLY))
    statuses = [item["status"] for item in map(own.get, people) if item is not None]
    done = sum("invitation" in status for status in statuses)
    if how == "slow":
        assert done < len(people) // 2, "the others had to wait until it was done"
    else:
        assert done == 0
    if how == "held":
        assert not any(status.get("conditions") for status in statuses), "the calls were not held for that long"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_memory_stays_bounded(own: World, start_operator: StartOperator) -> None:
    """Objects that come and go, edits and failures leave nothing behind."""
    people = [f"p{number:03}" for number in range(200)]
    operator = start_operator("--log-level", "info", "--resync-interval", "1")
    sizes = []
    for _ in range(6):
        for person in people:
            send(own, person)
        until_all(own, people, "are invited", has_roles(READ_ONLY), WITHIN)
        own.fault("UpdateInvite", status=500, count=5)
        for person in people:
            own.edit(person, roles=[OWNER])
        until_all(own, people, "are changed", has_roles(OWNER), WITHIN)
        for person in people:
            own.delete(person)
        for person in people:
            own.until_gone(person)
        sizes.append(memory(operator))
    assert sizes[-1] - sizes[1] < 5, sizes


def memory(operator: Operator) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{operator.process.popen.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
