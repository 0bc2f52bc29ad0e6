"""``python -m release``: check, prepare and make a release. ``docs/release.md`` lists the commands."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from dataclasses import replace

from helm_python import HelmError

from release.check import complaints, disagreements, prepare
from release.project import ROOT, read
from release.steps import STEPS, Release, ReleaseError, say

DIST = ROOT / "dist"
NO_REGISTRY = (
    "cannot publish: tool.release.registry in pyproject.toml is empty. "
    "Set it to the registry and the owner, such as registry.example.com/OWNER, and run make generate"
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and return the exit code: 0, or 1 with the reasons on standard error."""
    parser = argparse.ArgumentParser(prog="python -m release", description="Check, prepare or make a release.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list where the version is not that of pyproject.toml")
    check.add_argument("version", nargs="?", help="list also what must be fixed before this version is released")
    commands.add_parser("prepare", help="prepare a version").add_argument("version")
    for name, step in STEPS.items():
        command = commands.add_parser(name, help=(step.__doc__ or "").rstrip("."))
        command.add_argument(
            "--dry-run", action="store_true", help="print the commands that need a registry, but do not run them"
        )
    given = parser.parse_args(arguments)
    try:
        if given.command == "check":
            return _check(given.version)
        if given.command == "prepare":
            prepare(ROOT, given.version, dt.datetime.now(dt.UTC).date())
            return _check(given.version)
        _step(given.command, dry_run=given.dry_run)
    except (ReleaseError, HelmError, ValueError) as error:
        say(f"release: {error}")
        return 1
    return 0


def _check(version: str | None) -> int:
    found = list(disagreements(ROOT) if version is None else complaints(ROOT, version))
    for complaint in found:
        say(f"release: {complaint}")
    if not found:
        same = f"all have version {read().version}{'' if version is None else ', which can be released'}"
        say(f"release: pyproject.toml, chart, image label, manifests, docs and CHANGELOG.md {same}")
    if version is not None and not read().registry:
        say(f"release: {NO_REGISTRY}")
    return 1 if found else 0


def _step(name: str, *, dry_run: bool) -> None:
    project = read()
    if not project.registry:
        if not dry_run:
            raise ReleaseError(NO_REGISTRY)
        registry = "registry.example.com/owner"
        project = replace(project, registry=registry, source=f"https://git.example.com/owner/{project.name}")
    folder = DIST / f"release-{project.version}{'-dry-run' if dry_run else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    STEPS[name](Release(project, folder, dry_run))


if __name__ == "__main__":
    sys.exit(main())
