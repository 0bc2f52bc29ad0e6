"""``make monitoring-test``: the alerts and the dashboard, evaluated by the real Prometheus.

For each alert an operator process runs on a real API server and the Atlas sandbox, and meets the fault that the alert is
for. Its metrics are scraped all the time. Then promtool evaluates the rules over these series: the alert must fire
during the fault, and neither before nor when the fault is over.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.control_plane.build import BuildError
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup, StartError
from tests.deploy.manifests import DEPLOY, load, of_kind
from tests.e2e.api import Api, History
from tests.e2e.world import Plane
from tests.monitoring import promtool
from tests.monitoring.faults import FAULTS, Stage
from tests.monitoring.recording import STRETCH, TICK
from tests.stack import ROOT, install

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = ROOT / ".build" / "monitoring"
PHASES = (10, 135, 135)
"""Ticks before the fault, during it, and after it: the longest alert waits for an hour, and looks back as far."""


def main(names: Sequence[str]) -> int:
    """Return the exit code: 0, or 1 with what is wrong."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        _say("building promtool, unless it is in Go's cache: some minutes the first time")
        _say(promtool.build())
        with ExitStack() as stack:
            failures = _check(stack, names or list(FAULTS))
    except (BuildError, StartError, AssertionError) as error:
        sys.stderr.write(f"monitoring-test: {error}\n")
        return 1
    for failure in failures:
        sys.stderr.write(f"monitoring-test: {failure}\n")
    _say("failed" if failures else "every alert fires and clears")
    return 1 if failures else 0


def _check(stack: ExitStack, names: Sequence[str]) -> list[str]:
    control_plane = stack.enter_context(ControlPlane(audit=True))
    install(control_plane)
    api, history = Api(control_plane), History(control_plane)
    stack.callback(api.close)
    stack.callback(history.close)
    group = ProcessGroup()
    stack.callback(group.close)
    plane = Plane(control_plane, api, history)
    stages = {name: Stage.build(plane, group, name.removeprefix("AtlasInvites")) for name in names}
    scripts = {name: FAULTS[name](stage) for name, stage in stages.items()}
    start = int(time.time())
    ends = []
    for what, ticks in zip(("all is well", "the faults begin", "the faults end"), PHASES, strict=True):
        _say(f"{what}: {ticks} scrapes, {ticks * TICK * STRETCH / 60:.0f} minutes on the time axis of the series")
        for script in scripts.values():
            next(script, None)
        for _ in range(ticks):
            began = time.monotonic()
            for stage in stages.values():
                stage.recording.scrape()
            time.sleep(max(began + TICK - time.monotonic(), 0))
        ends.append(next(iter(stages.values())).recording.ticks - 1)
    failures = []
    for rule in _rules():
        if (name := rule["alert"]) not in stages:
            continue
        before, during, after = ends
        questions = [
            promtool.was_firing(name, 0, before, expected=False),
            promtool.was_firing(name, before, during, expected=True),
            promtool.was_firing(name, after - 1, after, expected=False),
        ]
        wrong = promtool.ask(FOLDER, name, _groups(), [stages[name].recording], start, questions)
        _say(f"{name}: {'WRONG' if wrong else 'fires during its fault, and not before; clears after it'}")
        failures += [f"{name}\n{wrong}"] if wrong else []
    return failures


def _groups() -> list[dict[str, Any]]:
    (rules,) = of_kind(load((DEPLOY / "components" / "monitoring" / "monitoring.yaml").read_text()), "PrometheusRule")
    groups: list[dict[str, Any]] = rules["spec"]["groups"]
    return groups


def _rules() -> list[dict[str, Any]]:
    return [rule for group in _groups() for rule in group["rules"]]


def _say(line: str) -> None:
    sys.stdout.write(f"[monitoring-test] {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
