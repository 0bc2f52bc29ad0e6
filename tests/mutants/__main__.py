"""``make mutants``: apply each mutant of this folder to a copy of the project, and check that the test it names fails.

It is a failure if the test passes with the mutant or cannot run, or if the patch no longer applies. Words after
``python -m tests.mutants`` select the mutants whose names contain one of them.
"""

# ruff: noqa: T201 - it prints to a terminal

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from tests.mutants.patch import Mutant, PatchError

ROOT = Path(__file__).parents[2]
TREE = ("crds", "deploy", "docs", "operator", "tests", "Makefile", "pyproject.toml", "README.md")
"""The contents of a copy: everything that a test may read."""
PASSED, FAILED = 0, 1
"""Exit codes of pytest; every other code means that the test did not run."""
TIMEOUT = 300.0
"""The time limit of one test, in seconds. No test should need it; it ends a mutant that hangs."""
_FAILED = re.compile(r"^(\d+) failed\b", re.MULTILINE)


def main(words: list[str]) -> int:
    """Run the mutants whose name contains one of the words, or all; return 1 unless every mutant was found."""
    paths = sorted(p for p in Path(__file__).parent.glob("*.patch") if not words or any(w in p.stem for w in words))
    if not paths:
        print(f"no mutant has a name with {' or '.join(words)}")
        return 1
    began, wrong = time.monotonic(), 0
    for path in paths:
        started = time.monotonic()
        problem, about = _try(path)
        seconds = f"({time.monotonic() - started:.1f} s)"
        if problem is None:
            print(f"found    {path.stem}: {about} {seconds}", flush=True)
        else:
            wrong += 1
            print(f"WRONG    {path.stem}: {problem} {seconds}", flush=True)
    print(f"{len(paths) - wrong} of {len(paths)} mutants found, in {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _try(path: Path) -> tuple[str | None, str]:
    """Return the problem, or None, and a description of the mutant."""
    try:
        mutant = Mutant.read(path)
        about = f"law {mutant.law}: {mutant.breaks}"
        if problem := _without_mutant(mutant.test):
            return problem, about
        with tempfile.TemporaryDirectory(prefix="atlas-invites-mutant-") as folder:
            copy = _copied(Path(folder))
            mutant.apply(copy)
            code, output = _pytest(copy, mutant.test)
    except PatchError as error:
        return str(error), ""
    if code == PASSED:
        return f"{mutant.test} passes with the mutant", about
    if code != FAILED or not _FAILED.search(output):
        return f"{mutant.test} did not run: {_last_line(output)}", about
    return None, about


@cache
def _without_mutant(test: str) -> str | None:
    """Return what is wrong with a test on the unchanged project, or None if it passes; run each test once."""
    with tempfile.TemporaryDirectory(prefix="atlas-invites-mutant-") as folder:
        code, output = _pytest(_copied(Path(folder)), test)
    return None if code == PASSED else f"{test} does not pass without the mutant: {_last_line(output)}"


def _copied(folder: Path) -> Path:
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def _pytest(copy: Path, test: str) -> tuple[int, str]:
    """Run one test in a copy. Its source precedes the installed one, also in the processes that the test starts."""
    environment = os.environ | {"PYTHONPATH": str(copy / "operator"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=line", test]
    try:
        done = subprocess.run(  # noqa: S603 - our own command line
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return FAILED + 1, f"not finished after {TIMEOUT:.0f} s"
    return done.returncode, done.stdout + done.stderr


def _last_line(output: str) -> str:
    return next((line for line in reversed(output.splitlines()) if line.strip()), "no output")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
