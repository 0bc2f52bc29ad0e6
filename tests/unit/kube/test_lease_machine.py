"""Hypothesis runs candidates against each other, with different clocks and any pauses and faults."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.kube.lease import Lease
from tests.unit.kube.lease_fakes import FakeLeases

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CANDIDATES = 2
SKEW = 0.02
"""How much faster or slower than the true time a clock may run: far more than a real one."""

Who = st.integers(0, CANDIDATES - 1)
Seconds = st.sampled_from([0.0, 2.0, 4.0, 9.0, 12.0, 14.0, 16.0])
Meanwhile: st.SearchStrategy[list[Any]] = st.just([]) | st.lists(st.tuples(Seconds, st.none() | Who), max_size=3)
Lost = st.sampled_from([None, "request", "answer"])


@dataclass
class Candidate:
    """A process. Its clock shows ``offset`` at the start, and runs at ``rate``.

    ``acts_until`` is the true time until which a write that it has started, or may still start, can be under way.
    """

    number: int
    lease: Lease = field(init=False)
    offset: float = 0.0
    rate: float = 1.0
    acts_until: float = float("-inf")


class Election(RuleBasedStateMachine):
    """Time passes only in rules, and also during a call, while the others continue."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.leases = FakeLeases()
        self.candidates: list[Candidate] = []
        self.in_call: set[int] = set()
        self.under_way_until = float("-inf")

    @initialize(
        clocks=st.lists(
            st.tuples(st.floats(-1e6, 1e6), st.floats(1 - SKEW, 1 + SKEW)), min_size=CANDIDATES, max_size=CANDIDATES
        )
    )
    def begin(self, clocks: list[tuple[float, float]]) -> None:
        for number, (offset, rate) in enumerate(clocks):
            self.candidates.append(Candidate(number, offset=offset, rate=rate))
            self._start(self.candidates[number])

    @rule(tries=st.lists(st.tuples(Seconds, Who), min_size=2, max_size=5))
    def try_in_turn(self, tries: list[tuple[float, int]]) -> None:
        """Let candidates try one after the other; the API server responds at once."""
        for wait, who in tries:
            self.tries(wait, who, [], [], None)

    @rule(wait=Seconds, who=Who, before=Meanwhile, after=Meanwhile, lost=Lost)
    def tries(self, wait: float, who: int, before: Any, after: Any, lost: str | None) -> None:  # noqa: ANN401
        """Let a candidate try to take or renew after some time.

        Time passes and others try before and after the effect.
        """
        self.time += wait
        asyncio.run(self._try(who, before, after, lost))

    @rule(who=Who, in_order=st.booleans())
    def ends(self, who: int, in_order: bool) -> None:  # noqa: FBT001 - Hypothesis names it
        """Let a process release its Lease, or end without releasing while its requests may still be under way."""
        candidate = self.candidates[who]
        if in_order:
            candidate.acts_until = self.time  # running work is finished or cut before the Lease is released
            asyncio.run(candidate.lease.release())
        self._start(candidate)

    @invariant()
    def the_gate_is_open_for_one_at_most(self) -> None:
        """Check that two candidates can never start a write at the same time."""
        assert sum(_gate_is_open(candidate.lease) for candidate in self.candidates) <= 1

    def _start(self, candidate: Candidate) -> None:
        identity = f"{candidate.number}-{self.time}-{len(self.leases.calls)}"
        clock = lambda: candidate.offset + candidate.rate * self.time  # noqa: E731
        self.under_way_until = max(self.under_way_until, candidate.acts_until)
        candidate.lease, candidate.acts_until = Lease(self.leases, identity, clock=clock), float("-inf")

    async def _try(self, who: int, before: Any, after: Any, lost: str | None) -> None:  # noqa: ANN401 - as above
        if who in self.in_call:
            return
        self.in_call.add(who)
        candidate = self.candidates[who]
        led = candidate.lease.leads
        self.leases.before = self._meanwhile(before, lost=lost == "request")
        self.leases.after = self._meanwhile(after, lost=lost == "answer")
        if await candidate.lease.attempt():
            self._acts(candidate)
        elif led and not candidate.lease.leads:
            self._start(candidate)
        self.leases.before = self.leases.after = None
        self.in_call.remove(who)

    def _meanwhile(self, events: Any, *, lost: bool) -> Callable[[], Awaitable[None]]:  # noqa: ANN401 - as above
        async def happen() -> None:
            hooks = self.leases.before, self.leases.after
            for seconds, other in events:
                self.time += seconds
                if other is not None:
                    await self._try(other, [], [], None)
            self.leases.before, self.leases.after = hooks
            if lost:
                raise ClusterUnavailable("the connection broke")

        return happen

    def _acts(self, candidate: Candidate) -> None:
        """Check that every earlier holder has ended by now, with all that it has under way.

        A response that came too late opens no gate, so there is nothing to check.
        """
        with suppress(ClusterUnavailable):
            seconds = candidate.lease.time_to_write()
            others = [other.acts_until for other in self.candidates if other is not candidate]
            assert max([*others, self.under_way_until]) <= self.time, "one leads while another one may still write"
            candidate.acts_until = self.time + seconds / candidate.rate


def _gate_is_open(lease: Lease) -> bool:
    try:
        return lease.time_to_write() > 0
    except ClusterUnavailable:
        return False


TestElection = Election.TestCase
TestElection.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=400,
    stateful_step_count=20,
    phases=[Phase.generate],  # minimizing a failure takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
