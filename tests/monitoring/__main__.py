"""``make monitoring-test``: evaluate the shipped alerts and the dashboard with the real Prometheus.

For each alert an operator process runs on a real API server and the Atlas sandbox. It has the fault of the alert while
its metrics are scraped. Then promtool evaluates the rules over the series: the alert must fire during the fault, and
neither before nor at the end. No other alert may fire. Each query of the dashboard must return data from the series of
all operators.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.control_plane.build import BuildError
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup, StartError
from tests.deploy.manifests import DEPLOY, load, of_kind
from tests.e2e.api import Api, History
from tests.e2e.world import Plane
from tests.monitoring import promtool
from tests.monitoring.faults import FAULTS, Stage
from tests.monitoring.recording import INTERVAL, TICK
from tests.stack import ROOT, install

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.monitoring.recording import Recording

FOLDER = ROOT / ".build" / "monitoring"
"""The folder for rules, series and questions. It is kept, so that you can look at them with promtool."""
CALM, FAULT, AFTER = 10, 135, 135
"""The number of scrapes before, during and after the faults: no alert waits, or looks back, for more than an hour."""
RATE_INTERVAL = f"{4 * INTERVAL}s"
"""Grafana's value of ``$__rate_interval`` for a short range: four scrape intervals."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Simultaneous recordings, one operator for each alert, and the time of their start (Unix seconds)."""

    by_alert: Mapping[str, Recording]
    start: int


def main(alerts: Sequence[str]) -> int:
    """Run the test, and return the exit code: 0, or 1 with the failures on standard error.

    Args:
        alerts: the names of the alerts to test; if empty, all alerts and the dashboard.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        _say("building promtool, if it is not in Go's cache: about 5 minutes the first time")
        _say(promtool.build())
        with ExitStack() as stack:
            recorded = _record(stack, alerts or list(FAULTS))
    except (BuildError, StartError, AssertionError) as error:
        sys.stderr.write(f"monitoring-test: {error}\n")
        return 1
    failures = list(_check_alerts(recorded))
    if not alerts:
        failures += _check_dashboard(recorded)
    for failure in failures:
        sys.stderr.write(f"monitoring-test: {failure}\n")
    _say(f"{len(failures)} failed" if failures else "all alerts and queries passed")
    return 1 if failures else 0


def _record(stack: ExitStack, alerts: Sequence[str]) -> Recorded:
    """Run an operator for each alert, begin and end each fault, and scrape all the time."""
    control_plane = stack.enter_context(ControlPlane(audit=True))
    install(control_plane)
    plane = Plane(control_plane, Api(control_plane), History(control_plane))
    stack.callback(plane.api.close)
    stack.callback(plane.history.close)
    group = ProcessGroup()
    stack.callback(group.close)
    stages = {alert: Stage.build(plane, group, alert.removeprefix("AtlasInvites")) for alert in alerts}
    scripts = [FAULTS[alert](stage) for alert, stage in stages.items()]
    recordings = {alert: stage.recording for alert, stage in stages.items()}
    start = int(time.time())
    for what, scrapes in (("no faults", CALM), ("all faults", FAULT), ("after the faults", AFTER)):
        for script in scripts:
            next(script, None)
        _say(f"{what}: {scrapes} scrapes in {scrapes * TICK:.0f} s, which count as {scrapes * INTERVAL / 60:.0f} min")
        for _ in range(scrapes):
            began = time.monotonic()
            for recording in recordings.values():
                recording.scrape()
            time.sleep(max(began + TICK - time.monotonic(), 0))
    return Recorded(recordings, start)


def _check_alerts(recorded: Recorded) -> Iterator[str]:
    """Yield the failures of the alerts."""
    begin, end, last = CALM - 1, CALM + FAULT - 1, CALM + FAULT + AFTER - 1
    for alert, recording in recorded.by_alert.items():
        questions = [
            promtool.was_firing(alert, 0, begin, expected=False),
            promtool.was_firing(alert, begin, end, expected=True),
            promtool.was_firing(alert, last - 1, last, expected=False),
            *(promtool.was_firing(other, 0, last, expected=False) for other in FAULTS if other != alert),
        ]
        wrong = promtool.ask(FOLDER / alert, rule_groups(), [recording], recorded.start, questions)
        _say(f"{alert}: {'FAILED' if wrong else 'fires during its fault, clears after it, and no other alert fires'}")
        if wrong:
            yield f"{alert}\n{wrong}"


def _check_dashboard(recorded: Recorded) -> Iterator[str]:
    """Yield the failures of the dashboard's queries, right after the faults began, when the operators are busy."""
    tick = CALM + 2
    questions = [
        promtool.has_data(query.replace("$namespace", ".+").replace("$__rate_interval", RATE_INTERVAL), tick)
        for _, query in dashboard_queries()
    ]
    wrong = promtool.ask(FOLDER / "dashboard", [], recorded.by_alert.values(), recorded.start, questions) or ""
    for (title, query), question in zip(dashboard_queries(), questions, strict=True):
        is_wrong = json.dumps(question.expression) in wrong  # promtool quotes expressions like JSON
        _say(f"dashboard, {title}: {'NO DATA' if is_wrong else 'data'}: {query}")
    if wrong:
        yield f"dashboard\n{wrong}"


def rule_groups() -> list[dict[str, Any]]:
    """Return the groups of the shipped PrometheusRule."""
    (rules,) = of_kind(load((DEPLOY / "components" / "monitoring" / "monitoring.yaml").read_text()), "PrometheusRule")
    groups: list[dict[str, Any]] = rules["spec"]["groups"]
    return groups


def dashboard_queries() -> list[tuple[str, str]]:
    """Return each query of the dashboard, with the title of its panel."""
    dashboard = json.loads((DEPLOY / "components" / "dashboard" / "dashboard.json").read_text())
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", ())]


def _say(line: str) -> None:
    sys.stdout.write(f"[monitoring-test] {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
