"""``make gitops``: the real Argo CD and the real Flux with the shipped files, on a real API server and the sandbox.

Each scenario states what Kubernetes, Atlas and the application must come to. At the end there is a table of scenario by
tool, and everything that was measured.
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
"""Whose scenarios are registered, in the order in which they play."""
AS_WANTED, FAILED, NOT_FOR_IT = "as wanted", "FAILED", "-"

Results = dict[tuple[str, str], str]


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 if all is as wanted, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.gitops", description=__doc__.split("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"one of {', '.join(SCENARIOS)}; none: all")
    parser.add_argument("--tool", choices=TOOLS, help="only this one")
    chosen = parser.parse_args(arguments)
    names = chosen.scenarios or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"no scenario is called {', '.join(unknown)}")
    results: Results = {}
    tools = [chosen.tool] if chosen.tool else list(TOOLS)
    try:
        for tool in tools:
            _play_all(tool, names, results)
    except (BuildError, StartError) as error:
        report(str(error))
        return 1
    _print_table(names, tools, results)
    return int(FAILED in results.values())


def _play_all(name: str, scenarios: Iterable[str], results: Results) -> None:
    """Play the scenarios for a tool: most on one cluster, some on a cluster of their own."""
    mine = [one for one in scenarios if name in SCENARIOS[one].tools]
    together = [one for one in mine if not SCENARIOS[one].alone]
    if together:
        with Rig(FOLDER / name) as rig:
            tool = TOOLS[name](rig)
            report(tool.versions)
            tool.start()
            tool.add_platform(rig.platform)
            for one in together:
                results[one, name] = _play(tool, rig, one)
    for one in mine:
        if SCENARIOS[one].alone:
            with Rig(FOLDER / f"{name}-{one}") as rig:
                tool = TOOLS[name](rig)
                tool.start()
                results[one, name] = _play(tool, rig, one)


def _play(tool: Tool, rig: Rig, name: str) -> str:
    """Play one scenario, say what came of it, and return the word for the table."""
    begun = time.monotonic()
    stage = Stage.build(tool, rig, name)
    try:
        SCENARIOS[name].play(stage)
        result = AS_WANTED
    except Exception:  # noqa: BLE001 - the others still play
        result = FAILED
        report(f"{tool.name} {name}: {traceback.format_exc()}  logs: {rig.folder}")
    report(f"{tool.name} {name}: {result}, {time.monotonic() - begun:.0f} s")
    for fact in stage.facts:
        report(f"  {fact}")
    if tool.is_there(stage.name):
        tool.delete(stage.name)  # so that it costs nothing while others play
    return result


def _print_table(names: Sequence[str], tools: Sequence[str], results: Results) -> None:
    width = max(map(len, names))
    rows = [("scenario", *tools), *((name, *(results.get((name, t), NOT_FOR_IT) for t in tools)) for name in names)]
    for name, *cells in rows:
        sys.stdout.write(f"{name:{width}}  {'  '.join(f'{cell:9}' for cell in cells)}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
