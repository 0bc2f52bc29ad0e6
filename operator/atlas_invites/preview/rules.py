"""The rules of the CRD, as the API server applies them: the CRD's own schema, and its CEL rules by their messages.

``crd.json`` is the schema of ``spec`` in crds/, made by ``make generate``. No CEL library is used: see
docs/decisions.md. A test holds this equal to a real API server, over one corpus of good and bad manifests.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from atlas_invites.invitation.email import email_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Schema = dict[str, Any]


class Broken(NamedTuple):
    """A rule that a manifest breaks: the path of the field, and the rule in words."""

    field: str
    rule: str


_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "set either groupId or projectRef, not both": lambda new, _: ("groupId" in new) != ("projectRef" in new),
    "set username, invitationId or both": lambda new, _: "username" in new or "invitationId" in new,
    "reinvitePolicy OnExpiry needs username: an invitation given only by its id is never sent again": (
        lambda new, _: new.get("reinvitePolicy") != "OnExpiry" or "username" in new
    ),
    "roles must name each role only once": lambda new, _: len(set(new)) == len(new),
}
"""The rules that need more than one value, by the message that the CRD gives them."""

_IMMUTABLE = re.compile(r"(\w+) is immutable, ")


@cache
def crd() -> Schema:
    """Return the schema of ``spec``."""
    schema: Schema = json.loads(files(__package__).joinpath("crd.json").read_text())
    return schema


def broken_rules(spec: object, before: Mapping[str, Any] | None = None) -> list[Broken]:
    """Return every rule of the CRD that a spec breaks.

    Args:
        spec: as the manifest has it (JSON, decoded); None if it has none.
        before: the spec that the cluster holds, for the rules about changes.
    """
    if spec is None:
        return [Broken("spec", "Required value")]
    return list(_broken(crd(), spec, before, "spec"))


def with_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a valid spec as the API server stores it."""
    fields = crd()["properties"]
    return {name: field["default"] for name, field in fields.items() if "default" in field} | {
        name: value for name, value in spec.items() if value is not None
    }


def _broken(schema: Schema, value: Any, before: Any, path: str) -> Iterator[Broken]:  # noqa: ANN401 - JSON
    """Yield what is broken at a value and below; as in the API server, a rule in CEL counts only for a valid value."""
    match schema["type"], value:
        case "object", dict():
            yield from _broken_fields(schema, value, before if isinstance(before, dict) else {}, path)
            found = []
        case "array", list():
            found = [*_broken_items(schema, value, path)]
        case "string", str():
            found = [*_broken_text(schema, value, path)]
        case "boolean", bool():
            found = []
        case type_, _:
            found = [Broken(path, f"must be of type {type_}")]
    yield from found
    for rule in () if found else schema.get("x-kubernetes-validations", ()):
        is_about_changes = "oldSelf" in rule["rule"]
        if not (is_about_changes and before is None) and not holds(rule, schema, value, before):
            yield Broken(path + rule.get("fieldPath", ""), rule["message"])


def _broken_fields(schema: Schema, value: Mapping[str, Any], before: Mapping[str, Any], path: str) -> Iterator[Broken]:
    known = schema["properties"]
    for name in sorted(value.keys() - known.keys(), key=str):
        yield Broken(f"{path}.{name}", "unknown field")
    for name in schema.get("required", ()):
        if name not in value:
            yield Broken(f"{path}.{name}", "Required value")
    for name in known:
        if name in value and (value[name] is not None or "default" not in known[name]):
            yield from _broken(known[name], value[name], before.get(name), f"{path}.{name}")


def _broken_items(schema: Schema, value: Sequence[Any], path: str) -> Iterator[Broken]:
    if len(value) < schema.get("minItems", 0):
        yield Broken(path, f"must have at least {schema['minItems']} items")
    if len(value) > schema.get("maxItems", len(value)):
        yield Broken(path, f"must have at most {schema['maxItems']} items")
    for number, item in enumerate(value):
        yield from _broken(schema["items"], item, None, f"{path}[{number}]")


def _broken_text(schema: Schema, value: str, path: str) -> Iterator[Broken]:
    """Yield the keywords that a text breaks; each pattern has a rule in CEL beside it."""
    if len(value) > schema.get("maxLength", len(value)):
        yield Broken(path, f"must have at most {schema['maxLength']} characters")
    if "enum" in schema and value not in schema["enum"]:
        yield Broken(path, f"Unsupported value: {json.dumps(value)}: supported values: {', '.join(schema['enum'])}")


def holds(rule: Mapping[str, str], schema: Schema, new: Any, old: Any) -> bool:  # noqa: ANN401 - JSON
    """Return whether a rule in CEL of the CRD holds.

    Raises:
        KeyError: the rule is not known here.
    """
    message = rule["message"]
    if rule["rule"] == f"self.matches('{schema.get('pattern')}')":
        return re.search(schema["pattern"].removesuffix("$") + r"\Z", new) is not None
    if message.startswith("username ") and schema["type"] == "string":
        return email_fault(new) != message.removeprefix("username ")
    if immutable := _IMMUTABLE.match(message):
        return bool(new.get(immutable[1]) == old.get(immutable[1]))
    return _RULES[message](new, old)
