"""The workflows of GitHub only call commands that run on any machine, with pinned actions and minimal rights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from release.steps import STEPS
from tests.stack import ROOT
from tests.workflows.__main__ import WORKFLOWS

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = re.findall(r"^([a-z-]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
FORMS = sorted(set((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})
PINNED = r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/[\w-]+\.yml"


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def commands(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job.get("steps", ()) if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned(path: Path) -> None:
    """Every action is pinned to the hash of a commit, with the version in a comment."""
    used = re.findall(r"uses: (.+)$", path.read_text(), re.MULTILINE)
    assert used
    assert [one for one in used if not re.fullmatch(PINNED, one)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_steps_are_scripts(path: Path) -> None:
    """A step is one command: .ci/run, or a target of the Makefile."""
    for command in commands(path):
        target = re.fullmatch(r"bash \.ci/run|make ([a-z-]+)( [A-Z]+=\S+)?", command)
        assert target, command
        assert target[1] is None or target[1] in TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights(path: Path) -> None:
    """A workflow may only read, except the job that releases; no token stays in the checkout."""
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    assert {name for name, job in jobs(path).items() if "permissions" in job} <= {"release"}
    text = path.read_text()
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_the_release_runs_every_step_in_order() -> None:
    """The workflow checks the release, and then runs all steps in order."""
    check, *steps = commands(ROOT / ".github" / "workflows" / "release.yml")[-1 - len(STEPS) :]
    assert check.startswith("make release-check ")
    assert steps == [f"make release STEPS={name}" for name in STEPS]


def test_makefile_has_every_step() -> None:
    """``make release`` runs all steps in order."""
    assert f"STEPS ?= {' '.join(STEPS)}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms(path: Path) -> None:
    """A form has what GitHub requires: a name, a description, and questions with a label and a unique id."""
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    questions = [part for part in form["body"] if part["type"] != "markdown"]
    assert all(part["attributes"]["label"] for part in questions)
    ids = [part["id"] for part in questions]
    assert len(ids) == len(set(ids)) > 0
