"""The API server accepts all shipped manifests, and its controllers create Pods under the restricted standard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from release.project import read
from tests.deploy.lint import KUSTOMIZATIONS
from tests.deploy.manifests import (
    ALL_COMPONENTS,
    CHART,
    COMPONENTS,
    DEPLOY,
    chart,
    kustomized,
    kustomized_with,
    of_kind,
)
from tests.stack import ROOT, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.deploy.manifests import Object


def pods(cluster: ControlPlane, namespace: str) -> list[Object]:
    """Return the operator's Pods, once there are two."""

    def listed() -> list[Object]:
        found = cluster.kubectl(
            "get", "pods", "-n", namespace, "-l", "app.kubernetes.io/name=atlas-invites", "-o", "json"
        )
        items: list[Object] = json.loads(found.stdout)["items"]
        return items if len(items) == 2 else []

    found: list[Object] = wait_until("two Pods", listed)
    return found


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
@pytest.mark.parametrize("options", [[], ["--server-side", "--field-manager=gitops", "--force-conflicts"]], ids=str)
def test_kustomization_is_accepted(cluster: ControlPlane, folder: str, options: list[str]) -> None:
    """``kubectl apply -k`` succeeds without a warning, with client-side and with server-side apply."""
    done = cluster.kubectl("apply", "-k", str(DEPLOY / folder), *options, "--dry-run=server")
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(kustomized(DEPLOY / folder))


def test_another_namespace_is_accepted(cluster: ControlPlane, tmp_path: Path) -> None:
    """A user's kustomization may put everything, with all components, into another namespace."""
    objects = kustomized_with(DEPLOY, *COMPONENTS, scratch=tmp_path, namespace="team-a")
    for options in ([], ["--server-side", "--field-manager=gitops", "--force-conflicts"]):
        done = cluster.kubectl("apply", "-k", str(tmp_path), *options, "--dry-run=server")
        assert len(done.stdout.splitlines()) == len(objects)


@pytest.mark.parametrize(
    ("folder", "components"), [("", COMPONENTS), ("overlays/one-namespace", ("network-policy", "monitoring"))], ids=str
)
def test_another_namespace_applies_to_everything(folder: str, components: tuple[str, ...], tmp_path: Path) -> None:
    """A kustomization with another namespace moves everything.

    Components, and the subjects of bindings, for the Lease too.
    """
    objects = kustomized_with(DEPLOY / folder, *components, scratch=tmp_path, namespace="elsewhere")
    assert {one["metadata"].get("namespace", "elsewhere") for one in objects} == {"elsewhere"}
    bindings = of_kind(objects, "ClusterRoleBinding", "RoleBinding")
    assert len(bindings) == 2
    for binding in bindings:
        assert [subject["namespace"] for subject in binding["subjects"]] == ["elsewhere"], binding["metadata"]["name"]
    (lease,) = [role for role in of_kind(objects, "Role") if role["metadata"]["name"] == "atlas-invites-lease"]
    assert lease["metadata"]["namespace"] == "elsewhere"


def test_chart_is_accepted(cluster: ControlPlane) -> None:
    """The rendered chart is accepted completely, with all options enabled."""
    objects = chart(ALL_COMPONENTS)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    done = cluster.kubectl("apply", "-f", "-", "--dry-run=server", input=text)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(objects)


def test_pods_are_admitted_as_restricted(cluster: ControlPlane) -> None:
    """The replica set controller makes both Pods in a namespace that enforces the restricted standard."""
    shown = cluster.kubectl("get", "namespace", "atlas-invites", "-o", "jsonpath={.metadata.labels}").stdout
    assert json.loads(shown)["pod-security.kubernetes.io/enforce"] == "restricted"
    names = [pod["metadata"]["name"] for pod in pods(cluster, "atlas-invites")]
    assert all(name.startswith("atlas-invites-") for name in names)
    events = cluster.kubectl("get", "events", "-n", "atlas-invites", "--field-selector", "reason=FailedCreate").stdout
    assert events == ""


def test_pods_that_are_not_restricted_are_rejected(cluster: ControlPlane) -> None:
    """The namespace rejects a Pod that asks for more."""
    (deployment,) = of_kind(kustomized(DEPLOY), "Deployment")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "more"}} | {
        "spec": deployment["spec"]["template"]["spec"]
    }
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    done = cluster.kubectl(
        "apply", "-n", "atlas-invites", "-f", "-", "--dry-run=server", input=json.dumps(pod), check=False
    )
    assert 'violates PodSecurity "restricted' in done.stderr


def test_pod(cluster: ControlPlane) -> None:
    """A Pod has probes, requests, limits, a read-only root file system and a numeric user, and spreads over nodes."""
    pod = pods(cluster, "atlas-invites")[0]["spec"]
    (container,) = pod["containers"]
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()
    assert {"cpu", "memory"} == container["resources"]["limits"].keys() == container["resources"]["requests"].keys()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert pod["enableServiceLinks"] is False
    assert [spread["topologyKey"] for spread in pod["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]


def test_one_namespace_watches_itself(cluster: ControlPlane) -> None:
    """The overlay's operator watches its own namespace, whatever its name is."""
    (variable,) = pods(cluster, "team-a")[0]["spec"]["containers"][0]["env"]
    assert variable["name"] == "ATLAS_INVITES_NAMESPACES"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_everything_selects_the_pods(cluster: ControlPlane, tmp_path: Path) -> None:
    """Service, disruption budget, spread and network policy select the Pods, and the ServiceMonitor the Service."""
    labels = pods(cluster, "atlas-invites")[0]["metadata"]["labels"]
    objects = kustomized_with(DEPLOY, *COMPONENTS, scratch=tmp_path)
    (service,) = of_kind(objects, "Service")
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    (policy,) = of_kind(objects, "NetworkPolicy")
    (monitor,) = of_kind(objects, "ServiceMonitor")
    for selector in (
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_versions() -> None:
    """Distribution, image, chart and manifests have the same version."""
    project = read()
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {about["version"], about["appVersion"]} == {project.version}
    assert f"ARG VERSION={project.version}\n" in (ROOT / "Dockerfile").read_text()
    for folder in KUSTOMIZATIONS:
        (deployment,) = of_kind(kustomized(DEPLOY / folder), "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"].endswith(f"atlas-invites:{project.version}")


def test_everything_is_labeled(tmp_path: Path) -> None:
    """Every object except the CRD has the label that selects all of the installation."""
    for one in kustomized_with(DEPLOY, *COMPONENTS, scratch=tmp_path):
        if one["kind"] != "CustomResourceDefinition":
            assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "atlas-invites", one["metadata"]
