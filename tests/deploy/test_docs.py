"""The documentation and the code match; what the documentation shows works."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase as Metric

from atlas_invites.command_line import main
from atlas_invites.export import ExportSettings
from atlas_invites.invitation.model import State
from atlas_invites.invitation.notices import EventReason
from atlas_invites.invitation.outcome import Kind, Reason
from atlas_invites.preview.settings import PlanSettings
from atlas_invites.settings import NAMESPACE_VARIABLES, Settings
from atlas_invites.telemetry import metrics as telemetry
from atlas_invites.telemetry.metrics import Gauges
from tests.control_plane.module import default_version
from tests.deploy.documents import DOCS, PAGES, blocks, first_cells, headings, page, section
from tests.deploy.manifests import DEPLOY, load
from tests.monitoring.__main__ import dashboard_queries, rule_groups
from tests.monitoring.faults import FAULTS
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control_plane.control_plane import ControlPlane

RUNBOOK = page("runbook")
RULES = [rule for group in rule_groups() for rule in group["rules"]]
NAMED_IN_DOCS = [(path, block) for path in PAGES for block in blocks(path.read_text(), "ya?ml")]
MANIFESTS = sorted(
    path
    for folder in ("argocd/*", "flux/*", "examples/*", "examples/*/*")
    for path in DEPLOY.glob(f"{folder}.yaml")
    if path.name not in {"kustomization.yaml", "argo-cd-values.yaml"}
)


def metrics() -> dict[str, set[str]]:
    """Return the name of every metric of the operator, as Prometheus knows it, with its labels."""
    state = Gauges(
        leader=lambda: True,
        queue_depth=int,
        unserved=int,
        invitations=lambda: dict.fromkeys(State, 1),
        objects=lambda: dict.fromkeys(Reason, 1),
        next_expiry=lambda: 1.0,
        sunset=lambda: 1.0,
    )
    # A counter with labels has no samples before it counts.
    declared = {one._name: set(one._labelnames) for one in vars(telemetry).values() if isinstance(one, Metric)}  # noqa: SLF001
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: declared.get(
            family.name, {label for sample in family.samples for label in sample.labels}
        )
        for family in [*REGISTRY.collect(), *state.collect()]
        if family.name.startswith("atlas_invites_")
    }


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return what an expression selects."""
    found: list[promql_parser.VectorSelector] = []

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def flags(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the flags of a command, as its help shows them."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help"}


def test_kubernetes_versions() -> None:
    """Guides and chart name the oldest supported minor version, the install guide also the versions of the tests."""
    makefile = (ROOT / "Makefile").read_text()
    oldest = re.search(r"^OLDEST_KUBERNETES := ((1\.\d+)\.\d+)$", makefile, re.MULTILINE)
    assert oldest is not None
    version, minor = oldest.groups()
    for text in (page("install"), (ROOT / "README.md").read_text()):
        assert re.findall(r"You need Kubernetes (1\.\d+) or newer", text) == [minor]
    assert yaml.safe_load((DEPLOY / "chart" / "Chart.yaml").read_text())["kubeVersion"] == f">={minor}.0-0"
    assert headings(page("decisions"), 2).count(f"Kubernetes {minor} is the oldest supported version") == 1
    assert f"Kubernetes {version} (`make test-oldest`" in page("install")
    assert f"{default_version()} (`make test`" in page("install")


def test_reasons() -> None:
    """The runbook has an entry for each reason of Ready and for Suspended, and no others."""
    assert headings(section(RUNBOOK, "## Reasons"), 3) == [*Reason, "Suspended"]


def test_reasons_of_a_stuck_invitation() -> None:
    """The page for a stuck invitation has a row for each reason, and for Suspended, with a link to the runbook."""
    stuck = section(page("stuck"), "## By reason")
    assert re.findall(r"^\| \[`(\w+)`\]", stuck, re.MULTILINE) == [*Reason, "Suspended"]
    for reason in [*Reason, "Suspended"]:
        assert f"](runbook.md#{reason.lower()})" in stuck


def test_reasons_of_accepted() -> None:
    """The documentation names every reason of the condition Accepted."""
    for state in State:
        assert f"`{state}`" in section(RUNBOOK, "## Reasons")


def test_events() -> None:
    """The runbook lists every event, and no others."""
    assert first_cells(section(RUNBOOK, "## Events")) == list(EventReason)


def test_alerts() -> None:
    """The runbook has an entry for each shipped alert."""
    assert headings(section(RUNBOOK, "## Alerts"), 3) == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "description"}


def test_each_alert_is_tested() -> None:
    """`make monitoring-test` has a fault for each alert, and no others."""
    assert list(FAULTS) == [rule["alert"] for rule in RULES]


