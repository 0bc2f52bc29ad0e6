"""The files that are generated from others. ``python -m tests.deploy.generated`` (``make generate``) writes them."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from atlas_invites.invitation.model import DeparturePolicy, State, Status
from atlas_invites.invitation.outcome import Reason
from release import project, stamp
from tests.deploy.argocd import SCRIPTS, action_testdata, installations
from tests.deploy.manifests import CHART, DEPLOY
from tests.deploy.statuses import settled, suspended
from tests.stack import ROOT
from tests.unit.builders import EMAIL, body, error, wire_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CRD = ROOT / "crds" / "atlasprojectinvites.yaml"
CHART_FILES = (
    CRD,
    *(DEPLOY / "base" / name for name in ("rbac.yaml", "user-roles.yaml")),
    *(DEPLOY / "operator" / name for name in ("deployment.yaml", "service.yaml", "pod-disruption-budget.yaml")),
    *(
        DEPLOY / "components" / name / f"{name}.yaml"
        for name in ("network-policy", "monitoring", "role-guard", "credentials-namespace")
    ),
)
"""Files that the chart shares with kustomize; a chart cannot reach outside its own folder."""
DASHBOARD = DEPLOY / "components" / "dashboard"
RULES = ROOT / "operator" / "atlas_invites" / "preview" / "crd.json"
WIDTH = 120
Schema = dict[str, Any]


def files() -> dict[Path, str]:
    """Return every generated file with its content."""
    found = {CHART / "files" / source.name: source.read_text() for source in CHART_FILES}
    found[DASHBOARD / "dashboard.yaml"] = found[CHART / "files" / "dashboard.yaml"] = dashboard()
    found |= installations() | action_testdata()
    found |= {SCRIPTS / "testdata" / f"{name}.yaml": text for name, text in testdata().items()}
    found[ROOT / "docs" / "crd.md"] = reference()
    found[RULES] = rules()
    found |= {ROOT / name: text for name, text in stamp.files(project.read()).items()}
    schema = json.loads(found[CHART / "values.schema.json"])
    found[CHART / "values.yaml"] = found[CHART / "files" / "values.yaml"] = chart_values(schema)
    found[CHART / "README.md"] = chart_readme(schema, found[CHART / "README.md"])
    return found


def rules() -> str:
    """Return the schema of the spec without descriptions; ``atlas-invites plan`` checks manifests with it."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return json.dumps(_without_descriptions(spec), indent=2, ensure_ascii=False) + "\n"


