"""Argo CD's actions on an invitation, in Argo CD's own kind of test, and on the real API server."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from atlas_invites.invitation.resource import RECONCILE_REQUESTED_AT, RESEND_REQUESTED_AT, Resource
from tests.deploy.argocd import ACTIONS, ANY_TIME, ARGOCD, NAMES, SCRIPTS, customizations, installations, resend_in_git
from tests.deploy.documents import first_cells, page, section
from tests.deploy.lua import ScriptError, run_script
from tests.deploy.manifests import load
from tests.deploy.running import apply, invite
from tests.deploy.statuses import cases
from tests.unit.builders import GROUP_ID, status

if TYPE_CHECKING:
    from tests.control_plane.control_plane import ControlPlane
    from tests.deploy.manifests import Object

TESTS = yaml.safe_load((ACTIONS / "action_test.yaml").read_text())
DISCOVERY = (ACTIONS / "discovery.lua").read_text()


def action(name: str, item: Object) -> Object:
    """Return the result of an action on an object.

    Raises:
        ScriptError: it refuses.
    """
    made: Object = run_script((ACTIONS / name / "action.lua").read_text(), item)
    return made


def discovered(item: Object) -> dict[str, bool]:
    """Return the actions of an object, and whether each is disabled."""
    return {name: found["disabled"] for name, found in run_script(DISCOVERY, item).items()}


def read(path: str) -> Object:
    """Return an object of the testdata."""
    (item,) = load((ACTIONS / path).read_text())
    return item


def requests(item: Object) -> dict[str, str]:
    """Return the annotations of an object that request something."""
    annotations = item["metadata"].get("annotations", {})
    return {name: annotations[name] for name in (RECONCILE_REQUESTED_AT, RESEND_REQUESTED_AT) if name in annotations}


@pytest.mark.parametrize("test", TESTS["discoveryTests"], ids=lambda test: test["inputPath"])
def test_discovery(test: dict[str, Any]) -> None:
    """Argo CD's own test of the discovery passes."""
    assert discovered(read(test["inputPath"])) == {one["name"]: one["disabled"] for one in test["result"]}


@pytest.mark.parametrize("test", TESTS["actionTests"], ids=lambda test: f"{test['action']} {test['inputPath']}")
def test_action(test: dict[str, Any]) -> None:
    """Argo CD's own test of the actions passes; a time may be any time in RFC 3339."""
    item = read(test["inputPath"])
    if refusal := test.get("expectedErrorMessage"):
        with pytest.raises(ScriptError) as caught:
            action(test["action"], item)
        assert str(caught.value) == refusal
        return
    made = action(test["action"], item)
    for name, value in requests(made).items():
        assert datetime.fromisoformat(value).tzinfo is not None
        made["metadata"]["annotations"][name] = ANY_TIME
    assert made == read(test["expectedOutputPath"])


def test_action_test_is_complete() -> None:
    """Every file of the testdata is used, and every action is tested, and found by the discovery."""
    used = {test[field] for tests in TESTS.values() for test in tests for field in test if field.endswith("Path")}
    assert used == {f"testdata/{path.name}" for path in (ACTIONS / "testdata").iterdir()}
    assert {test["action"] for test in TESTS["actionTests"]} == set(NAMES)
    assert {path.parent.name for path in ACTIONS.glob("*/action.lua")} == set(NAMES)
    assert discovered(read("testdata/invited.yaml")).keys() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_action_changes_nothing_else(name: str) -> None:
    """An action changes spec.suspend or one annotation of an object, whatever its status is."""
    for item in (case.item for case in cases()):
        try:
            made = action(name, copy.deepcopy(item))
        except ScriptError:
            continue
        made["metadata"].pop("annotations", None)
        made["spec"].pop("suspend", None)
        item["spec"].pop("suspend", None)
        assert made == item


def test_resend_refuses_if_it_is_disabled() -> None:
    """Argo CD runs a disabled action too, so resend refuses exactly if the discovery disables it."""
    items = [case.item for case in cases()] + [read(test["inputPath"]) for test in TESTS["discoveryTests"]]
    seen = set()
    for item in items:
        disabled = discovered(item)["resend"]
        seen.add(disabled)
        if disabled:
            with pytest.raises(ScriptError, match="No resend was requested: "):
                action("resend", item)
        else:
            assert RESEND_REQUESTED_AT in requests(action("resend", item))
    assert seen == {True, False}


