"""``make fuzz``: run new sequences of each kind in turn for ``FUZZ_SECONDS`` (600), or until one breaks a law."""

from __future__ import annotations

import os
import secrets
import sys
import time
from itertools import cycle

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import Life, LifeAfterSunset, LifeOfUsers

AT_ONCE = 100
"""The number of sequences of one kind before those of the next kind."""


def main() -> int:
    """Return 0 if no law was broken; otherwise Hypothesis has printed the shortest sequence that it found."""
    seconds = float(os.environ.get("FUZZ_SECONDS", "600"))
    began, runs = time.monotonic(), 0
    fresh = settings(
        max_examples=AT_ONCE,
        database=None,
        deadline=None,
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    for kind in cycle([Life, LifeAfterSunset, LifeOfUsers]):
        if time.monotonic() >= began + seconds:
            break
        number = secrets.randbits(32)
        _say(f"{kind.__name__}: {AT_ONCE} sequences from seed {number}")
        run_state_machine_as_test(seed(number)(kind), settings=fresh)
        runs += 1
    _say(f"{runs * AT_ONCE:,} sequences in {time.monotonic() - began:.0f} s: no law was broken")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"[fuzz] {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