def test_each_reason_that_needs_a_person_has_an_alert() -> None:
    """Each reason of waiting or stalled objects is in exactly one alert with the gauge, and no other reason is."""
    asked = [
        matcher.value
        for rule in RULES
        for selector in selectors(rule["expr"])
        if selector.name == "atlas_invites_objects"
        for matcher in selector.matchers.matchers
    ]
    alerts = {reason: sum(bool(re.fullmatch(pattern, reason)) for pattern in asked) for reason in Reason}
    assert alerts == {reason: int(reason.kind in {Kind.WAITING, Kind.STALLED}) for reason in Reason}


EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{title} {number}": query.replace("$__rate_interval", "2m").replace("$namespace", "atlas-invites")
    for number, (title, query) in enumerate(dashboard_queries())
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions(expression: str) -> None:
    """Alerts and dashboard are PromQL, and use only existing metrics, labels and values."""
    known = metrics()
    values: dict[str, list[str]] = {
        "outcome": [*Kind, telemetry.ERROR],
        "reason": [*Reason, telemetry.CLUSTER_UNAVAILABLE, telemetry.UNEXPECTED],
        "code": ["none", *map(str, range(200, 600))],
        "namespace": ["atlas-invites"],
    }
    asked = selectors(expression)
    assert asked
    for selector in asked:
        name = (selector.name or "").removesuffix("_bucket")
        assert name in known
        for matcher in selector.matchers.matchers:
            assert matcher.name in {*known[name], "namespace"}
            is_pattern = matcher.op in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe)
            pattern = matcher.value if is_pattern else re.escape(matcher.value)
            for alternative in pattern.split("|"):
                assert [value for value in values[matcher.name] if re.fullmatch(alternative, value)], alternative


def test_metrics() -> None:
    """docs/metrics.md lists every metric, and no others, with every outcome and state that a label can have."""
    listed = [name for name in first_cells(page("metrics")) if name.startswith("atlas_invites_")]
    assert len(listed) == len(set(listed))
    assert set(listed) == metrics().keys()
    for value in (*Kind, *State, telemetry.ERROR, telemetry.CLUSTER_UNAVAILABLE, telemetry.UNEXPECTED):
        assert f"`{value}`" in page("metrics")


@pytest.mark.parametrize(("command", "name"), [("run", "configuration"), ("plan", "plan"), ("export", "export")])
def test_flags(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every flag of a command is in the documentation, and no others."""
    documented = {cell for cell in first_cells(page(name)) if cell.startswith("--")}
    assert documented == flags(command, capsys)


def test_variables() -> None:
    """Every environment variable of the operator is in the documentation, and no others."""
    written = set(re.findall(r"`(ATLAS_INVITES_\w+)`", page("configuration")))
    assert written == {f"ATLAS_INVITES_{name.upper()}" for name in Settings.model_fields} | {*NAMESPACE_VARIABLES}


@pytest.mark.parametrize(
    ("fields", "name"), [(Settings, "configuration"), (PlanSettings, "plan"), (ExportSettings, "export")], ids=str
)
def test_defaults(fields: type[Settings | PlanSettings | ExportSettings], name: str) -> None:
    """Defaults in the documentation are those of the code."""
    rows = dict(re.findall(r"^\| `--([a-z-]+)`(?:, `[a-z-]+`)? \|(.*)$", page(name), re.MULTILINE))
    for field, info in fields.model_fields.items():
        if isinstance(info.default, str) and info.default:
            assert f"`{info.default}`" in rows[field.replace("_", "-")]
        elif isinstance(info.default, int) and not isinstance(info.default, bool):
            assert f" {info.default} " in rows[field.replace("_", "-")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path: Path) -> None:
    """Every link inside the project leads to a file, and to a heading if it names one."""
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", path.read_text()):
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if anchor:
            known = {heading(text) for level in range(1, 5) for text in headings(linked.read_text(), level)}
            assert anchor in known, target


def heading(text: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def test_every_page_is_linked() -> None:
    """Every page of docs/ is linked from another page or from the README."""
    linked = {
        (path.parent / target.partition("#")[0]).resolve()
        for path in PAGES
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text())
    }
    assert {path for path in DOCS.glob("*.md") if path.resolve() not in linked} == set()


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_examples(cluster: ControlPlane, team: str, path: Path) -> None:
    """Every manifest that a user copies is accepted completely, without a warning."""
    for namespace in ("argocd", "flux-system"):
        cluster.kubectl("create", "namespace", namespace, check=False)
    objects = load(path.read_text())
    options = [] if any("namespace" in one["metadata"] for one in objects) else ["--namespace", team]
    done = cluster.kubectl("apply", *options, "-f", str(path))
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(objects)


@pytest.mark.parametrize(("path", "block"), NAMED_IN_DOCS, ids=lambda value: getattr(value, "name", "block"))
def test_examples_in_the_text(cluster: ControlPlane, team: str, path: Path, block: str) -> None:
    """Every manifest in the text of the documentation is accepted."""
    del path
    for one in yaml.safe_load_all(block):
        if {"apiVersion", "kind"} <= one.keys():
            cluster.kubectl("apply", "--namespace", team, "-f", "-", input=json.dumps(one))
