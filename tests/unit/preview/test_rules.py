"""The rules of the CRD in ``atlas-invites plan``: the same verdicts as a real API server, for the same corpus."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.preview.rules import broken_rules, crd, holds, with_defaults
from tests.unit.emails import BAD, GOOD
from tests.unit.specs import ACCEPTED, CHANGES_ACCEPTED, CHANGES_REFUSED, REFUSED, invite

if TYPE_CHECKING:
    from collections.abc import Iterator


def broken(change: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    old = None if before is None else with_defaults(invite(before)["spec"])
    return [f"{field}: {rule}" for field, rule in broken_rules(invite(change)["spec"], old)]


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_api_server_accepts_is_accepted(change: dict[str, Any]) -> None:
    """No rule is stricter than the API server."""
    assert broken(change) == []


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_server_rejects_is_a_fault(change: dict[str, Any], message: str) -> None:
    """Each fault names the field that the API server names, or has the text of the CRD's rule."""
    found = broken(change)
    assert found
    path, rule = re.search(r"spec[\w.\[\]]*", message), message.rpartition("Invalid value: ")[2]
    assert any(line.startswith(f"{path[0]}: ") if path else rule in line for line in found)


@pytest.mark.parametrize(("email", "rule"), BAD.values(), ids=BAD)
def test_a_bad_address(email: str, rule: str) -> None:
    """It breaks one rule, with the text of the CRD."""
    (line,) = broken({"username": email})
    assert line.startswith(f"spec.username: username {rule}")


@pytest.mark.parametrize("email", GOOD.values(), ids=GOOD)
def test_a_good_address(email: str) -> None:
    """An address that the API server accepts breaks no rule."""
    assert broken({"username": email}) == []


@pytest.mark.parametrize(("before", "after"), CHANGES_ACCEPTED.values(), ids=CHANGES_ACCEPTED)
def test_a_change_that_the_api_server_accepts(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Mutable fields may change."""
    assert broken(after, before) == []


@pytest.mark.parametrize(("before", "after", "fields"), CHANGES_REFUSED.values(), ids=CHANGES_REFUSED)
def test_a_change_that_the_api_server_rejects(before: dict[str, Any], after: dict[str, Any], fields: list[str]) -> None:
    """Each immutable field that changes is a fault."""
    found = broken(after, before)
    assert sorted(line.partition(":")[0] for line in found) == sorted(f"spec.{field}" for field in fields)
    assert all("is immutable" in line for line in found)


def test_all_faults_are_found() -> None:
    """Not only the first one."""
    change = {"groupId": "x", "username": "jane", "roles": ["ROOT", "GROUP_OWNER", "ROOT"], "suspend": 1, "more": 2}
    fields = {line.partition(":")[0] for line in broken(change)}
    assert fields == {"spec.groupId", "spec.username", "spec.roles[0]", "spec.roles[2]", "spec.suspend", "spec.more"}


def test_no_spec_and_no_object() -> None:
    """A missing spec, or one that is not a mapping, is one fault."""
    assert broken_rules(None) == [("spec", "Required value")]
    assert broken_rules([]) == [("spec", "must be of type object")]


def test_the_defaults_are_those_of_the_crd() -> None:
    """Null means the default, as in the API server."""
    stored = with_defaults({"memberPolicy": None, "suspend": True})
    assert stored.items() >= {"memberPolicy": "Observe", "reinvitePolicy": "Never", "suspend": True}.items()
    assert "deletionPolicy" not in stored


def schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas below it."""
    yield schema
    for below in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else ())):
        yield from schemas(below)


def test_every_rule_of_the_crd_is_known() -> None:
    """A new rule of the CRD needs its counterpart here; every keyword of the schema is covered."""
    known = {"type", "required", "properties", "items", "minItems", "maxItems", "maxLength", "enum", "default"}
    known |= {"x-kubernetes-validations", "x-kubernetes-map-type", "x-kubernetes-list-type"}
    values = {"object": {}, "array": [], "string": "", "boolean": False}
    for schema in schemas(crd()):
        rules = schema.get("x-kubernetes-validations", [])
        for rule in rules:
            holds(rule, schema, values[schema["type"]], values[schema["type"]])
        extra = schema.keys() - known
        assert extra <= {"pattern", "minLength"}
        if extra and "enum" not in schema:
            assert rules, f"a pattern or minLength without a rule in CEL: {schema}"
