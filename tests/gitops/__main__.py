"""``make gitops``: test the shipped files with the real Argo CD and the real Flux, a real API server and the sandbox.

Each scenario checks the final state of Kubernetes, Atlas and the application. At the end the command prints a table of
scenarios by tool. After each scenario it prints what was measured.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from typing import TYPE_CHECKING

from tests.control_plane.build import BuildError
from tests.control_plane.processes import StartError
from tests.gitops import changes, first_sync, moving, protection, quiet, removal, suspension, waves
from tests.gitops.argocd import ArgoCD
from tests.gitops.build import FOLDER, report
from tests.gitops.flux import Flux
from tests.gitops.rig import Rig
from tests.gitops.scenario import SCENARIOS
from tests.gitops.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.gitops.tool import Tool

TOOLS: dict[str, type[ArgoCD | Flux]] = {"argocd": ArgoCD, "flux": Flux}
_MODULES = (first_sync, changes, suspension, removal, moving, waves, quiet, protection)
"""The modules with scenarios, in the order in which they run."""
PASSED, FAILED, NOT_APPLICABLE = "passed", "FAILED", "-"

Results = dict[tuple[str, str], str]


def main(arguments: Sequence[str]) -> int:
    """Run the scenarios, and return the exit code: 0 if all passed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.gitops", description=__doc__.split("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"one of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--tool", choices=TOOLS, help="run only this tool")
    chosen = parser.parse_args(arguments)
    names = chosen.scenarios or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"unknown scenario: {', '.join(unknown)}")
    results: Results = {}
    tools = [chosen.tool] if chosen.tool else list(TOOLS)
    try:
        for tool in tools:
            _run_all(tool, names, results)
    except (BuildError, StartError) as error:
        report(str(error))
        return 1
    _print_table(names, tools, results)
    return int(FAILED in results.values())


def _run_all(name: str, scenarios: Iterable[str], results: Results) -> None:
    """Run the scenarios for a tool: most on one cluster, some on their own cluster."""
    mine = [one for one in scenarios if name in SCENARIOS[one].tools]
    together = [one for one in mine if not SCENARIOS[one].alone]
    if together:
        with Rig(FOLDER / name) as rig:
            tool = TOOLS[name](rig)
            report(tool.versions)
            tool.start()
            tool.add_platform(rig.platform)
            for one in together:
                results[one, name] = _run(tool, rig, one)
    for one in mine:
        if SCENARIOS[one].alone:
            with Rig(FOLDER / f"{name}-{one}") as rig:
                tool = TOOLS[name](rig)
                tool.start()
                results[one, name] = _run(tool, rig, one)


def _run(tool: Tool, rig: Rig, name: str) -> str:
    """Run one scenario, report its result, and return the result for the table."""
    begun = time.monotonic()
    stage = Stage.build(tool, rig, name)
    try:
        SCENARIOS[name].play(stage)
        result = PASSED
    except Exception:  # noqa: BLE001 - the other scenarios must still run
        result = FAILED
        report(f"{tool.name} {name}: {traceback.format_exc()}  logs: {rig.folder}")
    report(f"{tool.name} {name}: {result}, {time.monotonic() - begun:.0f} s")
    for fact in stage.facts:
        report(f"  {fact}")
    if tool.exists(stage.name):
        tool.delete(stage.name)  # so that it costs nothing while others run
    return result


def _print_table(names: Sequence[str], tools: Sequence[str], results: Results) -> None:
    width = max(map(len, names))
    rows = [("scenario", *tools), *((name, *(results.get((name, t), NOT_APPLICABLE) for t in tools)) for name in names)]
    for name, *cells in rows:
        sys.stdout.write(f"{name:{width}}  {'  '.join(f'{cell:9}' for cell in cells)}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
