"""Tests of the check and the preparation of a version, on a copy of the project."""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from release.__main__ import main
from release.changelog import sections
from release.check import CRD, RELEASED, complaints, disagreements, prepare
from release.project import read
from release.stamp import files
from tests.deploy.manifests import kustomized, of_kind, rendered
from tests.release.conftest import REGISTRY, publish_to
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

VERSION, TODAY = "9.8.7", dt.date(2027, 1, 2)
ENTRY = "## Unreleased\n\n### Added\n\n- Something.\n"


@pytest.fixture
def prepared(copy: Path) -> Path:
    """Return a copy of the project with a prepared version."""
    log = copy / "CHANGELOG.md"
    log.write_text(log.read_text().replace("## Unreleased\n", ENTRY, 1))
    prepare(copy, VERSION, TODAY)
    return copy


def test_a_prepared_version_can_be_released(prepared: Path) -> None:
    """After the preparation the version can be released, and its changes are in the changelog."""
    assert list(complaints(prepared, VERSION)) == []
    section = sections((prepared / "CHANGELOG.md").read_text())[VERSION]
    assert section.date == "2027-01-02"
    assert "- Something." in section.body


def test_the_version_is_the_same_everywhere_between_releases() -> None:
    """Without a version, the check passes on the project as it is, with changes that are not released."""
    assert list(disagreements(ROOT)) == []


def test_every_place_has_the_version(prepared: Path) -> None:
    """Chart, image label, manifests and docs of a prepared version have its number."""
    about = yaml.safe_load((prepared / "deploy/chart/Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == VERSION
    assert f"ARG VERSION={VERSION}\n" in (prepared / "Dockerfile").read_text()
    assert f"atlas-invites:{VERSION}\n" in (prepared / "docs/install.md").read_text()
    for objects in (kustomized(prepared / "deploy"), rendered(prepared / "deploy/chart")):
        (deployment,) = of_kind(objects, "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"atlas-invites:{VERSION}"
    changes = yaml.safe_load(about["annotations"]["artifacthub.io/changes"])
    assert {"kind": "added", "description": "Something."} in changes


def test_a_file_that_has_another_version(prepared: Path) -> None:
    """Each file whose version or registry differs from pyproject.toml is named."""
    other = replace(read(prepared), version="1.1.1", registry=REGISTRY, source="https://git.example.com/owner")
    for path, text in files(other).items():
        before = (prepared / path).read_text()
        (prepared / path).write_text(text)
        (complaint,) = complaints(prepared, VERSION)
        assert complaint.startswith(f"{path} differs from pyproject.toml in the version or the registry")
        (prepared / path).write_text(before)


def test_a_place_that_is_gone(prepared: Path) -> None:
    """If a file has lost its place for the version, the error names the file."""
    (prepared / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ValueError, match="Dockerfile has no line like"):
        files(read(prepared))


def test_another_version(prepared: Path) -> None:
    """A version that differs from pyproject.toml, or is not a version, is not released."""
    (complaint,) = complaints(prepared, "9.9.9")
    assert "pyproject.toml has version 9.8.7, not 9.9.9" in complaint
    (complaint,) = complaints(prepared, "v9.8.7")
    assert "use three numbers" in complaint


def test_a_changelog_that_is_not_ready(prepared: Path) -> None:
    """A missing date, missing changes, and changes without a version are named."""
    log = prepared / "CHANGELOG.md"
    text = log.read_text()
    log.write_text(text.replace(f"## {VERSION} - {TODAY}", f"## {VERSION}"))
    assert any("no section" in complaint for complaint in complaints(prepared, VERSION))
    log.write_text(text.replace("## Unreleased\n", ENTRY, 1))
    assert any("has changes below Unreleased" in complaint for complaint in complaints(prepared, VERSION))
    log.write_text(text.replace(f"## {VERSION} - {TODAY}\n", f"## {VERSION} - {TODAY}\n\n## 9.8.6 - {TODAY}\n"))
    assert any("lists no changes" in complaint for complaint in complaints(prepared, VERSION))


def test_the_crd_of_the_release_is_kept(prepared: Path) -> None:
    """The CRD of a release is stored, and must equal the CRD that is released."""
    kept = prepared / RELEASED / f"{VERSION}.yaml"
    assert kept.read_bytes() == (prepared / CRD).read_bytes()
    kept.write_text(kept.read_text() + "# changed\n")
    (complaint,) = complaints(prepared, VERSION)
    assert "is not a copy of" in complaint


def test_a_version_is_released_once(prepared: Path) -> None:
    """A version cannot be prepared twice."""
    with pytest.raises(ValueError, match=r"already has a section 9\.8\.7"):
        prepare(prepared, VERSION, TODAY)


def test_one_variable_names_the_registry(prepared: Path) -> None:
    """The registry of pyproject.toml is in URLs, manifests and chart once they are generated."""
    publish_to(prepared, REGISTRY)
    for path, text in files(read(prepared)).items():
        (prepared / path).write_text(text)
    source = "https://github.com/owner/atlas-invites"
    project = tomllib.loads((prepared / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Source"] == source
    assert f"ARG SOURCE={source}\n" in (prepared / "Dockerfile").read_text()
    about = yaml.safe_load((prepared / "deploy/chart/Chart.yaml").read_text())
    assert (about["home"], about["sources"]) == (source, [source])
    assert about["icon"] == f"{source}/raw/v{VERSION}/docs/icon.svg"
    (deployment,) = of_kind(kustomized(prepared / "deploy"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{REGISTRY}/atlas-invites:{VERSION}"


def test_nothing_is_published_yet(copy: Path) -> None:
    """Without a registry there are no URLs that would lead nowhere."""
    project = read(copy)
    assert (project.registry, project.source) == ("", "")
    assert "urls" not in tomllib.loads((copy / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((copy / "deploy/chart/Chart.yaml").read_text()).keys().isdisjoint({"home", "sources", "icon"})
    assert (ROOT / "docs/icon.svg").exists()


def test_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that is not ready leads to exit code 1 with the reasons, and so does publishing without a registry."""
    assert main(["check", "9.9.9"]) == 1
    assert "pyproject.toml has version" in capsys.readouterr().err
    monkeypatch.setattr("release.__main__.read", lambda: replace(read(), registry=""))
    assert main(["image"]) == 1
    assert "tool.release.registry in pyproject.toml is empty" in capsys.readouterr().err
