"""Whatever happens in whichever order, the laws hold at every step, and at rest the cluster and Atlas agree."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.simulation.machine import Life, LifeAfterSunset, LifeOfUsers

pytestmark = pytest.mark.timeout(900)  # hundreds of sequences are one test

fixed = settings(
    derandomize=True,
    database=None,
    deadline=None,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
"""The same sequences every time, so that a failure is there again: fresh ones come from ``make fuzz``."""

TestLife = Life.TestCase
TestLife.settings = settings(fixed, max_examples=400)
TestLifeAfterSunset = LifeAfterSunset.TestCase
TestLifeAfterSunset.settings = settings(fixed, max_examples=300)
TestLifeOfUsers = LifeOfUsers.TestCase
TestLifeOfUsers.settings = settings(fixed, max_examples=300)
