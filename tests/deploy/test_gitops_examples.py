"""The examples for Argo CD and Flux render as documented, with each tool's changes."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from atlas_invites.invitation.credentials import ServiceAccount, parse
from tests.deploy.argocd import ARGOCD, customizations
from tests.deploy.documents import first_cells, page, section
from tests.deploy.manifests import CHART, DEPLOY, chart, kustomized, load, of_kind, rendered
from tests.deploy.running import apply
from tests.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane
    from tests.deploy.manifests import Object

IMAGE = "registry.example.com/platform/atlas-invites:0.1.0"
SECRETS = DEPLOY / "examples" / "credentials-namespace"
PEOPLE = DEPLOY / "examples" / "people"


def first(path: Path, kind: str) -> Object:
    """Return the first object of a kind in a file."""
    return of_kind(load(path.read_text()), kind)[0]


def images(objects: Iterable[Object]) -> list[str]:
    """Return the images of the Deployments."""
    return [
        container["image"]
        for deployment in of_kind(objects, "Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
    ]


def checkout(path: str, scratch: Path, entries: list[dict[str, str]]) -> list[Object]:
    """Return the objects of a folder of a repository after a tool has put images into its kustomization.

    Both tools change the file in their checkout: an entry of the same name is replaced, another is added. Argo CD runs
    ``kustomize edit set image``, Flux does the same with its package kustomize.
    """
    for name in ("crds", "deploy"):
        shutil.copytree(ROOT / name, scratch / name)
    file = scratch / path / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    held = {entry["name"]: entry for entry in content.get("images", [])}
    content["images"] = list((held | {entry["name"]: entry for entry in entries}).values())
    file.write_text(yaml.safe_dump(content))
    return kustomized(file.parent)


def test_argo_cd_image(tmp_path: Path) -> None:
    """The Application installs the image that it names."""
    source = first(ARGOCD / "applications.yaml", "Application")["spec"]["source"]
    entries = []
    for text in source["kustomize"]["images"]:
        name, _, image = text.partition("=")
        repository, _, tag = image.rpartition(":")
        entries.append({"name": name, "newName": repository, "newTag": tag})
    assert images(checkout(source["path"], tmp_path, entries)) == [IMAGE]


def test_flux_image(tmp_path: Path) -> None:
    """The Kustomization installs the image that it names."""
    spec = first(DEPLOY / "flux" / "kustomizations.yaml", "Kustomization")["spec"]
    assert images(checkout(spec["path"], tmp_path, spec["images"])) == [IMAGE]


def test_argo_cd_chart() -> None:
    """The Application with the chart installs the image that it names, in the namespace of the chart's rights."""
    spec = first(ARGOCD / "application-chart.yaml", "Application")["spec"]
    assert ROOT / spec["source"]["path"] == CHART
    assert spec["source"]["helm"]["releaseName"] == "atlas-invites"
    objects = chart(spec["source"]["helm"]["valuesObject"], spec["destination"]["namespace"])
    assert images(objects) == [IMAGE]
    assert of_kind(objects, "Namespace") == []
    assert "CreateNamespace=true" in spec["syncPolicy"]["syncOptions"]


def test_flux_chart() -> None:
    """The HelmRelease installs the image that it names, from a source that is in the file."""
    path = DEPLOY / "flux" / "helmrelease.yaml"
    spec = first(path, "HelmRelease")["spec"]
    assert (ROOT / spec["chart"]["spec"]["chart"]).resolve() == CHART
    assert images(chart(spec["values"], spec["targetNamespace"])) == [IMAGE]
    source = first(path, "GitRepository")
    assert spec["chart"]["spec"]["sourceRef"] == {"kind": "GitRepository", "name": source["metadata"]["name"]}


def test_flux_sources() -> None:
    """Every source and every dependency that the Flux examples name is in these examples."""
    for path in (DEPLOY / "flux").glob("*.yaml"):
        objects = load(path.read_text())
        there = {(one["kind"], one["metadata"]["name"]) for one in objects}
        for one in of_kind(objects, "Kustomization"):
            assert (one["spec"]["sourceRef"]["kind"], one["spec"]["sourceRef"]["name"]) in there
            for needed in one["spec"].get("dependsOn", []):
                assert ("Kustomization", needed["name"]) in there


