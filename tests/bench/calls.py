"""Count the calls of the operator's functions for one role change, in the simulation: equal on every machine."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import atlas_invites
from tests.bench.report import Line
from tests.simulation.test_found import ANN, spec
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

ROOT = Path(atlas_invites.__file__).parent
RESUMABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def of_one_change() -> Iterator[Line]:
    """Count the function calls of the operator for one changed role, from the watch event to the status write.

    A coroutine counts once, however often it resumes. Comprehensions and lambdas do not count.
    """
    calls: Counter[str] = Counter()
    begun: dict[int, FrameType] = {}  # keeps the frames, so that no new frame gets the id of an old one

    def count(frame: FrameType, event: str, _: object) -> None:
        package = _package(frame.f_code)
        if event != "call" or package is None or id(frame) in begun:
            return
        if frame.f_code.co_flags & RESUMABLE:
            begun[id(frame)] = frame
        calls[package] += 1

    world = World()
    try:
        world.run(5, lambda: world.cluster.create(ANN, spec()))
        sys.setprofile(count)
        try:
            world.run(5, lambda: world.cluster.edit(ANN, {"roles": ["GROUP_OWNER"]}))
        finally:
            sys.setprofile(None)
    finally:
        world.close()
    yield Line(1, "role change, function calls: controller and domain", None, calls["controller"] + calls["invitation"])
    yield Line(1, "role change, function calls: Atlas client", None, calls["atlas"])


def _package(code: CodeType) -> str | None:
    path = Path(code.co_filename)
    if "<" in code.co_name or not path.is_relative_to(ROOT):
        return None
    return path.relative_to(ROOT).parts[0]
