"""What a 401 is about, and which call tries again when: without a network, with a clock that the test moves."""

from __future__ import annotations

import pytest

from atlas_invites.atlas.errors import (
    AtlasFailure,
    AtlasUnavailable,
    Conflict,
    CredentialsRejected,
    Forbidden,
    RateLimited,
    RejectedForProject,
)
from atlas_invites.atlas.rejections import PROBE_EVERY, PROJECTS, RECENTLY, ProjectScope, Rejections
from atlas_invites.invitation.model import Operation

LIST, SEND = Operation.LIST_INVITES, Operation.CREATE_INVITE
SOON = 1.0


class Bench:
    """The rejections of one set of credentials; each call takes a hundredth of a second."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.rejections = Rejections(lambda: self.time)

    def project(self, of: str) -> ProjectScope:
        return self.rejections.project(of)

    def call(
        self,
        of: str,
        failure: AtlasFailure | None = None,
        *,
        operation: Operation = LIST,
        unknown_key: bool = False,
        ago: float = 0.0,
    ) -> AtlasFailure | None:
        """Let a call go out even if it may not, and return what its response means."""
        began = self.time - ago
        self.time += 0.01
        meaning = self.rejections.learn(self.project(of), operation, began, failure, unknown_key=unknown_key)
        self.time += 0.001
        return meaning

    def reject(self, of: str, *, unknown_key: bool = False, operation: Operation = LIST) -> type[AtlasFailure]:
        """Respond to a call with 401, and return what that means."""
        failure = CredentialsRejected(operation, "401")
        meaning = self.call(of, failure, operation=operation, unknown_key=unknown_key)
        assert meaning is not None
        return type(meaning)

    def blocked(self, of: str, operation: Operation = LIST) -> type[AtlasFailure] | None:
        """Return the shared failure that a call would get now, or None if it may go."""
        failure = self.rejections.failure_for(self.project(of), operation, self.time)
        return None if failure is None else type(failure)

    def is_open(self, of: str, operation: Operation = LIST) -> bool:
        """Return whether several calls may go at the same time."""
        return self.rejections.is_open(self.project(of), operation)

    def try_all(self, projects: list[str], accepts: set[str]) -> str | None:
        """Let each project ask a minute later, in this order; return the one that was tried and accepted."""
        self.time += 61
        for of in projects:
            if self.blocked(of) is None:
                if of in accepts:
                    self.call(of)
                    return of
                self.reject(of)
        return None


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_known_at_first(bench: Bench) -> None:
    """Each call may go, but only one at a time."""
    assert bench.blocked("g") is None
    assert not bench.is_open("g")


@pytest.mark.parametrize(
    ("before", "unknown_key", "operation", "is_about"),
    [
        ("", False, LIST, "project"),
        ("+good", False, LIST, "project"),
        ("-g", False, LIST, "project"),
        ("-other +good", False, LIST, "project"),
        ("-other +good -other", False, LIST, "project"),
        ("-other", False, LIST, "credentials"),
        ("+good -other", False, LIST, "credentials"),
        ("+g -other", False, LIST, "credentials"),
        ("-other -another +good", False, LIST, "project"),
        ("-other -another", False, LIST, "credentials"),
        ("+good", True, LIST, "credentials"),
        ("", True, LIST, "credentials"),
        ("", False, SEND, "project"),
        ("+good", False, SEND, "project"),
        ("+g -g", False, SEND, "project"),
        ("-other", False, SEND, "credentials"),
        ("+g", True, SEND, "credentials"),
        ("", False, Operation.TOKEN, "credentials"),
        ("+good +g", False, Operation.TOKEN, "credentials"),
    ],
)
def test_what_a_401_is_about(
    bench: Bench, before: str, *, unknown_key: bool, operation: Operation, is_about: str
) -> None:
    """After projects were accepted (+) and rejected (-) in this order: what a 401 for the project ``g`` is about."""
    for word in before.split():
        bench.time += SOON
        if word.startswith("+"):
            bench.call(word[1:])
        else:
            bench.reject(word[1:])
    bench.time += SOON
    meaning = bench.reject("g", unknown_key=unknown_key, operation=operation)
    assert meaning is (RejectedForProject if is_about == "project" else CredentialsRejected)
    assert bench.blocked("g") is meaning
    assert bench.blocked("new") is (None if is_about == "project" else CredentialsRejected)


@pytest.mark.parametrize("before", ["+g", "+other +g", "+g -other", "-other -another +g", "+g -other -another"])
def test_a_rejected_write_is_about_writes_if_reads_are_accepted(bench: Bench, before: str) -> None:
    """For a minute nothing is written to the project. Reads go on, and other projects are not affected."""
    for word in before.split():
        bench.call(word[1:]) if word.startswith("+") else bench.reject(word[1:])
    new = bench.blocked("new")
    assert bench.reject("g", operation=SEND) is RejectedForProject
    assert (bench.blocked("g"), bench.blocked("g", SEND)) == (None, RejectedForProject)
    assert (bench.is_open("g"), bench.is_open("g", SEND)) == (True, False)
    assert bench.blocked("new") is new
    bench.call("g")
    assert bench.blocked("g", SEND) is RejectedForProject
    bench.time += 61
    assert bench.blocked("g", SEND) is None
    assert not bench.is_open("g", SEND)
    assert bench.reject("g", operation=SEND) is RejectedForProject
    assert bench.is_open("g")
    bench.time += 61
    bench.call("g", operation=SEND)
    assert bench.is_open("g", SEND)


def test_a_project_that_is_rejected_is_neither_read_nor_written_to(bench: Bench) -> None:
    """A write waits for the project too; if a write is accepted, both are."""
    bench.call("good")
    bench.reject("g")
    assert bench.blocked("g", SEND) is RejectedForProject
    bench.time += 61
    assert bench.blocked("g", SEND) is None
    assert not bench.is_open("g", SEND)
    bench.call("g", operation=SEND)
    assert bench.is_open("g")
    assert bench.is_open("g", SEND)


@pytest.mark.parametrize("unknown_key", [True, False])
def test_a_project_that_was_accepted_is_an_exception(bench: Bench, *, unknown_key: bool) -> None:
    """Its calls go out at the same time until it is rejected itself; its acceptance is one for the credentials."""
    bench.call("good")
    bench.call("better")
    bench.reject("bad", unknown_key=unknown_key)
    bench.reject("worse", unknown_key=unknown_key)
    assert bench.blocked("new") is CredentialsRejected
    assert bench.blocked("good") is None
    assert bench.is_open("good")
    assert bench.reject("good") is CredentialsRejected
    assert bench.blocked("good") is CredentialsRejected
    assert bench.is_open("better")
    bench.call("better")
    assert bench.is_open("new")
    assert bench.blocked("bad") is not None


@pytest.mark.parametrize("seconds", [0, 59, 61])
def test_a_rejection_lasts_a_minute(bench: Bench, seconds: float) -> None:
    """Then one call tries the project again; if it is accepted, the project is open at once."""
    bench.call("good")
    bench.reject("g")
    bench.time += seconds
    assert bench.blocked("g") is (RejectedForProject if seconds < PROBE_EVERY else None)
    assert not bench.is_open("g")
    bench.call("g")
    assert bench.blocked("g") is None
    assert bench.is_open("g")


@pytest.mark.parametrize("failure", [Forbidden(LIST, "403"), Conflict(LIST, "409"), None])
def test_every_other_response_accepts(bench: Bench, failure: AtlasFailure | None) -> None:
    """A 403 comes from an Atlas that accepts the credentials."""
    assert bench.call("g", failure) is failure
    assert bench.is_open("g")
    assert bench.is_open("new")


@pytest.mark.parametrize("kind", [AtlasUnavailable, RateLimited])
def test_an_outage_is_shared_by_earlier_callers(bench: Bench, kind: type[AtlasFailure]) -> None:
    """Of its project, or of all if the token could not be fetched; it says nothing about the credentials."""
    asked = bench.time
    bench.call("g", kind(LIST, "x"))
    assert type(bench.rejections.failure_for(bench.project("g"), LIST, asked)) is kind
    assert bench.rejections.failure_for(bench.project("other"), LIST, asked) is None
    bench.call("g", kind(Operation.TOKEN, "x"))
    assert type(bench.rejections.failure_for(bench.project("other"), LIST, asked)) is kind
    bench.time += SOON
    assert bench.blocked("g") is None
    bench.call("good")
    assert bench.call("g", kind(LIST, "x")) is not None
    assert bench.is_open("g")


def test_an_outage_does_not_open_what_was_rejected(bench: Bench) -> None:
    """A probe that gets a 503 does not release all other calls."""
    bench.call("good")
    bench.reject("g")
    bench.time += 61
    bench.call("g", AtlasUnavailable(LIST, "503"))
    assert not bench.is_open("g")


def test_an_older_acceptance_does_not_end_a_rejection(bench: Bench) -> None:
    """A response to a call from before the key was revoked does not make the key valid."""
    bench.reject("g", unknown_key=True)
    bench.call("g", ago=10.0)
    assert bench.blocked("g") is CredentialsRejected
    assert not bench.is_open("new")


def test_an_acceptance_ends_the_evidence(bench: Bench) -> None:
    """Two rejected projects do not reject the credentials if a third project is accepted in between."""
    for _ in range(10):
        assert bench.reject("bad") is RejectedForProject
        bench.call("good")
        assert bench.reject("worse") is RejectedForProject
        bench.call("good")
        bench.time += 61
    assert bench.reject("bad") is RejectedForProject
    assert bench.reject("worse") is RejectedForProject


def test_old_evidence_does_not_count(bench: Bench) -> None:
    """A project that was rejected some time ago and is no longer in use is no evidence."""
    bench.reject("gone")
    bench.time += RECENTLY
    assert bench.reject("g") is RejectedForProject


def test_a_rejection_of_the_token_endpoint_has_no_exception(bench: Bench) -> None:
    """No call goes without a token; after a minute the first caller requests one."""
    bench.call("good")
    bench.reject("g", operation=Operation.TOKEN)
    assert [bench.blocked(of) for of in ("good", "g", "new")] == [CredentialsRejected] * 3
    bench.time += 61
    assert [bench.blocked(of) for of in ("good", "g", "new")] == [None] * 3


def test_rejected_credentials_are_tried_for_each_project_in_turn(bench: Bench) -> None:
    """A project that always asks first does not keep the others from being tried."""
    projects = [f"g{number}" for number in range(5)]
    bench.reject("g0")
    bench.reject("g1")
    assert "g4" in [bench.try_all(projects, accepts={"g4"}) for _ in range(6)]
    assert bench.is_open("new")


@pytest.mark.parametrize("mended", range(4))
def test_a_project_that_is_accepted_again_is_found(bench: Bench, mended: int) -> None:
    """However many projects stay rejected, each has its turn, and there is at most one try a minute."""
    projects = [f"g{number}" for number in range(4)]
    for _ in range(30):
        before = bench.time
        bench.try_all(projects, accepts=set())
        assert bench.time - before < 61 + 2 * 0.011
    assert f"g{mended}" in [bench.try_all(projects, accepts={f"g{mended}"}) for _ in range(8)]


def test_a_project_that_is_gone_delays_no_other_project(bench: Bench) -> None:
    """If the project whose turn it is does not ask any more, the others go a minute later."""
    bench.reject("g0")
    bench.reject("g1")
    assert bench.blocked("gone") is CredentialsRejected
    bench.time += 61
    assert bench.blocked("g0") is CredentialsRejected
    bench.time += 60
    assert bench.blocked("g0") is None


def test_remembered_projects_are_bounded(bench: Bench) -> None:
    """Only the latest projects are remembered."""
    bench.call("good")
    for number in range(PROJECTS + 10):
        bench.reject(f"g{number}")
        bench.call("good")
    assert bench.rejections.project.cache_info().currsize == PROJECTS
    assert bench.blocked(f"g{PROJECTS + 9}") is RejectedForProject
