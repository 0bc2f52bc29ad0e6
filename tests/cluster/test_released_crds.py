"""Objects that were stored with the CRD of any release, on the real API server: kept, writable and deletable.

``released/`` has the CRD of every release; ``make release-prepare`` adds one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.test_crd_status import FULL
from tests.cluster.test_old_objects import restore_crd, until
from tests.conftest import CRDS
from tests.unit.specs import BOTH, BY_ID, PROJECT_REF, invite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.conftest import Apply
    from tests.control_plane.control_plane import ControlPlane

RELEASES = sorted(Path(__file__).parent.joinpath("released").glob("*.yaml"))
SERVED = "this release is served"
STATUS = ("--server-side", "--force-conflicts", "--subresource=status")
ID_OF_PROBE = "f" * 24
"""Rejected only while the test serves the CRD of a release, with an added rule."""
Schema = dict[str, Any]

pytestmark = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)


def schema(crd: Schema) -> Schema:
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


def fields(part: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and type of every field of a schema."""
    for name, field in part.get("properties", {}).items():
        yield f"{path}.{name}", field.get("type", "any")
        yield from fields(field.get("items", field), f"{path}.{name}")


def known(value: Any, field: Schema) -> Any:  # noqa: ANN401 - JSON
    """Return the part of a value that a schema knows."""
    if isinstance(value, dict) and "properties" in field:
        below = field["properties"]
        return {name: known(inner, below[name]) for name, inner in value.items() if name in below}
    return value


def objects(spec: Schema) -> list[dict[str, Any]]:
    """Return objects that a release accepts: each way to name a person and a project, each value of an enumeration."""
    roles = spec["properties"]["roles"]
    values = roles["items"]["enum"]
    size = roles["maxItems"]
    changes: list[dict[str, Any]] = [
        *({"roles": values[start : start + size]} for start in range(0, len(values), size)),
        *(BY_ID, BOTH, PROJECT_REF, {"suspend": True}, {"username": f"{'j' * 64}@{'d' * 60}.example.com"}),
        *({name: value} for name, field in spec["properties"].items() for value in field.get("enum", ())),
    ]
    return [invite(change, name=f"stored-{number}") for number, change in enumerate(changes)]


@pytest.fixture
def stored(
    release: Path, control_plane: ControlPlane, crds: None, apply: Apply, namespace: str
) -> Iterator[dict[str, dict[str, Any]]]:
    """Return objects by name, as the API server stored them before the upgrade from a release to the current CRD."""
    del crds
    crd = yaml.safe_load(release.read_text())
    spec = schema(crd)["spec"]
    manifests = objects(spec)
    spec["x-kubernetes-validations"].append(
        {"rule": f"self.?groupId.orValue('') != '{ID_OF_PROBE}'", "message": SERVED}
    )
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(crd))
    try:
        until(
            lambda: SERVED in apply(invite({"groupId": ID_OF_PROBE}, name="probe"), options=["--dry-run=server"]).stderr
        )
        assert apply(*manifests).stderr == ""
        status = known(FULL, schema(crd)["status"])
        assert apply(*(one | {"status": status} for one in manifests), options=STATUS).returncode == 0
        before = held(control_plane, namespace)
    finally:
        restore_crd(control_plane)
    until(lambda: apply(invite({"groupId": ID_OF_PROBE}, name="probe"), options=["--dry-run=server"]).returncode == 0)
    yield before
    control_plane.kubectl("delete", "ainv", "--all", "-n", namespace, "--timeout=30s")


def held(control_plane: ControlPlane, namespace: str) -> dict[str, dict[str, Any]]:
    listed = json.loads(control_plane.kubectl("get", "ainv", "-n", namespace, "-o", "json").stdout)["items"]
    return {one["metadata"]["name"]: {part: one[part] for part in ("spec", "status")} for one in listed}


def test_no_field_is_lost(release: Path) -> None:
    """The CRD has every field of the release, of the same type.

    Fields that the CRD does not know are removed from objects.
    """
    current = yaml.safe_load((CRDS / "atlasprojectinvites.yaml").read_text())
    was = dict(fields({"properties": schema(yaml.safe_load(release.read_text()))}))
    assert was.items() <= dict(fields({"properties": schema(current)})).items()


def test_stored_objects_survive_the_upgrade(
    stored: dict[str, dict[str, Any]], control_plane: ControlPlane, apply: Apply, namespace: str
) -> None:
    """Each object is unchanged but for defaults of new fields; labels, spec, status and manifest can be written."""
    assert len(stored) > len(RELEASES)
    fields_now = schema(yaml.safe_load((CRDS / "atlasprojectinvites.yaml").read_text()))["spec"]["properties"]
    defaults = {field: now["default"] for field, now in fields_now.items() if "default" in now}
    upgraded = {name: one | {"spec": defaults | one["spec"]} for name, one in stored.items()}
    assert held(control_plane, namespace) == upgraded
    manifests = [invite(dict.fromkeys(invite()["spec"]), one["spec"], name=name) for name, one in stored.items()]
    control_plane.kubectl("label", "ainv", "--all", "-n", namespace, "a=b")
    suspended = [one | {"spec": one["spec"] | {"suspend": True}} for one in manifests]
    assert apply(*suspended).returncode == 0
    assert apply(*(one | {"status": FULL | {"state": "Expired"}} for one in manifests), options=STATUS).returncode == 0
    written = held(control_plane, namespace).values()
    assert {(one["spec"]["suspend"], one["status"]["state"]) for one in written} == {(True, "Expired")}