def test_operator_reads_what_the_actions_write() -> None:
    """The operator reads these annotations, and reads the suspension as one."""
    item = read("testdata/invited.yaml")
    for name in NAMES:
        made = Resource.from_body(action(name, copy.deepcopy(item)))
        assert (made.reconcile_requested_at is not None) == (name == "reconcile")
        assert (made.resend_requested_at is not None) == (name == "resend")
        assert made.spec.suspend == (name == "suspend")


def test_every_installation_has_the_scripts() -> None:
    """ConfigMap, Helm values and the object of argocd-operator contain the exact scripts, under Argo CD's keys."""
    (config_map,) = load((ARGOCD / "argocd-cm.yaml").read_text())
    (values,) = load((ARGOCD / "argo-cd-values.yaml").read_text())
    (operator,) = load((ARGOCD / "argocd-operator.yaml").read_text())
    assert config_map["data"] == values["configs"]["cm"] == customizations()
    (health,) = operator["spec"]["resourceHealthChecks"]
    (actions,) = operator["spec"]["resourceActions"]
    assert {
        f"resource.customizations.health.{health['group']}_{health['kind']}": health["check"],
        f"resource.customizations.actions.{actions['group']}_{actions['kind']}": actions["action"],
    } == customizations()
    held = yaml.safe_load(actions["action"])
    assert health["check"] == (SCRIPTS / "health.lua").read_text()
    assert held["discovery.lua"] == DISCOVERY
    assert {one["name"]: one["action.lua"] for one in held["definitions"]} == {
        name: (ACTIONS / name / "action.lua").read_text() for name in NAMES
    }


def test_actions_are_documented() -> None:
    """The page has a row for each action, and names each way to install them."""
    text = page("gitops")
    assert sorted(first_cells(section(text, "## Actions in Argo CD"))) == sorted(NAMES)
    for path in (*installations(), ARGOCD / "kustomization.yaml"):
        assert f"deploy/argocd/{path.name}" in text


def live(cluster: ControlPlane, namespace: str, name: str) -> Object:
    """Return an object as Argo CD gets it."""
    shown = cluster.kubectl("get", f"ainv/{name}", "-n", namespace, "-o", "json", "--show-managed-fields")
    found: Object = json.loads(shown.stdout)
    return found


def patched(cluster: ControlPlane, namespace: str, name: str, action_name: str) -> Object:
    """Run an action as Argo CD does, which sends the changes as a merge patch, and return the new object."""
    before = live(cluster, namespace, name)
    made = action(action_name, copy.deepcopy(before))
    assert made.keys() == before.keys()
    patch: Object = {key: made[key] for key in made if made[key] != before[key]}
    assert patch.keys() in ({"metadata"}, {"spec"})
    cluster.kubectl("patch", f"ainv/{name}", "-n", namespace, "--type=merge", "-p", json.dumps(patch))
    return live(cluster, namespace, name)


def test_actions_on_the_api_server(cluster: ControlPlane, team: str) -> None:
    """The API server accepts what each action sends."""
    apply(cluster, team, invite("jane", GROUP_ID))
    assert set(requests(patched(cluster, team, "jane", "reconcile"))) == {RECONCILE_REQUESTED_AT}
    assert set(requests(patched(cluster, team, "jane", "resend"))) == {RECONCILE_REQUESTED_AT, RESEND_REQUESTED_AT}
    suspended = patched(cluster, team, "jane", "suspend")
    assert suspended["spec"]["suspend"] is True
    assert discovered(suspended) == {"reconcile": True, "resend": True, "resume": False, "suspend": True}
    assert discovered(patched(cluster, team, "jane", "resume"))["resend"] is False


def test_resend_in_git_is_detected_by_the_field_manager(cluster: ControlPlane, team: str) -> None:
    """What Argo CD applied counts as from Git; what a user or the action annotated does not."""
    manifest = invite("jane", GROUP_ID)
    apply(cluster, team, manifest)
    cluster.kubectl("annotate", "ainv/jane", "-n", team, f"{RESEND_REQUESTED_AT}=1")
    assert discovered(live(cluster, team, "jane"))["resend"] is False
    manifest["metadata"]["annotations"] = {RESEND_REQUESTED_AT: "2"}
    options = ["--server-side", "--field-manager=argocd-controller", "--force-conflicts"]
    cluster.kubectl("apply", "-n", team, *options, "-f", "-", input=json.dumps(manifest))
    assert discovered(live(cluster, team, "jane"))["resend"] is True
    assert discovered(resend_in_git(status()))["resend"] is True
