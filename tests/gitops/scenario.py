"""The registry of scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gitops.stage import Stage

SCENARIOS: dict[str, Scenario] = {}
"""Every scenario by its name, in the order in which they run."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A sequence of events, and the expected result.

    Attributes:
        play: runs the scenario on a stage; raises AssertionError if the result differs.
        tools: the tools for which it runs.
        alone: whether it runs on its own cluster, which is empty at first.
    """

    play: Callable[[Stage], None]
    tools: tuple[str, ...]
    alone: bool


def scenario(*tools: str, alone: bool = False) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a function as a scenario under its name, for some tools or for all."""

    def register(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name = play.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(play, tools or ("argocd", "flux"), alone)
        return play

    return register
