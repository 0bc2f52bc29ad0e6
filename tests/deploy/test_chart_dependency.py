"""The chart as a dependency of another chart, and with the values of an older release."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import helm_python
import pytest
import yaml

from release.project import read
from tests.deploy.manifests import CHART, FIRST_VALUES, by_name, chart, of_kind, rendered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.manifests import Object

NAME = "atlas-invites"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())


def reusing(values: Object, scratch: Path) -> Path:
    """Return the chart as ``helm upgrade --reuse-values`` uses it: the older values replace its own."""
    copy = shutil.copytree(CHART, scratch / "chart")
    (copy / "values.yaml").write_text(yaml.safe_dump(values))
    return copy


def umbrella(folder: Path, values: Object, alias: str | None = None) -> Path:
    """Return a user's chart that has ours as a dependency, enabled or disabled by a condition."""
    dependency = {"name": NAME, "version": read().version, "condition": f"{alias or NAME}.enabled"}
    if alias:
        dependency["alias"] = alias
    about = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    shutil.copytree(CHART, folder / "charts" / NAME)
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.mark.parametrize("alias", [None, "invites"], ids=["name", "alias"])
def test_a_condition_enables_the_chart(tmp_path: Path, alias: str | None) -> None:
    """As a dependency with a condition, by its name or by an alias, the chart renders the same as without a parent."""
    folder = umbrella(tmp_path, {alias or NAME: {"enabled": True, "replicas": 3}}, alias)
    assert by_name(rendered(folder)) == by_name(chart({"replicas": 3}))


@pytest.mark.parametrize("alias", [None, "invites"], ids=["name", "alias"])
def test_a_condition_disables_the_chart(tmp_path: Path, alias: str | None) -> None:
    """If the condition is false, nothing of the chart is rendered."""
    folder = umbrella(tmp_path, {alias or NAME: {"enabled": True}}, alias)
    assert rendered(folder, {alias or NAME: {"enabled": False}}) == []


def test_a_dependency_has_global_values(tmp_path: Path) -> None:
    """The global values of the other chart are accepted."""
    folder = umbrella(tmp_path, {"global": {"region": "eu"}, NAME: {"enabled": True}})
    assert by_name(rendered(folder)) == by_name(chart())


def test_a_dependency_without_its_maps(tmp_path: Path) -> None:
    """A map that the other chart sets to null has this chart's defaults."""
    folder = umbrella(tmp_path, {NAME: {"enabled": True, "settings": None, "crd": None}})
    assert by_name(rendered(folder)) == by_name(chart())


def test_the_values_of_a_dependency_are_checked(tmp_path: Path) -> None:
    """An unknown value is rejected in a dependency too."""
    folder = umbrella(tmp_path, {NAME: {"enabled": True}})
    with pytest.raises(helm_python.HelmValuesError, match="replica"):
        rendered(folder, {NAME: {"replica": 1}})


@pytest.mark.parametrize("name", [name for name, value in DEFAULTS.items() if value is not None])
def test_a_null_value_is_the_default(name: str) -> None:
    """A value that is null at the top level counts as not set."""
    assert by_name(chart({name: None})) == by_name(chart())


def test_the_values_of_the_first_release_are_enough(tmp_path: Path) -> None:
    """``helm upgrade --reuse-values`` from the first release works: values that it did not have get their defaults."""
    (folder := tmp_path / "one").mkdir()
    expected = chart({"nodeSelector": {"kubernetes.io/os": None}})  # it had an empty nodeSelector
    assert by_name(rendered(reusing(FIRST_VALUES, folder))) == by_name(expected)
    (folder := tmp_path / "other").mkdir()
    older = FIRST_VALUES | {"scope": "namespace", "nodeSelector": {"kubernetes.io/os": "linux"}}
    assert by_name(rendered(reusing(older, folder))) == by_name(chart({"scope": "namespace"}))


def test_a_missing_value_has_its_default(tmp_path: Path) -> None:
    """The same from any release: without a value, or a field of a map, the chart renders its default."""
    for name, value in DEFAULTS.items():
        lacking = [{key: other for key, other in DEFAULTS.items() if key != name}]
        if isinstance(value, dict) and name not in KUBERNETES_OWN:
            lacking += [DEFAULTS | {name: {k: v for k, v in value.items() if k != field}} for field in value]
        for values in lacking:
            folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            assert by_name(rendered(reusing(values, folder))) == by_name(chart()), values[name]


KUBERNETES_OWN = {"resources", "nodeSelector", "podSecurityContext", "securityContext"}
"""Maps that go to Kubernetes unchanged: an absent key is not wanted."""


@pytest.mark.parametrize("name", sorted(KUBERNETES_OWN))
def test_a_field_of_kubernetes_can_be_removed(name: str) -> None:
    """In a map that goes to Kubernetes unchanged, null removes a default."""
    field = next(iter(DEFAULTS[name]))
    (deployment,) = of_kind(chart({name: {field: None}}), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    places: dict[str, Any] = {
        "resources": pod["containers"][0]["resources"],
        "securityContext": pod["containers"][0]["securityContext"],
        "podSecurityContext": pod["securityContext"],
        "nodeSelector": pod.get("nodeSelector", {}),
    }
    assert places[name] == {key: value for key, value in DEFAULTS[name].items() if key != field}


def test_numbers_are_written_out() -> None:
    """A large number reaches the operator as digits; as a string, and with a unit, it is the same string."""
    for given, expected in (
        (1000000, "1000000"),
        ("1000000", "1000000"),
        ("10m", "10m"),
        (1.5, "1.5"),
        (12345678.0, "12345678"),
    ):
        text = json.dumps(chart({"settings": {"resyncInterval": given, "workers": 1000}}))
        assert f'{{"name": "ATLAS_INVITES_RESYNC_INTERVAL", "value": "{expected}"}}' in text
        assert '{"name": "ATLAS_INVITES_WORKERS", "value": "1000"}' in text


def test_a_null_setting_is_not_set() -> None:
    """A null setting, with which a values file removes an earlier one, is the operator's default."""
    assert by_name(chart({"settings": {"resyncInterval": None, "logLevel": None}})) == by_name(chart())