def _without_descriptions(schema: Schema) -> Schema:
    kept = {name: value for name, value in schema.items() if name != "description"}
    if "properties" in kept:
        kept["properties"] = {name: _without_descriptions(field) for name, field in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = _without_descriptions(kept["items"])
    return kept


def chart_values(schema: Schema) -> str:
    """Return values.yaml of the chart: the defaults of its schema, each with its description."""
    return "# Generated from values.schema.json by make generate. README.md has the same as a table.\n\n" + "".join(
        _value(name, field, field["default"]) for name, field in schema["properties"].items() if "default" in field
    )


def _value(name: str, field: Schema, default: object, indent: str = "") -> str:
    """Return a value as YAML under its description, with each field that the schema knows."""
    described = "".join(f"{indent}# {line}\n" for line in textwrap.wrap(field["description"], WIDTH - len(indent) - 2))
    known = field.get("properties")
    if known and isinstance(default, dict) and default:
        below = "".join(_value(key, known[key], inner, f"{indent}  ") for key, inner in default.items())
        return f"{described}{indent}{name}:\n{below}"
    return described + textwrap.indent(yaml.safe_dump({name: default}, sort_keys=False, width=WIDTH), indent)


def chart_readme(schema: Schema, readme: str) -> str:
    """Return README.md of the chart with the table of values from its schema."""
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for name, default, text in _values(schema, schema.get("default"), ""):
        escaped = text.replace("|", "\\|")
        rows.append(f"| `{name}` | {'' if default is None else f'`{json.dumps(default)}`'} | {escaped} |")
    start, end = "<!-- values.schema.json, by make generate -->\n", "<!-- end -->"
    before, _, rest = readme.partition(start)
    table = "\n".join(rows)
    return f"{before}{start}{table}\n{end}{rest.partition(end)[2]}"


def _values(schema: Schema, defaults: Any, above: str) -> Iterator[tuple[str, Any, str]]:  # noqa: ANN401 - JSON
    """Yield path, default and description of every value below."""
    for name, field in schema["properties"].items():
        default = field.get("default", (defaults or {}).get(name))
        below = field.get("properties")
        yield f"{above}{name}", None if below else default, field["description"]
        if below:
            yield from _values(field, default, f"{above}{name}.")


def dashboard() -> str:
    """Return the ConfigMap with the dashboard, as the sidecar of Grafana expects it."""
    source = textwrap.indent((DASHBOARD / "dashboard.json").read_text(), "    ")
    return (
        "# Generated from dashboard.json by make generate.\n"
        "apiVersion: v1\n"
        "kind: ConfigMap\n"
        "metadata:\n"
        "  name: atlas-invites-dashboard\n"
        "  namespace: atlas-invites\n"
        "  labels:\n"
        "    app.kubernetes.io/name: atlas-invites\n"
        '    grafana_dashboard: "1"\n'
        f"data:\n  atlas-invites.json: |\n{source}"
    )


def testdata() -> dict[str, str]:
    """Return objects with statuses of the operator, for Argo CD's own test of a health check."""
    invited = settled(Reason.INVITED, State.PENDING, f"The invitation of {EMAIL} is pending.")
    accepted = settled(
        Reason.ACCEPTED,
        State.ACCEPTED,
        f"{EMAIL} accepted and is a member of the project with the roles in spec.",
        invited,
    )
    unavailable = settled(
        Reason.ATLAS_UNAVAILABLE,
        None,
        "Atlas is unavailable: could not list the project's invitations (HTTP 503); it is retried automatically.",
        invited,
    )
    rejected = settled(
        Reason.CREDENTIALS_REJECTED,
        None,
        "Atlas rejected the credentials (401 UNAUTHORIZED). Put a valid API key or service account into the Secret.",
        invited,
        error(401, "UNAUTHORIZED"),
    )
    departed = settled(
        Reason.INVITATION_EXPIRED,
        State.EXPIRED,
        f"The invitation of {EMAIL} expired. No action is needed (spec.departurePolicy is Settle).",
        invited,
        departure_policy=DeparturePolicy.SETTLE,
    )
    objects = {
        "progressing_new": body(),
        "progressing_changed": _object(invited, generation=2),
        "progressing_atlas_unavailable": _object(unavailable),
        "healthy_invited": _object(invited),
        "healthy_accepted": _object(accepted),
        "degraded_credentials_rejected": _object(rejected),
        "suspended": suspended(invited, generation=2),
        "suspended_from_the_start": suspended(Status(), generation=1),
        "suspended_in_progress": suspended(unavailable, generation=2),
        "suspended_stalled": suspended(rejected, generation=2),
        "healthy_departed": _object(departed, spec=wire_spec(departurePolicy="Settle")),
    }
    return {name: yaml.safe_dump(one, sort_keys=False, width=WIDTH) for name, one in objects.items()}


def _object(status: Status, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - as in builders
    return body(status=status.to_wire(), **metadata)


def reference() -> str:
    """Return docs/crd.md: the schema as a page."""
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [
        "# AtlasProjectInvite",
        "<!-- Made from crds/atlasprojectinvites.yaml by make generate. -->",
        f"`atlasinvites.io/{version['name']}`, namespaced, short name `ainv`. `kubectl explain ainv` shows the same.",
        schema["description"],
    ]
    for part in ("spec", "status"):
        field = schema["properties"][part]
        parts += [f"## {part}", field["description"], _table(field, part)]
        if rules := _rules(field, part):
            parts += ["What else `kubectl apply` refuses:", "\n".join(f"- {rule}" for rule in rules)]
        if part == "spec":
            parts += ["## Roles", _ABOUT_ROLES, _roles(field["properties"]["roles"]["items"]["description"])]
    parts += ["## kubectl get ainv", "\n".join(["| column | |", "| --- | --- |", *_columns(version)])]
    fields = ", ".join(f"`{field['jsonPath'].removeprefix('.')}`" for field in version["selectableFields"])
    parts += [f"`kubectl get ainv --field-selector status.state=Pending` selects by a field: {fields}."]
    return "\n\n".join(parts) + "\n"


_ABOUT_ROLES = """\
What a role allows in the project, in short. MongoDB's page
[Atlas User Roles](https://www.mongodb.com/docs/atlas/reference/user-roles/) has the full description. Atlas has 15 of
these 26 roles [since February 17, 2026](https://www.mongodb.com/products/updates/15-new-purpose-built-project-roles-for-mongodb-atlas).
MongoDB does not document whether the deprecated Invites API takes them. If Atlas rejects a role, the reason is
[InvalidRequest](runbook.md#invalidrequest), and the message has Atlas's own words.

The operator takes any name that begins with `GROUP_`. If Atlas has a role that is missing here, add it to the CRD
([extra roles](install.md#extra-roles))."""


def _roles(description: str) -> str:
    """Return the table of the roles that a description explains, one in each row.

    Name in the API, name in the UI, use.
    """
    rows = ["| role | in the Atlas UI | |", "| --- | --- | --- |"]
    for line in description.splitlines()[1:]:
        name, _, text = line.partition(": ")
        title, _, use = text.partition(". ")
        rows.append(f"| `{name}` | {title} | {use} |")
    return "\n".join(rows)


def _columns(version: dict[str, Any]) -> Iterator[str]:
    for column in version["additionalPrinterColumns"]:
        wide = " (`-o wide`)" if column.get("priority") else ""
        yield f"| {column['name']}{wide} | {column.get('description', 'Time since the object was made.')} |"


def _table(schema: dict[str, Any], path: str) -> str:
    rows = ["| field | type | |", "| --- | --- | --- |"]
    for name, type_, text in _rows(schema, path):
        escaped = text.replace("|", "\\|")
        rows.append(f"| `{name}` | {type_} | {escaped} |")
    return "\n".join(rows)


def _rows(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, type and text of every field below."""
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        items = field.get("items", {})
        listed = _LISTED[items.get("type", "any")] if items else field.get("type", "any")
        marks = ["required"] if name in schema.get("required", ()) else []
        if "default" in field:
            marks.append(f"default `{field['default']}`")
        yield below, ", ".join([listed, *marks]), field["description"]
        if items and "properties" not in items and "enum" in items:
            yield f"{below}[]", items["type"], f"{items['description'].splitlines()[0]} [What each allows](#roles)."
        yield from _rows(items or field, f"{below}[]" if items else below)


_LISTED = {"string": "list of strings", "object": "list of objects", "any": "list of any values"}


def _rules(schema: dict[str, Any], path: str) -> list[str]:
    """Return the text of every rule below."""
    found = [f"`{path}`: {rule['message']}." for rule in schema.get("x-kubernetes-validations", ())]
    for name, field in schema.get("properties", {}).items():
        found += _rules(field.get("items", field), f"{path}.{name}")
    return [re.sub(r"\s+", " ", rule) for rule in found]


def main() -> int:
    """Write the files that have changed, and print their names."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
