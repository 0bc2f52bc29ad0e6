"""A watch that breaks, in every possible way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import has_roles, send, vanish
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import install, wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.faults.proxy import Fault
    from tests.e2e.world import World

CRD = "apis/apiextensions.k8s.io/v1/customresourcedefinitions/atlasprojectinvites.atlasinvites.io"
WATCH = "GET .*atlasprojectinvites.*watch=true"


@pytest.fixture
def operator(own: World, start: Start) -> Contender:
    """An operator with two settled objects."""
    operator = start()
    own.adopt("jane")
    own.adopt("joan")
    own.mark()
    return operator


def check_watches(own: World, operator: Contender) -> None:
    """Check that changes arrive: a new object, an edit, a deletion; and that nothing else was done."""
    send(own, "new")
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.until_it("new", "is invited", has_roles(READ_ONLY))
    own.delete("new")
    own.until_gone("new")
    assert sorted(own.atlas_writes()) == ["CancelInvite 204", "CreateInvite 200", "UpdateInvite 200"]
    assert own.writes("joan") == []
    assert operator.operator.process.popen.poll() is None
    assert operator.get("/healthz").status_code == 200


def cut(operator: Contender) -> None:
    """Cut the watch, and wait until there is a new one."""
    before = watches(operator)
    operator.kube.cut_streams()
    wait_until("it watches again", lambda: watches(operator) > before)


def test_cut(own: World, operator: Contender) -> None:
    """A watch whose connection is reset starts again, and misses nothing; there are only the two lists of the start."""
    for _ in range(3):
        cut(operator)
    check_watches(own, operator)
    assert (
        sum("atlasprojectinvites?limit=500" in seen.line for seen in operator.kube.seen) == 2
    )  # ours, and the watch's


def change_in_the_gap(own: World, operator: Contender, fault: Fault) -> None:
    """Change one object and delete another one while the watch does not work. Check that both are noticed later."""
    operator.kube.cut_streams()
    wait_until("watching has failed twice", lambda: fault.struck >= 2)
    own.edit("jane", roles=[OWNER])
    vanish(own, "ghost")
    operator.kube.mend(fault)
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.edit("jane", roles=[READ_ONLY])
    own.until_it("jane", "is changed back", has_roles(READ_ONLY))


def forgets(own: World, operator: Contender, name: str) -> None:
    """Wait until an object whose deletion the watch has not reported is forgotten."""
    operator.operator.wait_for_line(f"[{own.namespace}/{name}] the object was deleted while the watch was interrupted")


def test_cut_for_a_while(own: World, operator: Contender) -> None:
    """Changes while the API server refuses watches are made once it accepts them again."""
    own.adopt("ghost")
    change_in_the_gap(own, operator, operator.kube.fault(WATCH, 503))
    own.mark()
    check_watches(own, operator)


@pytest.mark.long
def test_silent(own: World, operator: Contender) -> None:
    """A watch without any data is given up after some time, and missed changes are made."""
    operator.kube.silent = True
    own.edit("jane", roles=[OWNER])
    wait_until("the change was swallowed", lambda: operator.kube.swallowed)
    operator.kube.silent = False
    own.until_it("jane", "is changed", has_roles(OWNER), 120)
    own.edit("jane", roles=[READ_ONLY])
    own.until_it("jane", "is changed back", has_roles(READ_ONLY))
    own.mark()
    check_watches(own, operator)


def gone(operator: Contender, how: str) -> Fault:
    """Let watches get 410 Gone."""
    return operator.kube.fault(WATCH, gone=True) if how == "in-the-stream" else operator.kube.fault(WATCH, 410)


HOW = pytest.mark.parametrize("how", ["in-the-stream", "as-the-answer"])


@HOW
def test_gone(own: World, operator: Contender, how: str) -> None:
    """410 Gone makes it relist: changes are made, objects deleted meanwhile are forgotten."""
    own.adopt("ghost")
    change_in_the_gap(own, operator, gone(operator, how))
    forgets(own, operator, "ghost")
    own.mark()
    check_watches(own, operator)


def test_lists_that_fail(own: World, operator: Contender) -> None:
    """If the list after a cut fails too, it lists until one succeeds, and does not end."""
    refused = operator.kube.fault("GET .*atlasprojectinvites", 500, count=4)
    operator.kube.fault(WATCH, gone=True, count=1)
    operator.kube.cut_streams()
    wait_until("all were refused", lambda: refused.struck == 4)
    check_watches(own, operator)


def watches(operator: Contender) -> int:
    """Return how often it has started to watch."""
    return sum("watch=true" in seen.line and "atlasprojectinvites" in seen.line for seen in operator.kube.seen)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_complete_list_finds_what_a_dead_watch_does_not_report(own: World, start: Start) -> None:
    """After ten minutes a change is made, a deleted object is forgotten, and /healthz is 503 until the watch works."""
    operator = start()
    own.adopt("jane")
    own.adopt("ghost")
    dead = operator.kube.fault(WATCH)
    held = operator.kube.fault("GET /apis$", 503)  # what a restarted watch requests before it lists
    operator.kube.cut_streams()
    wait_until("the watch is dead", lambda: dead.struck)
    own.edit("jane", roles=[OWNER])
    vanish(own, "ghost")
    own.until_it("jane", "is changed", has_roles(OWNER), 660)
    operator.operator.wait_for_line("the watch ended; restarting in 1 s: it did not open within 60 s")
    forgets(own, operator, "ghost")
    wait_until("it is not alive", lambda: operator.get("/healthz").status_code == 503, 120)
    assert "the watch lags behind the list" in operator.get("/healthz").text
    operator.kube.mend(dead)
    operator.kube.mend(held)
    wait_until("it is alive again", lambda: operator.get("/healthz").status_code == 200, 120)
    assert own.atlas_writes() == ["UpdateInvite 200"]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_crd_is_deleted_and_back(own: World, start: Start) -> None:
    """A watch that began while there was no CRD starts again after a minute, and reports new objects."""
    operator = start()
    own.adopt("jane")
    own.plane.api.do("DELETE", CRD)
    operator.operator.wait_for_line("Unresolved resources cannot be served")
    install(own.plane.control_plane)
    send(own, "new")
    own.until("new", "Invited", 120)
    own.mark()
    own.edit("new", roles=[OWNER])
    own.until_it("new", "is changed", has_roles(OWNER))
    assert own.atlas_writes() == ["UpdateInvite 200"]
