"""How Argo CD and Flux read every status that the operator writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from atlas_invites.invitation.outcome import Kind, Reason
from tests.deploy.argocd import ARGOCD, SCRIPTS
from tests.deploy.flux import flux_complaints
from tests.deploy.generated import CRD
from tests.deploy.lua import run_script
from tests.deploy.manifests import load
from tests.deploy.statuses import FROM_BIRTH, IN_PROGRESS, cases
from tests.e2e.kstatus import kstatus

if TYPE_CHECKING:
    from tests.deploy.statuses import Case

SCRIPT = (SCRIPTS / "health.lua").read_text()
TESTS = yaml.safe_load((SCRIPTS / "health_test.yaml").read_text())["tests"]
CASES = cases()
GROUPS = sorted({case.group for case in CASES})
ARGO = {
    None: "Progressing",
    "Settled": "Healthy",
    "Waiting": "Progressing",
    "Retrying": "Progressing",
    "Stalled": "Degraded",
}
KSTATUS = {
    None: "Current",
    "Settled": "Current",
    "Waiting": "InProgress",
    "Retrying": "InProgress",
    "Stalled": "Failed",
}


def health(item: dict[str, Any]) -> tuple[str, str]:
    """Return status and message of Argo CD's health check."""
    found = run_script(SCRIPT, item)
    return found["status"], found["message"]


def of(group: str) -> list[Case]:
    return [case for case in CASES if case.group == group]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test["inputPath"])
def test_argo_cd_own_test(test: dict[str, Any]) -> None:
    """Argo CD's own kind of test of a health check passes: input in, status and message out."""
    (item,) = load((SCRIPTS / test["inputPath"]).read_text())
    assert health(item) == (test["healthStatus"]["status"], test["healthStatus"]["message"])


def test_argo_cd_own_test_is_complete() -> None:
    """Every input of Argo CD's test is used, and every health that the check returns is tested."""
    assert {test["inputPath"] for test in TESTS} == {
        f"testdata/{path.name}" for path in (SCRIPTS / "testdata").iterdir()
    }
    assert {test["healthStatus"]["status"] for test in TESTS} == {"Healthy", "Progressing", "Degraded", "Suspended"}


@pytest.mark.parametrize("group", GROUPS)
def test_argo_cd_health(group: str) -> None:
    """Argo CD shows the right health for every status, and says why."""
    for case in of(group):
        status, message = health(case.item)
        expected = ARGO[case.kind] if case.evaluated else "Progressing"
        assert status == ("Suspended" if case.suspended else expected), case
        assert message, case


@pytest.mark.parametrize("group", GROUPS)
def test_kstatus(group: str) -> None:
    """Kstatus, and therefore Flux, reads every status correctly.

    An object without any status would count as done: the CRD's default prevents that.
    """
    for case in of(group):
        expected = KSTATUS[case.kind] if case.evaluated or "status" not in case.item else "InProgress"
        assert kstatus(case.item) == expected, case


@pytest.mark.parametrize("group", GROUPS)
def test_no_tool_waits_for_a_suspended_object(group: str) -> None:
    """Whatever the object was when it was suspended, kstatus is done with it."""
    assert {kstatus(case.item) for case in of(group) if case.suspended} <= {"Current", "Failed"}


@pytest.mark.parametrize("group", GROUPS)
def test_flux_checker(group: str) -> None:
    """Flux's checker of conditions accepts every status that has conditions and is of its spec.

    The exceptions, which docs/gitops.md names: an object that was suspended from the start, or while it was in
    progress, has no Ready.
    """
    expected = ["FAIL0002: no Ready"] if group in {FROM_BIRTH, IN_PROGRESS} else []
    for case in of(group):
        if case.evaluated and case.item["status"]["conditions"]:
            assert flux_complaints(case.item) == expected, case


def test_flux_checker_reports_errors() -> None:
    """The checker of these tests finds broken rules."""
    conditions = [
        {"type": "Reconciling", "status": "True", "observedGeneration": 1},
        {"type": "Stalled", "status": "True", "observedGeneration": 1},
        {"type": "Ready", "status": "True", "observedGeneration": 1},
    ]
    item = {"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "conditions": conditions}}
    assert [complaint[:8] for complaint in flux_complaints(item)] == [
        f"FAIL000{number}" for number in (1, 3, 4, 5, 8, 9)
    ]
    (complaint,) = flux_complaints({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}})
    assert complaint == "FAIL0002: no Ready"


def test_argo_cd_does_not_wait_for_health_before_it_prunes() -> None:
    """With PruneLast one stalled or suspended invitation would prevent the pruning of all others."""
    for application in load((ARGOCD / "applications.yaml").read_text()):
        assert not [option for option in application["spec"]["syncPolicy"]["syncOptions"] if "PruneLast" in option]


def test_gitops_tools_leave_the_crd() -> None:
    """Neither tool deletes the CRD, and with it all invitations, when it deletes the installation."""
    (crd,) = load(CRD.read_text())
    assert crd["metadata"]["annotations"] == {
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    }


def test_every_kind_is_covered() -> None:
    """The cases cover every kind of outcome and every reason."""
    assert {case.kind for case in CASES} == {None, *Kind}
    assert {*Reason, FROM_BIRTH, IN_PROGRESS} < set(GROUPS)
