"""In any order of events, the laws hold at every step, and at rest the cluster matches Atlas."""

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
"""The same sequences in every run, so that a failure is reproducible. ``make fuzz`` runs new ones."""

TestLife = Life.TestCase
TestLife.settings = settings(fixed, max_examples=400)
TestLifeAfterSunset = LifeAfterSunset.TestCase
TestLifeAfterSunset.settings = settings(fixed, max_examples=300)
TestLifeOfUsers = LifeOfUsers.TestCase
TestLifeOfUsers.settings = settings(fixed, max_examples=300)
