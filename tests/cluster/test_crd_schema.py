"""The schema itself: every field is described and bounded, and matches what the operator reads and writes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from atlas_invites.invitation.model import (
    ROLE,
    Api,
    DeletionPolicy,
    DeparturePolicy,
    MemberPolicy,
    Operation,
    Origin,
    ReinvitePolicy,
    Spec,
    State,
    Status,
)
from tests.unit.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum

    from pydantic import BaseModel

    from tests.control_plane.control_plane import ControlPlane

CRD = yaml.safe_load((Path(__file__).parents[2] / "crds" / "atlasprojectinvites.yaml").read_text())
SCHEMA: dict[str, Any] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and schema of every field below; the path as for ``kubectl explain``, a list's items as ``path[]``."""
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        yield below, field
        yield from fields(field, below)
        if "items" in field:
            yield f"{below}[]", field["items"]
            yield from fields(field["items"], below)


# The API server uses its own text for metadata.
FIELDS = {path: field for path, field in fields(SCHEMA) if path != "metadata"}


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_is_described(path: str) -> None:
    """Every field has a description that is a sentence."""
    assert re.fullmatch(r"[A-Z0-9].*\.", FIELDS[path].get("description", ""), re.DOTALL)


def test_explain(crds: None, control_plane: ControlPlane) -> None:
    """``kubectl explain`` shows the description of the resource and of every field."""
    del crds
    deadline = time.monotonic() + 60
    while control_plane.kubectl("explain", "atlasprojectinvites.status", check=False).returncode:
        assert time.monotonic() < deadline, "the schema was not published"
        time.sleep(0.1)
    assert SCHEMA["description"] in words(control_plane.kubectl("explain", "atlasprojectinvites").stdout)
    for path, field in FIELDS.items():
        if path in {"apiVersion", "kind"}:  # here too, it has its own text
            continue
        shown = control_plane.kubectl("explain", f"atlasprojectinvites.{path.removesuffix('[]')}").stdout
        assert words(field["description"]) in words(shown), path


@pytest.mark.parametrize("path", [path for path in FIELDS if path.startswith("spec.")])
def test_what_a_user_writes_is_bounded(path: str) -> None:
    """Every string of the spec has a maximum length or a set of values, every list a maximum size."""
    field = FIELDS[path]
    bound = {"string": {"maxLength", "enum"}, "array": {"maxItems"}}.get(field["type"])
    assert bound is None or bound & set(field)


@pytest.mark.parametrize(
    "path", [path for path, field in FIELDS.items() if "enum" in field and path != "status.error.operation"]
)
def test_every_value_is_explained(path: str) -> None:
    """The description of a field with a set of values explains each value."""
    for value in FIELDS[path]["enum"]:
        assert value in FIELDS[path]["description"]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("spec.deletionPolicy", DeletionPolicy),
        ("spec.memberPolicy", MemberPolicy),
        ("spec.reinvitePolicy", ReinvitePolicy),
        ("spec.departurePolicy", DeparturePolicy),
        ("status.state", State),
        ("status.origin", Origin),
        ("status.invitation.api", Api),
        ("status.atlas.api", Api),
        ("status.error.operation", Operation),
    ],
)
def test_values_are_the_operators(path: str, values: type[StrEnum]) -> None:
    """Each set of values is the one that the operator knows."""
    assert FIELDS[path]["enum"] == list(values)


def test_roles() -> None:
    """The roles are the 26 of Atlas's page, a spec can ask for all of them, and each is explained."""
    assert FIELDS["spec.roles[]"]["enum"] == ROLES
    assert FIELDS["spec.roles"]["maxItems"] == len(ROLES)
    assert all(re.fullmatch(ROLE, role) for role in ROLES)
    explained = FIELDS["spec.roles[]"]["description"].splitlines()[1:]
    assert [re.fullmatch(r"(GROUP_[A-Z_]+): Project [A-Z].*?\. [A-Z].*\.", line)[1] for line in explained] == ROLES  # type: ignore[index]


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if "items" in field])
def test_a_list_is_one_value(path: str) -> None:
    """No list merges under server-side apply, except the conditions."""
    wanted = "map" if path == "status.conditions" else "atomic"
    assert FIELDS[path]["x-kubernetes-list-type"] == wanted


@pytest.mark.parametrize(("root", "model"), [("spec", Spec), ("status", Status)])
def test_fields_are_the_operators(root: str, model: type[BaseModel]) -> None:
    """The schema has the fields that the operator reads and writes, and no others."""
    ours = set(model_fields(model.model_json_schema(by_alias=True), root))
    assert ours == {path for path in FIELDS if path.startswith(f"{root}.") and not path.endswith("[]")}


def model_fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the path of every field of a pydantic model's JSON schema."""
    definitions = schema.get("$defs", {})

    def walk(node: dict[str, Any], path: str) -> Iterator[str]:
        if "$ref" in node:
            yield from walk(definitions[node["$ref"].rpartition("/")[2]], path)
        for option in node.get("anyOf", []):
            yield from walk(option, path)
        if "items" in node:
            yield from walk(node["items"], path)
        for name, field in node.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from walk(field, f"{path}.{name}")

    yield from walk(schema, path)
