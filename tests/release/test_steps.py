"""Tests of the steps of a release: as a dry run, and with stand-ins for the commands that need a registry."""

from __future__ import annotations

import hashlib
import stat
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import helm_python
import pytest
import yaml

from release.__main__ import main
from release.project import read
from release.steps import NO_DIGEST, STEPS, Release, ReleaseError
from tests.deploy.manifests import DEPLOY, by_name, kustomized, load, of_kind
from tests.release.conftest import REGISTRY
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DIGEST, CHART_DIGEST = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PROJECT = replace(read(ROOT), registry=REGISTRY, source="https://github.com/owner/atlas-invites")
IMAGE, CHART = f"{REGISTRY}/atlas-invites", f"{REGISTRY}/charts/atlas-invites"
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> {calls}
case "$*" in
  *--password-stdin) test "$(cat)" = secret ;;
  *--metadata-file*)
    while [ "$1" != --metadata-file ]; do shift; done
    echo '{{"containerimage.digest": "{digest}"}}' > "$2" ;;
  *imagetools*) echo '{{"packages": []}}' ;;
esac
"""


@pytest.fixture
def dry(tmp_path: Path) -> Release:
    """Return a release after a dry run of every step."""
    release = Release(PROJECT, tmp_path, dry_run=True)
    for step in STEPS.values():
        step(release)
    return release


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the command lines of the stand-ins for docker, cosign and gh, and the push of the chart."""
    calls, tools = tmp_path / "calls", tmp_path / "tools"
    tools.mkdir()
    for name in ("docker", "cosign", "gh"):
        (tools / name).write_text(STAND_IN.format(calls=calls, digest=DIGEST))
        (tools / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tools), prepend=":")

    class Registry(helm_python.RegistryClient):  # type: ignore[misc, unused-ignore]
        """Record the push of a chart, and return its digest."""

        def push(self, chart_path: object, remote: str, **_: object) -> dict[str, str]:
            with calls.open("a") as file:
                file.write(f"push {chart_path} {remote}\n")
            return {"output": ""}

        def resolve(self, ref: str) -> dict[str, str]:
            assert ref == f"oci://{CHART}:{PROJECT.version}"
            return {"digest": CHART_DIGEST}

    monkeypatch.setattr(helm_python, "RegistryClient", Registry)
    return calls


def test_install_yaml_is_kustomizes_with_the_digest(dry: Release) -> None:
    """install.yaml has the manifests that ``kubectl apply -k deploy/`` applies, with the image by digest."""
    objects = load((dry.folder / "install.yaml").read_text())
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{IMAGE}@{NO_DIGEST}"
    expected = by_name(kustomized(DEPLOY))
    named = by_name(objects)
    for manifests in (expected, named):
        template = manifests["Deployment/atlas-invites/atlas-invites"]["spec"]["template"]
        del template["spec"]["containers"][0]["image"]
    assert named == expected


def test_the_chart_is_packaged(dry: Release) -> None:
    """The package of the chart has its version and its metadata."""
    with tarfile.open(dry.folder / f"atlas-invites-{PROJECT.version}.tgz") as archive:
        member = archive.extractfile("atlas-invites/Chart.yaml")
        assert member is not None
        about = yaml.safe_load(member.read())
    assert about["version"] == PROJECT.version
    assert about["annotations"]["artifacthub.io/license"] == "Apache-2.0"


def test_the_sums_are_of_every_file(dry: Release) -> None:
    """SHA256SUMS lists every file that users download."""
    lines = (dry.folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: found for found, _, name in (line.partition("  ") for line in lines)}
    assert sums.keys() == {path.name for path in dry.files()}
    assert {"install.yaml", f"atlas-invites-{PROJECT.version}.tgz", "sbom-linux-amd64.spdx.json"} <= sums.keys()
    for name, found in sums.items():
        assert hashlib.sha256((dry.folder / name).read_bytes()).hexdigest() == found


def test_a_dry_run_runs_nothing(tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run prints each command, and runs none."""
    for step in STEPS.values():
        step(Release(PROJECT, tmp_path, dry_run=True))
    printed = capsys.readouterr().err
    for command in ("docker login", "docker buildx build", "push ", "cosign sign ", "cosign sign-blob", "gh release"):
        assert command in printed
    assert not calls.exists()


def test_every_step(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pushed digests are signed, and are in manifests and notes; the password is on no command line."""
    monkeypatch.setenv("REGISTRY_USER", "somebody")
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    release = Release(PROJECT, tmp_path / "release", dry_run=False)
    release.folder.mkdir()
    for step in STEPS.values():
        step(release)
    called = calls.read_text().splitlines()
    assert called[0] == "docker login registry.example.com --username somebody --password-stdin"
    assert f"--tag {IMAGE}:{PROJECT.version} --push" in called[1]
    assert "--platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max" in called[1]
    assert called[2].endswith(f".tgz oci://{REGISTRY}/charts")
    assert f"cosign sign --yes {IMAGE}@{DIGEST}" in called
    assert f"cosign sign --yes {CHART}@{CHART_DIGEST}" in called
    assert called[-1].startswith(f"gh release create v{PROJECT.version} --verify-tag")
    assert f"image: {IMAGE}@{DIGEST}\n" in (release.folder / "install.yaml").read_text()
    notes = (release.folder / "notes.md").read_text()
    assert f"cosign verify {CHART}@{CHART_DIGEST}" in notes
    assert "secret" not in calls.read_text() + capsys.readouterr().err


def test_a_login_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the missing variable."""
    monkeypatch.delenv("REGISTRY_PASSWORD", raising=False)
    with pytest.raises(ReleaseError, match="REGISTRY_PASSWORD is not set: set both"):
        STEPS["login"](Release(PROJECT, tmp_path, dry_run=False))


def test_a_step_before_its_turn(tmp_path: Path) -> None:
    """If a step needs the result of another step, the error names that step."""
    with pytest.raises(ReleaseError, match=r"image\.digest is missing: run the step image first"):
        STEPS["sign"](Release(PROJECT, tmp_path, dry_run=False))


def test_a_command_that_fails(tmp_path: Path, calls: Path) -> None:
    """A command that fails ends the release, and the error names it."""
    (calls.parent / "tools" / "docker").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ReleaseError, match="docker failed with exit code 3"):
        STEPS["image"](Release(PROJECT, tmp_path, dry_run=False))


def test_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run needs no registry: it prints the commands for an example registry."""
    monkeypatch.setattr("release.__main__.DIST", tmp_path)
    monkeypatch.setattr("release.__main__.read", lambda: replace(read(), registry=""))
    assert main(["chart", "--dry-run"]) == 0
    assert "oci://registry.example.com/owner/charts" in capsys.readouterr().err
