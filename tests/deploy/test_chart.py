"""The chart: the same manifests as kustomize's, values that are validated, and an uninstall that leaves the CRD."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import helm_python
import pytest
import yaml
from pydantic.alias_generators import to_camel

from atlas_invites.settings import Settings
from release.project import read
from tests.deploy.manifests import (
    ALL_COMPONENTS,
    CHART,
    COMPONENTS,
    CRD,
    DEPLOY,
    EXTRA_ROLE,
    FIRST_VALUES,
    by_name,
    chart,
    kustomized,
    kustomized_with,
    of_kind,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.deploy.manifests import Object

NAME = "atlas-invites"
LABEL = "app.kubernetes.io/name"
KEEP = "helm.sh/resource-policy"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
PROJECT = read()
OWN = {"lease_namespace"}
"""Settings that the chart sets: where the rights on the Lease are granted."""
DIGEST = f"sha256:{'a' * 64}"


def container(values: dict[str, Any]) -> dict[str, Any]:
    """Return the operator's container for these values."""
    (deployment,) = of_kind(chart(values), "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def same(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> bool:
    """Return whether the chart's objects equal kustomize's, except the Namespace, which Helm creates on request."""
    named = by_name(theirs)
    for crd in of_kind(theirs, "CustomResourceDefinition"):
        assert crd["metadata"]["annotations"].pop(KEEP) == "keep"
    return named == by_name(one for one in ours if one["kind"] != "Namespace")


def test_default_rendering_equals_kustomize() -> None:
    """The chart with its defaults is what ``kubectl apply -k deploy/`` applies, except the CRD's keep policy."""
    assert same(chart(), kustomized(DEPLOY))


def test_everything_equals_kustomize(tmp_path: Path) -> None:
    """With all options enabled it equals the kustomization with all components."""
    assert same(chart(ALL_COMPONENTS), kustomized_with(DEPLOY, *COMPONENTS, scratch=tmp_path))


def test_one_namespace_is_the_overlay() -> None:
    """With scope: namespace it is the overlay for one namespace, with the CRD on request."""
    overlay = kustomized(DEPLOY / "overlays" / "one-namespace")
    values = {"scope": "namespace", "crd": {"create": False}}
    assert same(chart(values, namespace="team-a"), overlay)


def test_a_namespace_for_credentials_is_the_overlay() -> None:
    """With ``credentials.namespace`` the chart has the rights of the overlay."""
    values = {"credentials": {"namespace": "atlas-credentials"}}
    assert same(chart(values), kustomized(DEPLOY / "overlays" / "credentials-namespace"))


@pytest.mark.parametrize("scope", ["cluster", "namespace", {"namespaces": ["team-a", "team-b"]}], ids=str)
def test_only_secrets_of_one_namespace(scope: object) -> None:
    """In any scope, it can get Secrets in ``credentials.namespace``, and nowhere else."""
    objects = chart({"scope": scope, "credentials": {"namespace": "vault"}}, namespace="platform")
    roles = of_kind(objects, "ClusterRole", "Role")
    (role,) = [role for role in roles if "secrets" in json.dumps(role["rules"])]
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "vault")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    (binding,) = [one for one in of_kind(objects, "RoleBinding") if one["metadata"]["namespace"] == "vault"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "platform"}]


def test_any_user_is_the_component(tmp_path: Path) -> None:
    """With fixedUser: false it equals the kustomization with the component for OpenShift."""
    assert same(chart({"fixedUser": False}), kustomized_with(DEPLOY, "any-user", scratch=tmp_path))


def test_extra_roles_are_the_component(tmp_path: Path) -> None:
    """With extraRoles it equals the kustomization with the component; a role that the CRD lists is not listed twice."""
    component = kustomized_with(DEPLOY, "extra-roles", scratch=tmp_path)
    assert same(chart({"extraRoles": [EXTRA_ROLE]}), component)
    assert same(chart({"extraRoles": ["GROUP_OWNER", EXTRA_ROLE]}), component)
    (crd,) = of_kind(component, "CustomResourceDefinition")
    assert json.dumps(crd).count(EXTRA_ROLE) == 1


def test_lint() -> None:
    """Helm's own linter has neither errors nor warnings."""
    report = helm_python.lint(CHART, strict=True)
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


