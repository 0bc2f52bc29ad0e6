"""Our scripts for Argo CD, run by Argo CD's own command line on Argo CD's own kind of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.gitops.argocd import ArgoCD
from tests.gitops.scenario import scenario
from tests.stack import ROOT

if TYPE_CHECKING:
    from tests.gitops.stage import Stage

SCRIPTS = ROOT / "deploy" / "argocd" / "resource_customizations" / "atlasinvites.io" / "AtlasProjectInvite"


@scenario("argocd")
def health_script(stage: Stage) -> None:
    """Each test of the health check passes with ``argocd admin settings resource-overrides health``."""
    assert isinstance(stage.tool, ArgoCD)
    tests = yaml.safe_load((SCRIPTS / "health_test.yaml").read_text())["tests"]
    for test in tests:
        said = stage.tool.run_script("health", str(SCRIPTS / test["inputPath"]))
        wanted = test["healthStatus"]
        assert said == f"STATUS: {wanted['status']}\nMESSAGE: {wanted['message']}\n", (test["inputPath"], said)
    stage.note(f"{len(tests)} tests of the health check")
