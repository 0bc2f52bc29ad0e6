"""When a call may go: without a network, with a clock that the test moves."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited
from atlas_invites.atlas.responses import failure_of
from atlas_invites.atlas.throttle import LINE_MAX, SCOPES, SHORT, Place, Throttle
from atlas_invites.invitation.model import Operation

GROUP = "g1"
PATCH = Operation.UPDATE_INVITE
SEND = Operation.CREATE_INVITE


class Bench:
    """A throttle and its clock."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.throttle = Throttle(lambda: self.time)

    def delay(self, operation: Operation = PATCH, of: str = GROUP) -> float:
        return self.throttle.ask(operation, of).seconds

    def answer(
        self,
        status: int,
        headers: dict[str, str] | None = None,
        *,
        code: str = "X",
        operation: Operation = PATCH,
        of: str = GROUP,
    ) -> AtlasFailure | None:
        """Let a call go out and get a response now."""
        failure = failure_of(operation, status, {"error": status, "errorCode": code}, httpx.Headers(headers))
        self.throttle.learn(operation, of, self.time, failure)
        return failure

    def silence(self, operation: Operation = PATCH) -> None:
        """Let a call go out and get no response."""
        self.throttle.learn(operation, GROUP, self.time, AtlasUnavailable.of(operation, "no answer in time"))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_without_a_limit_nothing_is_held(bench: Bench) -> None:
    """Until Atlas sets a limit, every call goes at once."""
    assert [bench.delay(operation) for operation in Operation] == [0.0] * 13


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds(bench: Bench, status: int) -> None:
    """The scope is held for as long as Atlas says; callers that come meanwhile get the same message at once."""
    failure = bench.answer(status, headers={"Retry-After": "30"})
    assert failure is not None
    bench.time += 10
    with pytest.raises(type(failure)) as held:
        bench.delay()
    assert held.value.retry_after == 20.0
    assert (str(held.value), held.value.error) == (str(failure), failure.error)
    assert not held.value.unanswered
    bench.time += 20
    assert bench.delay() == 0.0


