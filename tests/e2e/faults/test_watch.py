"""A watch that breaks, in every way in which one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import has_roles, send, until_more
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.world import World

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


def test_cut(own: World, operator: Contender) -> None:
    """A watch whose connection is reset begins anew, and misses nothing."""
    for _ in range(3):
        operator.kube.cut_streams()
        until_more("it watches again", lambda: watches(operator))
    check_watches(own, operator)


def test_cut_for_a_while(own: World, operator: Contender) -> None:
    """What changes while the API server refuses to be watched is done once it may be watched again."""
    refused = operator.kube.fault(WATCH, 503)
    operator.kube.cut_streams()
    wait_until("watching was refused", lambda: refused.struck >= 2)
    own.edit("jane", roles=[OWNER])
    operator.kube.mend(refused)
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.edit("jane", roles=[READ_ONLY])
    own.until_it("jane", "is changed back", has_roles(READ_ONLY))
    own.mark()
    check_watches(own, operator)


@pytest.mark.long
def test_silent(own: World, operator: Contender) -> None:
    """A watch from which nothing comes any more is given up after a while, and what it did not say is done."""
    operator.kube.silent = True
    own.edit("jane", roles=[OWNER])
    wait_until("the change was swallowed", lambda: operator.kube.swallowed)
    operator.kube.silent = False
    own.until_it("jane", "is changed", has_roles(OWNER), 120)
    own.edit("jane", roles=[READ_ONLY])
    own.until_it("jane", "is changed back", has_roles(READ_ONLY))
    own.mark()
    check_watches(own, operator)


@pytest.mark.parametrize("how", ["in-the-stream", "as-the-answer"])
def test_gone(own: World, operator: Contender, how: str) -> None:
    """410 Gone makes it list anew: what changed is done, what was deleted in the gap is forgotten."""
    gone = operator.kube.fault(WATCH, gone=True) if how == "in-the-stream" else operator.kube.fault(WATCH, 410)
    operator.kube.cut_streams()
    wait_until("it was told twice", lambda: gone.struck >= 2)
    own.edit("jane", roles=[OWNER])
    operator.kube.mend(gone)
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.edit("jane", roles=[READ_ONLY])
    own.until_it("jane", "is changed back", has_roles(READ_ONLY))
    own.mark()
    check_watches(own, operator)


def test_lists_that_fail(own: World, operator: Contender) -> None:
    """Where the list after a cut fails too, it lists until it may, and does not end."""
    refused = operator.kube.fault("GET .*atlasprojectinvites", 500, count=4)
    operator.kube.fault(WATCH, gone=True, count=1)
    operator.kube.cut_streams()
    wait_until("all were refused", lambda: refused.struck == 4)
    check_watches(own, operator)


def watches(operator: Contender) -> int:
    """Return how often it has begun to watch."""
    return sum("watch=true" in seen.line and "atlasprojectinvites" in seen.line for seen in operator.kube.seen)
