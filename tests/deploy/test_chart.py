"""The chart: the same manifests as kustomize's, values that are checked, and an uninstall that leaves the CRD."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import helm_python
import pytest
import yaml
from pydantic.alias_generators import to_camel

from atlas_invites.settings import Settings
from tests.deploy.manifests import (
    ALL_COMPONENTS,
    CHART,
    COMPONENTS,
    CRD,
    DEPLOY,
    by_name,
    chart,
    kustomized,
    kustomized_with,
    of_kind,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane

KEEP = "helm.sh/resource-policy"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OWN = {"lease_namespace"}
"""Settings that are the chart's: where the rights on the Lease are given."""
DIGEST = f"sha256:{'a' * 64}"


def container(values: dict[str, Any]) -> dict[str, Any]:
    """Return the operator's container for these values."""
    (deployment,) = of_kind(chart(values), "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def same(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> bool:
    """Tell whether the chart's objects are kustomize's: all but the Namespace, which Helm makes if it is told to."""
    named = by_name(theirs)
    for crd in of_kind(theirs, "CustomResourceDefinition"):
        assert crd["metadata"]["annotations"].pop(KEEP) == "keep"
    return named == by_name(one for one in ours if one["kind"] != "Namespace")


def test_default_rendering_is_kustomizes() -> None:
    """The chart with its defaults is what ``kubectl apply -k deploy/`` applies, but for the CRD's keep policy."""
    assert same(chart(), kustomized(DEPLOY))


def test_everything_is_kustomizes(tmp_path: Path) -> None:
    """With all that can be switched on, too, it is what kustomize makes with all components."""
    assert same(chart(ALL_COMPONENTS), kustomized_with(DEPLOY, *COMPONENTS, scratch=tmp_path))


def test_one_namespace_is_the_overlay() -> None:
    """With scope: namespace it is the overlay for one namespace, with the CRD if wanted."""
    overlay = kustomized(DEPLOY / "overlays" / "one-namespace")
    values = {"scope": "namespace", "crd": {"create": False}}
    assert same(chart(values, namespace="team-a"), overlay)


def test_any_user_is_the_component(tmp_path: Path) -> None:
    """With fixedUser: false it is what kustomize makes with the component for OpenShift."""
    assert same(chart({"fixedUser": False}), kustomized_with(DEPLOY, "any-user", scratch=tmp_path))


def test_lint() -> None:
    """Helm's own linter has neither errors nor warnings."""
    report = helm_python.lint(CHART, strict=True)
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


def test_defaults_fit_the_schema() -> None:
    """The schema knows every value that the chart has, and no others."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert SCHEMA["properties"].keys() - {"global"} == defaults.keys()


def test_settings_are_the_operators() -> None:
    """Every setting of the operator can be given, by its name in camel case, but for what is the chart's own."""
    assert set(SCHEMA["properties"]["settings"]["properties"]) == {
        to_camel(name) for name in Settings.model_fields if name not in OWN
    }


def test_settings_reach_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given as settings is what the operator reads from its environment."""
    given = {
        "atlasUrl": "https://cloud.example.com",
        "namespaces": ["team-a", "team-b"],
        "resyncInterval": "5m",
        "workers": 20,
        "atlasApi": "users",
        "atlasEnvelope": True,
        "leaderElection": False,
        "listen": "[::]:8080",
        "logFormat": "text",
        "logLevel": "debug",
    }
    for variable in container({"settings": given, "replicas": 1})["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = Settings()
    read = {to_camel(name): getattr(settings, name) for name in Settings.model_fields if name not in OWN}
    assert read == given | {"namespaces": ("team-a", "team-b"), "resyncInterval": 300.0}


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 1},
        {"scope": "everything"},
        {"settings": {"resync": "5m"}},
        {"settings": {"resyncInterval": "soon"}},
        {"settings": {"workers": 0}},
        {"settings": {"atlasUrl": "http://cloud.mongodb.com"}},
        {"image": {"digest": "latest"}},
        {"env": [{"value": "nameless"}]},
        {"env": [{"name": "ATLAS_INVITES_LISTEN", "value": "off"}]},
        {"scope": "namespace", "settings": {"namespaces": ["team-b"]}},
        {"scope": "namespace", "roleGuard": {"enabled": True}},
        {"settings": {"leaderElection": False}},
        {"settings": {"listen": "off"}},
        {"settings": {"namespaces": ["team-*"]}},
        {"settings": {"resyncInterval": 0.5}},
        {"settings": {"leaseNamespace": "elsewhere"}},
        {"networkPolicy": {"ports": []}},
    ],
    ids=str,
)
def test_bad_values_are_refused(values: dict[str, Any]) -> None:
    """A value that does not exist, or cannot be, is refused before anything is rendered."""
    with pytest.raises(helm_python.HelmValuesError):
        chart(values)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "atlas-invites:0.1.0"),
        (
            {"repository": "registry.example.com/atlas-invites", "tag": "1.2.3"},
            "registry.example.com/atlas-invites:1.2.3",
        ),
        ({"tag": "1.2.3", "digest": DIGEST}, f"atlas-invites@{DIGEST}"),
    ],
    ids=["default", "tag", "digest"],
)
def test_image(image: dict[str, str], expected: str) -> None:
    """The image is named by repository and tag, or by its digest."""
    assert container({"image": image})["image"] == expected


def test_pod_settings() -> None:
    """Where the Pods run, and with which priority, is up to the values."""
    values = {
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "pull"}],
        "podAnnotations": {"example.com/team": "platform"},
    }
    (deployment,) = of_kind(chart(values), "Deployment")
    pod = deployment["spec"]["template"]
    assert pod["metadata"]["annotations"] == values.pop("podAnnotations")
    assert {key: pod["spec"][key] for key in values} == values


def test_env() -> None:
    """More environment variables go before the settings."""
    env = container({"env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}], "settings": {"workers": 5}})["env"]
    assert env == [
        {"name": "HTTPS_PROXY", "value": "http://proxy"},
        {"name": "ATLAS_INVITES_WORKERS", "value": "5"},
    ]


def test_without_leader_election() -> None:
    """Who goes without a Lease has one Pod, which ends before the next one starts."""
    (deployment,) = of_kind(chart({"settings": {"leaderElection": False}, "replicas": 1}), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    (usual,) = of_kind(chart({"settings": {"leaderElection": True}}), "Deployment")
    assert "strategy" not in usual["spec"]


def test_certificates() -> None:
    """The CA of a proxy that reads TLS can be mounted, and named."""
    volume = {"name": "ca", "configMap": {"name": "corporate-ca"}}
    mount = {"name": "ca", "mountPath": "/etc/ca", "readOnly": True}
    (deployment,) = of_kind(chart({"volumes": [volume], "volumeMounts": [mount]}), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["volumes"] == [volume]
    assert pod["containers"][0]["volumeMounts"] == [mount]


def test_service_account() -> None:
    """The ServiceAccount can be annotated."""
    (account,) = of_kind(chart({"serviceAccount": {"annotations": {"example.com/team": "platform"}}}), "ServiceAccount")
    assert account["metadata"]["annotations"] == {"example.com/team": "platform"}


def test_monitoring_of_ones_own() -> None:
    """What Prometheus selects, where it is, where alerts lead, a proxy's port: as in the example for kustomize."""
    values = {
        "monitoring": {
            "enabled": True,
            "labels": {"release": "kube-prometheus-stack"},
            "runbookUrl": "https://git.example.com/platform/atlas-invites/docs/runbook.md",
        },
        "networkPolicy": {"enabled": True, "prometheusNamespace": "observability", "ports": [443, 6443, 3128]},
    }
    kinds = ("ServiceMonitor", "PrometheusRule", "NetworkPolicy")
    theirs, ours = (
        of_kind(all_, *kinds) for all_ in (chart(values), kustomized(DEPLOY / "examples" / "kustomization"))
    )
    for one in of_kind(ours, "PrometheusRule"):
        del one["metadata"]["annotations"]  # whence kustomize takes the address
    assert by_name(theirs) == by_name(ours)
    for one in of_kind(theirs, "PrometheusRule"):
        for rule in one["spec"]["groups"][0]["rules"]:
            assert rule["annotations"]["runbook_url"].startswith("https://git.example.com/"), rule


def test_package(tmp_path: Path) -> None:
    """The chart can be packaged, and the package renders the same."""
    archive = helm_python.package(CHART, destination=tmp_path)
    with helm_python.Chart.load(archive) as packaged:
        rendered = packaged.render({}, name="atlas-invites", namespace="atlas-invites")
    with helm_python.Chart.load(CHART) as loaded:
        assert rendered == loaded.render({}, name="atlas-invites", namespace="atlas-invites")


def test_install_upgrade_uninstall(bare: ControlPlane, tmp_path: Path) -> None:
    """Helm installs the chart whole; an upgrade reaches the CRD; an uninstall leaves the CRD and the invitations."""
    cluster = bare
    cluster.kubectl("create", "namespace", "helm")
    release = helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace="helm")
    older = shutil.copytree(CHART, tmp_path / "chart")
    crd = older / "files" / "atlasprojectinvites.yaml"
    crd.write_text(crd.read_text().replace("categories: [atlas]", "categories: [older]"))
    release.install(str(older), "atlas-invites", ALL_COMPONENTS)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    cluster.kubectl("apply", "--namespace", "helm", "-f", str(DEPLOY / "examples" / "invitation.yaml"))

    release.upgrade(str(CHART), "atlas-invites", {"replicas": 3})
    shown = cluster.kubectl("get", CRD, "-o", "jsonpath={.spec.names.categories}").stdout
    assert json.loads(shown) == ["atlas"]
    replicas = cluster.kubectl("get", "deploy", "atlas-invites", "-n", "helm", "-o", "jsonpath={.spec.replicas}").stdout
    assert replicas == "3"
    assert not cluster.kubectl("get", "networkpolicy,prometheusrule", "-n", "helm", "-o", "name").stdout

    release.uninstall("atlas-invites")
    assert cluster.kubectl("get", "ainv", "-n", "helm", "-o", "name").stdout.endswith("/jane\n")
    left = cluster.kubectl("get", "clusterrole,clusterrolebinding,validatingadmissionpolicy", "-o", "name").stdout
    assert "atlas-invites" not in left
    cluster.kubectl("delete", CRD)
    cluster.kubectl("delete", "namespace", "helm", "--wait=false")