def test_a_small_retry_after_does_not_end_back_off(bench: Bench) -> None:
    """If Atlas says 0 or 1 while it refuses, calls still become less and less frequent."""
    for retry_after in ("0", "1", "Thu, 1 Jan 1970 00:00:00 GMT"):
        headers = {"Retry-After": retry_after, "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}
        calls, began = 0, bench.time
        while bench.time < began + 300:
            with suppress(AtlasUnavailable):  # it is held
                if bench.delay(of=retry_after) == 0.0:
                    calls += 1
                    bench.answer(503, headers, of=retry_after)
            bench.time += 0.1
        assert calls < 15, retry_after


def test_a_hold_applies_to_its_own_scope(bench: Bench) -> None:
    """Another operation, another project and another client are not held."""
    bench.answer(429, headers={"Retry-After": "900"})
    assert bench.delay(Operation.LIST_USERS) == 0.0
    assert bench.delay(PATCH, "g2") == 0.0
    bench.answer(429, operation=Operation.TOKEN, of="client 1", headers={"Retry-After": "900"})
    assert bench.delay(Operation.TOKEN, "client 2") == 0.0
    with pytest.raises(RateLimited):
        bench.delay(Operation.TOKEN, "client 1")


def test_a_hold_never_lasts_over_15_minutes(bench: Bench) -> None:
    """Even if Atlas says longer."""
    bench.answer(429, headers={"Retry-After": "999999"})
    bench.time += 900
    assert bench.delay() == 0.0


def test_a_call_waits_for_the_end_of_a_short_hold(bench: Bench) -> None:
    """It waits for up to a second, not longer."""
    bench.answer(429, headers={"Retry-After": "3"})
    bench.time += 3 - SHORT
    assert bench.delay() == SHORT


def test_without_retry_after_the_hold_grows(bench: Bench) -> None:
    """1, 2, 4 ... 60 seconds, while Atlas refuses; a response ends the hold."""
    waits = []
    for _ in range(8):
        bench.answer(429)
        bench.time += SHORT
        try:
            waits.append(SHORT + bench.delay())
        except RateLimited as held:
            waits.append(SHORT + (held.retry_after or 0))
        bench.time += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    bench.answer(200)
    assert bench.delay() == 0.0
    bench.answer(429)
    assert bench.delay() == 1.0


def test_refusals_for_days_can_be_counted(bench: Bench) -> None:
    """Two thousand refusals of every kind can be counted."""
    for number in range(2000):
        bench.answer(429 if number % 2 else 503)
        bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
        bench.silence(Operation.LIST_USERS)
        bench.time += 61
    assert bench.delay() == 0.0


def test_after_a_hold_one_call_tries(bench: Bench) -> None:
    """The first call goes, and the others wait for its result: after a success all go, after a refusal none."""
    bench.answer(503, {"Retry-After": "30"})
    bench.time += 30
    assert bench.throttle.ask(PATCH, GROUP) == Place(0.0, taken=True)
    for _ in range(40):
        others = bench.throttle.ask(PATCH, GROUP)
        assert not others.taken
        assert 0 < others.seconds <= SHORT
    bench.answer(200)
    assert [bench.delay() for _ in range(40)] == [0.0] * 40
    bench.answer(503, {"Retry-After": "30"})
    bench.time += 30
    assert bench.delay() == 0.0
    bench.answer(503, {"Retry-After": "30"})
    with pytest.raises(AtlasUnavailable):
        bench.delay()


def test_a_trial_that_never_ends_holds_others_only_briefly(bench: Bench) -> None:
    """If it is canceled or hangs, another call tries after a second, then after two, four ..."""
    bench.answer(503, {"Retry-After": "30"})
    bench.time += 30
    tried, began = [], bench.time
    while bench.time < began + 130:
        with suppress(AtlasUnavailable):  # it is held
            if bench.throttle.ask(PATCH, GROUP) == Place(0.0, taken=True):
                tried.append(round(bench.time - began))
        bench.time += 0.01
    assert tried == [0, 1, 3, 7, 15, 31, 63, 123]
    bench.answer(200)
    assert [bench.delay() for _ in range(9)] == [0.0] * 9


def test_calls_refused_together_count_once(bench: Bench) -> None:
    """Fifty calls that were out when the first was refused count as one strike."""
    failure = failure_of(PATCH, 429, None, {})
    for _ in range(50):
        bench.throttle.learn(PATCH, GROUP, bench.time - 0.1, failure)
    assert bench.delay() <= 1.0


def test_the_limit_on_sending_holds_sending_everywhere(bench: Bench) -> None:
    """400 INVITATIONS_RATE_LIMITED_IP is by address.

    Both ways to send are held in every project, and nothing else is.
    """
    for _ in range(3):
        bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
        bench.time += 2
    for operation, of in ((SEND, "g2"), (Operation.ADD_USER, "g3")):
        with pytest.raises(RateLimited):
            bench.delay(operation, of)
    assert bench.delay(PATCH) == 0.0
    assert bench.delay(Operation.LIST_INVITES) == 0.0
    bench.time += 60
    bench.answer(200, operation=SEND)
    assert bench.delay(SEND, "g2") == 0.0


def test_sending_adapts_to_its_limit(bench: Bench) -> None:
    """A thousand invitations go near the pace that Atlas allows, ten a minute or ten a second, with few refusals."""
    for limit, window in [(10, 60.0), (10, 1.0)]:
        sent: list[float] = []
        bench.throttle, refused, began = Throttle(lambda: bench.time), 0, bench.time
        while len(sent) < 300:
            try:
                bench.time += bench.delay(SEND)
            except RateLimited as failure:
                bench.time += failure.retry_after or 0
                continue
            if sum(at > bench.time - window for at in sent) < limit:
                sent.append(bench.time)
                bench.answer(200, operation=SEND)
            else:
                refused += 1
                bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
            bench.time += 0.05
        assert refused < 60, f"{refused} refusals at {limit} in {window} s"
        assert bench.time - began < 3 * 300 * window / limit


def test_callers_that_find_the_line_too_long_come_back_one_by_one(bench: Bench) -> None:
    """Each is given a different time, so that they do not all come back at once."""
    bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
    told = []
    for _ in range(1000):
        try:
            bench.delay(SEND)
        except RateLimited as failure:
            told.append(failure.retry_after or 0)
    assert len(told) > 900
    assert told == sorted(set(told))
    assert 40 < told[-1] - told[0] < 100


def test_callers_that_do_not_come_back_are_forgotten(bench: Bench) -> None:
    """A thousand callers that were told to come back and never do delay no later caller."""
    for _ in range(7):
        bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
        bench.time += 61
    for _ in range(1000):
        with suppress(RateLimited):
            bench.delay(SEND)
    bench.time += 61
    bench.answer(200, operation=SEND)
    assert bench.delay(SEND) == 0.0
    with pytest.raises(RateLimited) as second:
        bench.delay(SEND)
    assert second.value.retry_after is not None
    assert second.value.retry_after < 20


def test_callers_come_back_within_15_minutes_and_not_at_once(bench: Bench) -> None:
    """However long the line: each gets a time in the next 15 minutes, and few come at the same time."""
    for _ in range(9):
        bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
        bench.time += 61
    bench.delay(SEND)
    told = []
    for _ in range(1000):
        with pytest.raises(RateLimited) as failed:
            bench.delay(SEND)
        told.append(failed.value.retry_after or 0)
    assert max(told) <= 900
    assert max(Counter(int(seconds / 5) for seconds in told).values()) < 10


def test_without_a_limit_sending_is_free_again(bench: Bench) -> None:
    """After enough invitations without a refusal, they are no longer sent one by one."""
    bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
    for _ in range(60):
        bench.time += bench.delay(SEND) + 1
        bench.answer(200, operation=SEND)
    assert [bench.delay(SEND) for _ in range(10)] == [0.0] * 10


def test_one_call_without_a_response_holds_nothing(bench: Bench) -> None:
    """A single failure affects only its own call."""
    bench.silence()
    assert bench.delay() == 0.0


def test_an_outage_is_met_by_few_calls(bench: Bench) -> None:
    """Two calls in a row without a response hold the scope, longer each time.

    An outage of a minute costs a few calls, not thousands.
    """
    calls, held = 0, []
    for _ in range(60_000):
        try:
            if bench.delay() == 0.0:
                calls += 1
                bench.silence()
        except AtlasUnavailable as failure:
            held.append(failure)
        bench.time += 0.001
    assert calls < 9
    assert not any(failure.unanswered for failure in held)
    bench.time += 60
    assert bench.delay() == 0.0
    bench.answer(200)
    bench.silence()
    assert bench.delay() == 0.0


def test_a_response_to_an_older_call_does_not_end_a_hold(bench: Bench) -> None:
    """A call that went out before Atlas refused proves nothing."""
    bench.answer(429, headers={"Retry-After": "30"})
    bench.throttle.learn(PATCH, GROUP, bench.time - 1, None)
    with pytest.raises(RateLimited):
        bench.delay()


@pytest.mark.parametrize("status", [403, 404, 409])
def test_other_failures_are_responses(bench: Bench, status: int) -> None:
    """A 403, 404 or 409 shows that Atlas responds."""
    bench.silence()
    bench.answer(status)
    bench.silence()
    assert bench.delay() == 0.0


@pytest.mark.parametrize("status", [429, 503])
def test_a_401_ends_no_hold(bench: Bench, status: int) -> None:
    """A stale nonce or a rejected project during a hold releases no call early."""
    bench.answer(status, headers={"Retry-After": "600"})
    assert isinstance(bench.answer(401), CredentialsRejected)
    bench.time += 300
    bench.answer(401)
    with pytest.raises((RateLimited, AtlasUnavailable)) as held:
        bench.delay()
    assert held.value.retry_after == 300


def test_a_trial_that_gets_a_401_lets_one_more_try(bench: Bench) -> None:
    """A 401 says nothing about the rate limit: one more call tries each time, and the others keep waiting."""
    bench.answer(429, headers={"Retry-After": "600"})
    bench.time += 600
    for _ in range(10):
        assert bench.throttle.ask(PATCH, GROUP) == Place(0.0, taken=True)
        bench.answer(401)
    assert [bench.throttle.ask(PATCH, GROUP).taken for _ in range(40)] == [True] + [False] * 39
    bench.answer(200)
    assert [bench.delay() for _ in range(40)] == [0.0] * 40


def test_a_401_does_not_end_an_outage(bench: Bench) -> None:
    """Calls without a response before and after a 401 are one outage."""
    bench.silence()
    bench.answer(401)
    bench.silence()
    assert bench.delay() == 1.0


def test_a_401_speeds_nothing_up(bench: Bench) -> None:
    """The pace of sending stays."""
    bench.answer(400, code="INVITATIONS_RATE_LIMITED_IP", operation=SEND)
    for _ in range(100):
        bench.answer(401, operation=SEND)
    with pytest.raises(RateLimited):
        [bench.delay(SEND) for _ in range(1000)]


def test_a_token_endpoint_that_rejects_ends_no_hold(bench: Bench) -> None:
    """Its 400, 401 and 403 are about the client, not about the rate."""
    for status in (400, 401, 403):
        bench.answer(429, {"Retry-After": "600"}, operation=Operation.TOKEN)
        bench.answer(status, operation=Operation.TOKEN)
        with pytest.raises(RateLimited):
            bench.delay(Operation.TOKEN)


@given(st.dictionaries(st.sampled_from(["Date", "Retry-After"]), st.text(max_size=9)))
def test_any_header_can_be_used(headers: dict[str, str]) -> None:
    """Whatever the headers contain, a call waits at most for its patience or is told when to come back."""
    bench = Bench()
    bench.throttle.learn(PATCH, GROUP, bench.time, failure_of(PATCH, 429, None, headers))
    try:
        delay, most = bench.delay(), LINE_MAX
    except RateLimited as held:
        delay, most = held.retry_after or -1.0, 900.0
    assert 0 <= delay <= most


def test_remembered_scopes_are_bounded(bench: Bench) -> None:
    """Scopes without a hold are forgotten if there are many."""
    for number in range(SCOPES + 10):
        bench.answer(429, of=f"g{number}")
        bench.time += 2
    assert len(vars(bench.throttle)["_states"]) < SCOPES