@pytest.mark.parametrize(
    ("heading", "path"),
    [("## Argo CD", ARGOCD / "applications.yaml"), ("## Flux", DEPLOY / "flux" / "kustomizations.yaml")],
    ids=str,
)
def test_options_are_documented(heading: str, path: Path) -> None:
    """Each option that docs/gitops.md explains is in the example, and each sync option is explained."""
    explained = first_cells(section(page("gitops"), heading))
    text = path.read_text()
    for option in explained:
        assert option.rpartition(".")[2] in text, option
    for application in of_kind(load(text), "Application"):
        assert set(application["spec"]["syncPolicy"]["syncOptions"]) <= set(explained)


SECRET = next(one for one in load((SECRETS / "secret.yaml").read_text()) if one["kind"] == "Secret")


@pytest.mark.parametrize(("kind", "file"), [("ExternalSecret", "external-secret"), ("SealedSecret", "sealed-secret")])
def test_secret(kind: str, file: str) -> None:
    """The created Secret has the name, labels, annotations and keys of the one that it replaces."""
    (written,) = load((SECRETS / f"{file}.yaml").read_text())
    assert written["kind"] == kind
    spec = written["spec"]
    target = spec["target"] if kind == "ExternalSecret" else spec
    assert target.get("name", written["metadata"]["name"]) == SECRET["metadata"]["name"]
    assert written["metadata"]["namespace"] == SECRET["metadata"]["namespace"]
    assert target["template"]["metadata"] == {
        "labels": SECRET["metadata"]["labels"],
        "annotations": SECRET["metadata"]["annotations"],
    }
    keys = [one["secretKey"] for one in spec["data"]] if kind == "ExternalSecret" else list(spec["encryptedData"])
    assert keys == list(SECRET["stringData"])
    assert isinstance(parse(dict.fromkeys(keys, "dmFsdWU=")), ServiceAccount)


@pytest.mark.parametrize("namespace", [None, "argocd", "another"])
def test_component_adds_the_scripts_to_a_config_map_in_git(namespace: str | None, tmp_path: Path) -> None:
    """With the component, kustomize adds health check and actions to an argocd-cm, and keeps its other data."""
    held: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
        "data": {"url": "https://argocd.example.com"},
    }
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(held))
    own: dict[str, Any] = {
        "resources": ["argocd-cm.yaml"],
        "components": [os.path.relpath(ARGOCD, tmp_path.resolve())],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own | ({"namespace": namespace} if namespace else {})))
    (config_map,) = kustomized(tmp_path)
    assert config_map["data"] == held["data"] | customizations()
    assert config_map["metadata"] == held["metadata"] | ({"namespace": namespace} if namespace else {})


def applications() -> dict[str, Object]:
    """Return the ApplicationSet's result for the example's files, by the name of the folder."""
    (application_set,) = load((PEOPLE / "applicationset.yaml").read_text())
    (generator,) = application_set["spec"]["generators"]
    (files,) = generator["git"]["files"]
    template = json.dumps(application_set["spec"]["template"])
    return {
        path.parent.name: json.loads(re.sub(r"{{ *\.path\.basename *}}", path.parent.name, template))
        for path in PEOPLE.glob(files["path"])
    }


def test_list_of_people(cluster: ControlPlane, team: str) -> None:
    """The ApplicationSet's Application creates an invitation for each person of a list. The API server accepts them."""
    (name,) = (found := applications())
    assert "{{" not in json.dumps(found)
    spec = found[name]["spec"]
    folder = PEOPLE / spec["source"]["path"]
    (values,) = [yaml.safe_load((folder / file).read_text()) for file in spec["source"]["helm"]["valueFiles"]]
    objects = rendered(folder, values, namespace=spec["destination"]["namespace"])
    assert {one["metadata"]["name"]: one["spec"] for one in objects} == {
        person: fields | values["common"] for person, fields in values["people"].items()
    }
    apply(cluster, team, *objects)


def test_list_of_people_may_use_the_secret() -> None:
    """The Secret in the example for credentials allows the example's team, for the project of the list."""
    (name,) = applications()
    annotations = SECRET["metadata"]["annotations"]
    common = yaml.safe_load((PEOPLE / "teams" / name / "people.yaml").read_text())["common"]
    assert common["connectionSecretRef"] == {key: SECRET["metadata"][key] for key in ("name", "namespace")}
    assert name in annotations["atlasinvites.io/allowed-namespaces"].split(",")
    assert common["groupId"] in annotations["atlasinvites.io/allowed-projects"].split(",")
