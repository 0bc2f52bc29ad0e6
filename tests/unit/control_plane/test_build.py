"""The build of the control plane, with a replacement for Go."""

from __future__ import annotations

import json
import re
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from tests.control_plane import build as module
from tests.control_plane.build import NAMES, BuildError, binaries, build, built, default_cache, progress
from tests.control_plane.module import MODULE, default_version, selected_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GO = """#!/bin/sh
case "$1" in
  env) echo go1.27.3; echo linux; echo amd64 ;;
  list)
    echo "go: downloading a v1" >&2
    printf 'a\\nb\\nc\\n'
    if [ -e "{folder}/offline" ]; then echo "a.go:1: b v2: no route to host" >&2; exit 1; fi ;;
  mod)
    case "$*" in
      *v1.30.99) echo '{{"Error": "not available"}}'; exit 1 ;;
      mod\\ download*) printf '{{"GoMod": "kubernetes.mod", "Dir": "{folder}"}}' ;;
      mod\\ edit*) echo '{kubernetes}' ;;
    esac ;;
  build)
    echo built >> "{folder}/builds"
    printf 'a\\nb\\n' >&2
    {build}
    while [ "$1" != -o ]; do shift; done
    echo binary > "$2" ;;
esac
"""
KUBERNETES_MODULE = {
    "Go": "1.22.0",
    "Replace": [
        {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
        {"Old": {"Path": "k8s.io/client-go"}, "New": {"Path": "./staging/src/k8s.io/client-go"}},
    ],
}
"""What the replacement for Go returns about the go.mod of any Kubernetes version."""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was printed for the user."""
    lines: list[str] = []
    monkeypatch.setattr(module, "say", lines.append)
    return lines


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Callable[[str], None]:
    """Replace Go with this shell command."""
    del said
    script = tmp_path / "go"

    def becomes(command: str) -> None:
        script.write_text(GO.format(folder=tmp_path, build=command, kubernetes=json.dumps(KUBERNETES_MODULE)))
        script.chmod(stat.S_IRWXU)

    monkeypatch.setattr(module, "tool", lambda name: str(tmp_path / name))
    becomes(":")
    return becomes


@pytest.mark.usefixtures("go")
def test_builds_once(tmp_path: Path, said: list[str]) -> None:
    """The first call builds, and says so; the next call finds the build, and says nothing."""
    assert built(tmp_path / "cache") is None
    folder = build(tmp_path / "cache")
    assert {name: (folder / name).resolve().name for name in NAMES} == dict.fromkeys(NAMES, "control-plane")
    assert "once" in said[0]
    assert said[2] == "compiling 3 packages"
    assert said[-1].startswith("built in ")
    said.clear()
    assert build(tmp_path / "cache") == built(tmp_path / "cache") == folder
    assert said == []
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_failed_build_says_why(tmp_path: Path, go: Callable[[str], None]) -> None:
    """A failure is one line, then the compiler's last lines; nothing half-built remains, and the next try builds."""
    go("seq 100 >&2; echo 'main.go:7: no such thing' >&2; exit 3")
    with pytest.raises(BuildError) as failed:
        build(tmp_path / "cache")
    first, *rest = str(failed.value).splitlines()
    assert first == "compiling 3 packages failed with exit code 3:"
    assert rest == [*(f"  {i}" for i in range(87, 101)), "  main.go:7: no such thing"]
    go(":")
    assert (build(tmp_path / "cache") / "etcd").exists()


@pytest.mark.usefixtures("go")
def test_a_failed_fetch_says_why(tmp_path: Path) -> None:
    """A module that cannot be fetched is named, without the packages that were found."""
    (tmp_path / "offline").touch()
    with pytest.raises(BuildError) as failed:
        build(tmp_path / "cache")
    assert str(failed.value) == (
        "fetching Go modules failed with exit code 1:\n  go: downloading a v1\n  a.go:1: b v2: no route to host"
    )


def test_a_long_build_reports_progress(
    tmp_path: Path, go: Callable[[str], None], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a build runs, a line every few seconds says how many packages are done."""
    go(f"while [ ! -e {tmp_path}/go-on ]; do sleep 0.01; done")

    def say(line: str) -> None:
        said.append(line)
        if "2 done" in line:
            (tmp_path / "go-on").touch()

    monkeypatch.setattr(module, "say", say)
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.01)
    build(tmp_path / "cache")
    assert any(re.fullmatch(r"compiling 3 packages: 2 done, 0 s, about a minute left", line) for line in said)


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (5, "5 done, 60 s"),
        (10, "10 done, 60 s, about 9 min left"),
        (50, "50 done, 60 s, about a minute left"),
        (120, "120 done, 60 s, about a minute left"),
    ],
)
def test_progress(done: int, expected: str) -> None:
    """The remaining time is estimated once a tenth is done."""
    assert progress(done, 100, 60.0) == expected


def test_progress_without_a_total() -> None:
    """If the number of packages is not known, no time is estimated."""
    assert progress(7, 0, 60.0) == "7 done, 60 s"


def test_two_concurrent_callers_build_once(
    tmp_path: Path, go: Callable[[str], None], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller that comes second says so, waits, and uses the build of the first."""
    go(f"while [ ! -e {tmp_path}/go-on ]; do sleep 0.01; done")

    def say(line: str) -> None:
        said.append(line)
        if "another process" in line:
            (tmp_path / "go-on").touch()

    monkeypatch.setattr(module, "say", say)
    folders: list[Path] = []
    both = [threading.Thread(target=lambda: folders.append(build(tmp_path / "cache"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(folders) == 2
    assert folders[0] == folders[1]
    assert (tmp_path / "builds").read_text() == "built\n"


@pytest.mark.usefixtures("go")
def test_the_rest_of_a_killed_build_is_not_used(tmp_path: Path) -> None:
    """It is not used as a build, and is removed."""
    cache = tmp_path / "cache"
    folder = build(cache)
    folder.rename(cache / f"{folder.name}.part-killed")
    assert (build(cache) / "etcd").exists()
    assert {path.name for path in cache.iterdir()} == {folder.name, f"{folder.name}.lock"}
    assert (tmp_path / "builds").read_text() == "built\nbuilt\n"


def test_another_go_is_another_build(tmp_path: Path, go: Callable[[str], None]) -> None:
    """A cached build is used only with the version of Go and the sources that made it."""
    first = build(tmp_path / "cache")
    go(":")
    script = tmp_path / "go"
    script.write_text(script.read_text().replace("go1.27.3", "go1.28.0"))
    assert build(tmp_path / "cache") != first


@pytest.mark.usefixtures("go")
def test_another_kubernetes_is_another_build(tmp_path: Path, said: list[str]) -> None:
    """Another Kubernetes version is built from a module generated from that version's go.mod and go.sum."""
    (tmp_path / "go.sum").write_text("sums of Kubernetes\n")
    other = build(tmp_path / "cache", "1.30.14")
    assert (other / "go.sum").read_text() == "sums of Kubernetes\n"
    assert (other / "go.mod").read_text() == (
        "module control-plane\n"
        "go 1.22.0\n"
        "require k8s.io/kubernetes v1.30.14\n"
        "replace k8s.io/api => k8s.io/api v0.30.14\n"
        "replace k8s.io/client-go => k8s.io/client-go v0.30.14\n"
    )
    assert "of Kubernetes 1.30.14, once" in said[0]
    assert said[1] == "fetching k8s.io/kubernetes v1.30.14"
    folders = {other, build(tmp_path / "cache"), build(tmp_path / "cache", "1.31.14")}
    assert len(folders) == 3
    assert build(tmp_path / "cache", default_version()) in folders
    assert build(tmp_path / "cache", "1.30.14") == other
    assert (tmp_path / "builds").read_text() == "built\n" * 3


@pytest.mark.usefixtures("go")
def test_a_kubernetes_that_cannot_be_fetched(tmp_path: Path) -> None:
    """If Go cannot fetch a Kubernetes version, the error shows Go's output."""
    with pytest.raises(BuildError, match=r"k8s\.io/kubernetes@v1\.30\.99 failed with exit code 1:\n.*not available"):
        build(tmp_path / "cache", "1.30.99")


def test_the_kubernetes_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBERNETES_VERSION selects the version, with or without a v; the default is that of the committed go.mod."""
    assert f"k8s.io/kubernetes v{default_version()}\n" in (MODULE / "go.mod").read_text()
    assert selected_version({}) == selected_version({"KUBERNETES_VERSION": ""}) == default_version()
    assert selected_version({"KUBERNETES_VERSION": "1.30.14"}) == "1.30.14"
    assert selected_version({"KUBERNETES_VERSION": "v1.30.14"}) == "1.30.14"
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("KUBERNETES_VERSION", "1.30")
    with pytest.raises(
        BuildError, match=r"\AKUBERNETES_VERSION is '1\.30': set it to a full version such as 1\.34\.4\Z"
    ):
        binaries()


def test_a_missing_tool() -> None:
    """A missing tool is named, with what to do."""
    with pytest.raises(BuildError, match=r"no-such-tool is not installed beside .*: install the dev requirements"):
        module.tool("no-such-tool")


def test_cache_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds are kept in the user's cache folder, by the XDG rules."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "atlas-invites" / "control-plane"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "atlas-invites" / "control-plane"