def test_defaults_fit_the_schema() -> None:
    """The schema has every value of the chart, and no others except those that Helm uses."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert SCHEMA["properties"].keys() - {"enabled", "global"} == defaults.keys()


def test_the_readme_lists_every_value() -> None:
    """README.md has a row for every value, with the default of values.yaml."""
    rows = re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`)? \|", (CHART / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows if "." not in name] == list(SCHEMA["properties"])
    for name, default in rows:
        value = yaml.safe_load((CHART / "values.yaml").read_text())
        for part in name.split(".") if default else ():
            value = value[part]
        assert not default or json.loads(default) == value, name


def notes(values: dict[str, Any]) -> str:
    """Return what Helm prints after the installation of the chart."""
    with helm_python.Chart.load(CHART) as loaded:
        return str(loaded.render(values, name=NAME, namespace="platform")[f"{NAME}/templates/NOTES.txt"])


@pytest.mark.parametrize(
    ("values", "expected", "other"),
    [
        ({}, ["delete ainv --all --all-namespaces", "--namespace platform"], ["-k crds/"]),
        ({"scope": "namespace"}, ["delete ainv --all --namespace platform"], ["--all-namespaces"]),
        (
            {"scope": {"namespaces": ["team-a", "team-b"]}, "crd": {"create": False}},
            ["team-a, team-b", "delete ainv --all --namespace team-a", "--all --namespace team-b", "-k crds/"],
            ["--all-namespaces"],
        ),
        (
            {"scope": {"namespaces": ["team-a"]}, "credentials": {"namespace": "vault"}},
            [
                "create secret generic atlas-credentials --namespace vault",
                "annotate secret atlas-credentials --namespace vault atlasinvites.io/allowed-namespaces=team-a",
                "apply --namespace team-a",
            ],
            [],
        ),
    ],
    ids=["cluster", "namespace", "namespaces", "credentials"],
)
def test_notes(values: dict[str, Any], expected: list[str], other: list[str]) -> None:
    """The notes say where the operator works, where a Secret belongs, and what to delete first in an uninstall."""
    text = notes(values)
    assert [part for part in expected if part not in text] == []
    assert [part for part in other if part in text] == []


def test_settings_are_the_operators() -> None:
    """Every setting of the operator can be given, by its name in camel case, except those that the chart sets."""
    assert set(SCHEMA["properties"]["settings"]["properties"]) == {
        to_camel(name) for name in Settings.model_fields if name not in OWN
    }


def test_settings_reach_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the values are what the operator reads from its environment."""
    given = {
        "atlasUrl": "https://cloud.example.com",
        "namespaces": ["team-a", "team-b"],
        "defaultSecret": "vault/atlas",
        "resyncInterval": "5m",
        "deletionGrace": 0,
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
    assert read == given | {
        "namespaces": ("team-a", "team-b"),
        "defaultSecret": ("vault", "atlas"),
        "resyncInterval": 300.0,
    }


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 1},
        {"scope": "everything"},
        {"settings": {"resync": "5m"}},
        {"settings": {"defaultSecret": "atlas"}},
        {"credentials": {"namespace": "team-*"}},
        {"credentials": {"namespaces": ["vault"]}},
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
        {"settings": {"deletionGrace": -1}},
        {"settings": {"leaseNamespace": "elsewhere"}},
        {"networkPolicy": {"ports": []}},
        {"scope": {"namespaces": ["team-*"]}},
        {"scope": {"namespaces": ["team-a", "team-a"]}},
        {"scope": {"namespace": "team-a"}},
        {"commonLabels": {LABEL: "another"}},
        {"podLabels": {LABEL: "another"}},
        {"env": [{"name": "HTTPS_PROXY", "value": 3128}]},
        {"serviceAccount": {"name": "Operator"}},
        {"extraRoles": ["ORG_OWNER"]},
        {"extraRoles": [EXTRA_ROLE, EXTRA_ROLE]},
        {"extraRoles": [EXTRA_ROLE], "crd": {"create": False}},
    ],
    ids=str,
)
def test_invalid_values_are_rejected(values: dict[str, Any]) -> None:
    """An unknown or invalid value is rejected before anything is rendered."""
    with pytest.raises(helm_python.HelmValuesError):
        chart(values)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, f"{PROJECT.image}:{PROJECT.version}"),
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
    """The values decide where the Pods run, with which priority and how they are spread."""
    values = {
        "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "pull"}],
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
        ],
    }
    (deployment,) = of_kind(chart(values), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert {key: pod[key] for key in values} == values


@pytest.mark.parametrize(
    "objects", [kustomized(DEPLOY), chart(), chart({"nodeSelector": {"zone": "a"}})], ids=["kustomize", "chart", "more"]
)
def test_pods_run_on_linux(objects: list[dict[str, Any]]) -> None:
    """The Pods do not run on a node of another operating system, also with other node requirements."""
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/os"] == "linux"


def test_labels_and_annotations() -> None:
    """Common labels are on every object and on the Pods; the Pods and the Deployment have additional ones."""
    common, own = {"example.com/team": "platform"}, {"example.com/tier": "control"}
    values = ALL_COMPONENTS | {
        "commonLabels": common,
        "podLabels": own,
        "podAnnotations": {"example.com/scrape": "no"},
        "deploymentAnnotations": {"example.com/reload": "yes"},
        "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    }
    for one in chart(values):
        labels = one["metadata"]["labels"]
        assert common.items() <= labels.items(), one["metadata"]["name"]
        assert labels.get(LABEL, NAME) == NAME
    (deployment,) = of_kind(chart(values), "Deployment")
    template = deployment["spec"]["template"]["metadata"]
    assert template == {"labels": common | own | {LABEL: NAME}, "annotations": {"example.com/scrape": "no"}}
    assert deployment["metadata"]["annotations"] == {"example.com/reload": "yes"}
    assert deployment["spec"]["selector"] == {"matchLabels": {LABEL: NAME}}, "a selector cannot be changed later"


def test_security_contexts() -> None:
    """A security context in the values is merged into the default field by field."""
    values = {
        "podSecurityContext": {"runAsUser": 2000, "fsGroup": 2000, "runAsNonRoot": False},
        "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}, "readOnlyRootFilesystem": False},
    }
    (deployment,) = of_kind(chart(values), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": False,
        "runAsUser": 2000,
        "runAsGroup": 10001,
        "fsGroup": 2000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    }


def test_env() -> None:
    """Additional environment variables go before the settings."""
    env = container({"env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}], "settings": {"workers": 5}})["env"]
    assert env == [
        {"name": "HTTPS_PROXY", "value": "http://proxy"},
        {"name": "ATLAS_INVITES_WORKERS", "value": "5"},
    ]


def test_env_from() -> None:
    """Environment variables can come from a ConfigMap or a Secret."""
    sources = [{"secretRef": {"name": "proxy"}}]
    assert container({"envFrom": sources})["envFrom"] == sources


def test_without_leader_election() -> None:
    """Without a Lease there is one Pod, which ends before the next one starts."""
    (deployment,) = of_kind(chart({"settings": {"leaderElection": False}, "replicas": 1}), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    (usual,) = of_kind(chart({"settings": {"leaderElection": True}}), "Deployment")
    assert "strategy" not in usual["spec"]


def test_certificates() -> None:
    """The CA of a proxy that intercepts TLS can be mounted and used."""
    volume = {"name": "ca", "configMap": {"name": "corporate-ca"}}
    mount = {"name": "ca", "mountPath": "/etc/ca", "readOnly": True}
    (deployment,) = of_kind(chart({"volumes": [volume], "volumeMounts": [mount]}), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["volumes"] == [volume]
    assert pod["containers"][0]["volumeMounts"] == [mount]


@pytest.mark.parametrize("scope", ["cluster", "namespace", {"namespaces": ["team-a"]}], ids=str)
@pytest.mark.parametrize("create", [True, False], ids=["created", "existing"])
def test_service_account(scope: object, *, create: bool) -> None:
    """The ServiceAccount can have another name and annotations, or exist already; Pods and rights use it."""
    account = {"create": create, "name": "invites", "annotations": {"example.com/team": "platform"}}
    objects = chart({"scope": scope, "serviceAccount": account}, namespace="platform")
    found = [one["metadata"] | {"labels": None} for one in of_kind(objects, "ServiceAccount")]
    metadata = {"name": "invites", "namespace": "platform", "annotations": account["annotations"], "labels": None}
    assert found == ([metadata] if create else [])
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "invites"
    for binding in of_kind(objects, "ClusterRoleBinding", "RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "invites", "namespace": "platform"}


@pytest.mark.parametrize(
    "values",
    [{"scope": {"namespaces": ["team-a", "team-b"]}}, {"settings": {"namespaces": ["team-a", "team-b"]}}],
    ids=["scope", "settings"],
)
def test_several_namespaces(values: dict[str, Any]) -> None:
    """For several namespaces there are a Role and a RoleBinding in each, also by the former name of the value.

    Nothing else gives the operator rights: no ClusterRole lets it read the Secrets of the cluster.
    """
    objects = chart(values)
    named, everywhere = by_name(objects), by_name(chart())
    for namespace in ("team-a", "team-b"):
        role, binding = named[f"Role/{namespace}/{NAME}"], named[f"RoleBinding/{namespace}/{NAME}"]
        assert role["rules"] == everywhere[f"ClusterRole/{NAME}"]["rules"]
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAME}]
    rights = {name for name in named if name.partition("/")[0] in RIGHTS}
    assert rights == {
        *(f"{kind}/{namespace}/{NAME}" for kind in ("Role", "RoleBinding") for namespace in ("team-a", "team-b")),
        *(f"{kind}/{NAME}/{NAME}-lease" for kind in ("Role", "RoleBinding")),
        f"ClusterRole/{NAME}-view",
        f"ClusterRole/{NAME}-edit",
    }
    (variable,) = container(values)["env"]
    assert variable == {"name": "ATLAS_INVITES_NAMESPACES", "value": "team-a,team-b"}


RIGHTS = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def test_namespaces_are_named_once() -> None:
    """If both names of the value are used, the error says which one to remove."""
    values = {"scope": {"namespaces": ["team-a"]}, "settings": {"namespaces": ["team-b"]}}
    with pytest.raises(helm_python.HelmRenderError, match=r"remove settings\.namespaces"):
        chart(values)


def test_custom_monitoring() -> None:
    """What Prometheus selects, the namespace, the links of alerts, a proxy's port: as in the example for kustomize.

    Kustomize cannot add the anchor of each alert.
    """
    runbook = "https://git.example.com/platform/atlas-invites/docs/runbook.md"
    values = {
        "monitoring": {
            "enabled": True,
            "labels": {"release": "kube-prometheus-stack"},
            "runbookUrl": runbook,
        },
        "networkPolicy": {"enabled": True, "prometheusNamespace": "observability", "ports": [443, 6443, 3128]},
    }
    kinds = ("ServiceMonitor", "PrometheusRule", "NetworkPolicy")
    theirs, ours = (
        of_kind(all_, *kinds) for all_ in (chart(values), kustomized(DEPLOY / "examples" / "kustomization"))
    )
    for one in of_kind(ours, "PrometheusRule"):
        del one["metadata"]["annotations"]  # from which kustomize takes the URL
    assert alert_urls(ours) == dict.fromkeys(alert_urls(ours), runbook)
    assert alert_urls(theirs) == {alert: f"{runbook}#{alert.lower()}" for alert in alert_urls(ours)}
    for rule in [*alert_rules(ours), *alert_rules(theirs)]:
        del rule["annotations"]["runbook_url"]
    assert by_name(theirs) == by_name(ours)


def alert_rules(objects: list[Object]) -> list[Object]:
    """Return the rules of every PrometheusRule."""
    return [rule for one in of_kind(objects, "PrometheusRule") for rule in one["spec"]["groups"][0]["rules"]]


def alert_urls(objects: list[Object]) -> dict[str, str | None]:
    """Return the ``runbook_url`` of every alert."""
    return {rule["alert"]: rule["annotations"].get("runbook_url") for rule in alert_rules(objects)}


@pytest.mark.parametrize("former", [{}, {"runbookUrl": "docs/runbook.md"}], ids=["default", "former default"])
def test_no_runbook_url_by_default(former: Object) -> None:
    """A path is not a URL: without a setting, and with the former default, alerts have no link at all."""
    assert set(alert_urls(chart({"monitoring": {"enabled": True, **former}})).values()) == {None}


def test_dashboard() -> None:
    """The ConfigMap contains the JSON file, has the label that Grafana's sidecar selects, and is off by default."""
    (found,) = of_kind(chart({"dashboard": {"enabled": True}}), "ConfigMap")
    source = (DEPLOY / "components" / "dashboard" / "dashboard.json").read_text()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["atlas-invites.json"]) == json.loads(source)
    assert of_kind(chart(), "ConfigMap") == []


def test_package(tmp_path: Path) -> None:
    """The chart can be packaged, and the package renders the same."""
    archive = helm_python.package(CHART, destination=tmp_path)
    with helm_python.Chart.load(archive) as packaged:
        from_archive = packaged.render({}, name="atlas-invites", namespace="atlas-invites")
    with helm_python.Chart.load(CHART) as loaded:
        assert from_archive == loaded.render({}, name="atlas-invites", namespace="atlas-invites")


def test_install_upgrade_uninstall(bare: ControlPlane, tmp_path: Path) -> None:
    """Helm installs the whole chart; an upgrade changes the CRD; an uninstall leaves the CRD and the invitations.

    An upgrade can reuse the values of the first release.
    """
    cluster = bare
    cluster.kubectl("create", "namespace", "helm")
    release = helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace="helm")
    older = shutil.copytree(CHART, tmp_path / "chart")
    (older / "values.yaml").write_text(yaml.safe_dump(FIRST_VALUES))
    crd = older / "files" / "atlasprojectinvites.yaml"
    crd.write_text(crd.read_text().replace("categories: [atlas]", "categories: [older]"))
    release.install(str(older), "atlas-invites", ALL_COMPONENTS)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    cluster.kubectl("apply", "--namespace", "helm", "-f", str(DEPLOY / "examples" / "invitation.yaml"))

    release.upgrade(str(CHART), NAME, {"settings": None}, reuse_values=True)
    kept = cluster.kubectl("get", "networkpolicy,prometheusrule", "-n", "helm", "-o", "name").stdout
    assert kept.count(NAME) == 2, "what the first release was told still holds"
    release.upgrade(str(CHART), NAME, {"replicas": 3})
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
