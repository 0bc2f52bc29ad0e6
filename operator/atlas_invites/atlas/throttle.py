"""Decides when a call may be sent. Pure: nothing waits here, the clock is given.

Atlas limits calls by token buckets, for sets of endpoints and by project, user or IP address. It does not publish which
endpoints share a bucket. So each operation of each project is a separate scope here. If two scopes share a bucket, the
second one is held after one rejected call; no scope is held because of another. Sends have one more limit, by IP
address for all projects. No header shows it, so the rate of sends adapts to it, as TCP adapts to a network.

- A rate limit, or a second call in a row without a response, holds the scope: for 1, 2, 4 ... 60 seconds, and at least
  for ``Retry-After`` (at most 15 minutes), until Atlas responds again. When a hold ends, one call tries (the trial),
  and the others wait for its outcome. So an outage costs few calls, not one for each object.
- A 401, which may be a digest challenge, says nothing about a limit: Atlas sends it before it counts the call. It
  neither holds a scope nor ends a hold; after a hold, the next call becomes the trial.
- After Atlas has rate-limited a send, invitations are sent one by one: half as fast after each further rate limit, 5 %
  faster after each success. So a thousand sends at once meet few rate limits, whatever the limit is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.atlas.errors import SENDING, AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from atlas_invites.invitation.model import Operation

SHORT = 1.0
"""Seconds for which a call waits for the end of a hold. A longer hold raises immediately."""
LINE_MAX = 5.0
"""Seconds for which a call waits for its place while calls are sent one by one."""
LATER_MAX = 900.0
"""The maximum ``retry_after`` in seconds for a call that found the line too long."""
HOLD_MAX = 60.0
"""The maximum duration of a hold in seconds if Atlas did not say how long."""
STRIKES_MAX = 10
"""The maximum number of strikes that are counted: more would not make a hold longer."""
TRIAL = 1.0
"""Seconds until a second call tries if the trial has no outcome yet; doubled with each further trial."""
TRIAL_POLL = 0.05
"""Seconds after which a call that waits for the outcome of a trial asks again."""
SENDS_FIRST, SENDS_LAST = 0.1, 10.0
"""Seconds between two sends: after the first rate limit, and at most (Atlas's known limit is ten a minute)."""
SENDS_FASTER = 0.95
"""The factor for this interval after each successful send."""
SENDS_FREELY = SENDS_FIRST / 10
"""The interval in seconds below which sends are no longer delayed."""
SCOPES = 10_000
"""The maximum number of scopes that are kept; those without a hold or interval are dropped."""

_SENDING_LIMIT = "INVITATIONS_RATE_LIMITED_IP"

Scope = tuple[str, "Hashable"]


class Place(NamedTuple):
    """What a caller must do: wait for ``seconds``, then send the call if the place is ``taken``, else ask again."""

    seconds: float
    taken: bool


@dataclass(slots=True)
class _State:
    """The state of one scope; times are monotonic seconds.

    ``ends_at`` is the end of the hold; ``held_until`` is later while a trial is in progress.
    """

    failure: AtlasFailure | None = None
    ends_at: float = 0.0
    held_until: float = 0.0
    strikes: int = 0
    struck_at: float = 0.0
    trials: int = 0
    interval: float = 0.0
    next_slot: float = 0.0
    later: float = 0.0

    @property
    def is_in_line(self) -> bool:
        """Whether calls are sent one by one anyway, so that the next one is the trial and the others follow it."""
        return self.interval > 0 and isinstance(self.failure, RateLimited)

    def strike(self, began: float, now: float, failure: AtlasFailure) -> bool:
        """Hold the scope. Return whether this is a new strike: concurrent calls count as one."""
        is_news = began >= self.struck_at
        if is_news:
            self.strikes = min(self.strikes + 1, STRIKES_MAX)
            self.struck_at = now
            self.trials, self.held_until = 0, min(self.held_until, now)
        strikes = self.strikes - (1 if isinstance(failure, AtlasUnavailable) else 0)
        guess = min(2.0 ** (strikes - 1), HOLD_MAX) if strikes > 0 else 0.0
        if (hold := max(guess, failure.retry_after or 0.0)) > 0:
            self.failure = failure.again()  # a copy: the raised failure keeps its stack frames
            self.held_until = self.ends_at = max(self.held_until, now + hold)
        return is_news

    def recover(self, began: float) -> None:
        """End the hold, unless the last strike came after the call was sent."""
        if began >= self.struck_at:
            self.strikes, self.trials, self.failure, self.held_until = 0, 0, None, 0.0

    def release_trial(self) -> None:
        """Let the next call be the trial: the outcome of the last one does not show whether the hold is over."""
        if self.failure is not None:
            self.trials, self.held_until = 0, self.ends_at

    def slow_down(self) -> None:
        """Send invitations one by one, at half the rate."""
        self.interval = min(max(2 * self.interval, SENDS_FIRST), SENDS_LAST)
        self.next_slot = self.held_until  # waiting calls take a new place

    def speed_up(self) -> None:
        """Send invitations a little faster, and finally without an interval."""
        faster = self.interval * SENDS_FASTER
        self.interval = faster if faster >= SENDS_FREELY else 0.0


class Throttle:
    """Decides how long a call must wait, and learns from the responses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[Scope, _State] = {}

    def ask(self, operation: Operation, of: Hashable) -> Place:
        """Return when a call may be sent, and take a place for it; or return when to ask again.

        Args:
            operation: the call.
            of: what Atlas counts it by: the project, or for a token the client.

        Raises:
            RateLimited: the wait would be too long; ``retry_after`` says how long.
            AtlasUnavailable: the same, because Atlas does not respond.
        """
        if not self._states:
            return Place(0.0, taken=True)
        now = self._clock()
        states = self._known(operation, of)
        for state in states:
            if state.failure is not None and state.held_until - now > SHORT:
                held = state.failure.again(operation)
                held.retry_after = state.held_until - now
                raise held
        paced = [state for state in states if state.interval]
        struck = [state for state in states if state.failure is not None and not state.is_in_line]
        if waiting := [state for state in struck if state.held_until > now]:
            ask_again = TRIAL_POLL if any(state.trials for state in waiting) else SHORT
            return Place(min(max(state.held_until - now for state in waiting), ask_again), taken=False)
        slot = max([now, *(state.held_until for state in states), *(state.next_slot for state in paced)])
        if slot - now > LINE_MAX:
            raise RateLimited(operation, "too many sends are waiting", retry_after=self._later(paced, slot) - now)
        for state in paced:
            if state.next_slot <= now:
                state.later = 0.0  # nobody waits: the calls that were told to come later have come, or will not come
            state.next_slot = slot + state.interval
        for state in struck:
            state.held_until = slot + min(TRIAL * 2.0**state.trials, HOLD_MAX)
            state.trials = min(state.trials + 1, STRIKES_MAX)
        return Place(slot - now, taken=True)

    def struck_since(self, operation: Operation, of: Hashable, asked: float) -> bool:
        """Return whether there was a strike since a place was taken at ``asked``, so that another place is needed."""
        states = self._known(operation, of)
        return any(state.failure is not None and state.struck_at >= asked for state in states)

    def learn(self, operation: Operation, of: Hashable, began: float, failure: AtlasFailure | None) -> None:
        """Record the outcome of a call that was sent at ``began``."""
        if failure is None and not self._states:
            return
        if isinstance(failure, CredentialsRejected):
            for state in self._known(operation, of):
                state.release_trial()
        elif failure is not None and failure.error is not None and failure.error.error_code == _SENDING_LIMIT:
            state = self._state(_scopes(operation, of)[-1])
            if state.strike(began, self._clock(), failure):
                state.slow_down()
        elif isinstance(failure, RateLimited | AtlasUnavailable):
            self._state(_scopes(operation, of)[0]).strike(began, self._clock(), failure)
        else:
            for state in self._known(operation, of):
                state.recover(began)
                if failure is None and operation in SENDING:
                    state.speed_up()

    def _later(self, paced: Sequence[_State], slot: float) -> float:
        """Return when a call that found the line too long may come back: one by one, twice as fast as calls are sent.

        If that would be after ``LATER_MAX``, the times start again from the first one.
        """
        last = self._clock() + LATER_MAX
        for state in paced:
            later = state.later + state.interval / 2
            state.later = slot = max(later if later <= last else 0.0, slot)
        return slot

    def _known(self, operation: Operation, of: Hashable) -> list[_State]:
        """Return the known states of the scopes of a call."""
        return [state for scope in _scopes(operation, of) if (state := self._states.get(scope)) is not None]

    def _state(self, scope: Scope) -> _State:
        if scope not in self._states and len(self._states) >= SCOPES:
            now = self._clock()
            self._states = {key: s for key, s in self._states.items() if s.interval or s.held_until > now}
        return self._states.setdefault(scope, _State())


def _scopes(operation: Operation, of: Hashable) -> tuple[Scope, ...]:
    """Return the scopes of a call: its own scope first."""
    own = (operation.value, of)
    return (own, ("sending", None)) if operation in SENDING else (own,)
