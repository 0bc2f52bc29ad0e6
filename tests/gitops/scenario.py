"""The registry of scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gitops.stage import Stage

SCENARIOS: dict[str, Scenario] = {}
"""Every scenario by its name, in the order in which they play."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and what must come of it.

    Attributes:
        play: lets it happen on a stage; raises AssertionError if something else comes of it.
        tools: the tools that it is for.
        alone: it plays on a cluster of its own, on which there is nothing of ours at first.
    """

    play: Callable[[Stage], None]
    tools: tuple[str, ...]
    alone: bool


def scenario(*tools: str, alone: bool = False) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a function as the scenario of its name, for some tools or for all."""

    def register(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name = play.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(play, tools or ("argocd", "flux"), alone)
        return play

    return register
