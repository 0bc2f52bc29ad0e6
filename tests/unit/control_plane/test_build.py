"""The build of the control plane, with a stand-in for Go."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest

from tests.control_plane import build as module
from tests.control_plane.build import NAMES, BuildError, build, default_cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GO = """#!/bin/sh
case "$1" in
  env) echo go1.27.3; echo linux; echo amd64 ;;
  list) echo "go: downloading a v1" >&2; printf 'a\\nb\\nc\\n' ;;
  build)
    echo built >> "{folder}/builds"
    printf 'a\\nb\\n' >&2
    {build}
    while [ "$1" != -o ]; do shift; done
    echo binary > "$2" ;;
esac
"""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person was told."""
    lines: list[str] = []
    monkeypatch.setattr(module, "say", lines.append)
    return lines


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Callable[[str], None]:
    """Take this shell command for what Go does when it builds."""
    del said
    script = tmp_path / "go"

    def becomes(command: str) -> None:
        script.write_text(GO.format(folder=tmp_path, build=command))
        script.chmod(stat.S_IRWXU)

    monkeypatch.setattr(module, "tool", lambda name: str(tmp_path / name))
    becomes(":")
    return becomes


@pytest.mark.usefixtures("go")
def test_builds_once(tmp_path: Path, said: list[str]) -> None:
    """The first call builds, and says so; the next finds it, and says nothing."""
    built = build(tmp_path / "cache")
    assert {name: (built / name).resolve().name for name in NAMES} == dict.fromkeys(NAMES, "control-plane")
    assert "once" in said[0]
    assert "those of 3 packages" in said[2]
    assert said[-1].startswith("built in ")
    said.clear()
    assert build(tmp_path / "cache") == built
    assert said == []
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_failed_build_says_why(tmp_path: Path, go: Callable[[str], None]) -> None:
    """A failure is one line, then the compiler's last lines; nothing half-built is left, and the next try builds."""
    go("seq 100 >&2; echo 'main.go:7: no such thing' >&2; exit 3")
    with pytest.raises(BuildError) as failed:
        build(tmp_path / "cache")
    first, *rest = str(failed.value).splitlines()
    assert first == "compiling those of 3 packages that Go's cache lacks failed with exit code 3:"
    assert rest == [*(f"  {i}" for i in range(87, 101)), "  main.go:7: no such thing"]
    go(":")
    assert (build(tmp_path / "cache") / "etcd").exists()


def test_a_long_build_says_how_far_it_is(
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
    assert any(line.startswith("compiling those of 3 packages that Go's cache lacks: 2 done, ") for line in said)


def test_two_at_once_build_once(
    tmp_path: Path, go: Callable[[str], None], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes while another builds says so, waits, and uses what that one built."""
    go(f"while [ ! -e {tmp_path}/go-on ]; do sleep 0.01; done")

    def say(line: str) -> None:
        said.append(line)
        if "another process" in line:
            (tmp_path / "go-on").touch()

    monkeypatch.setattr(module, "say", say)
    built: list[Path] = []
    both = [threading.Thread(target=lambda: built.append(build(tmp_path / "cache"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(built) == 2
    assert built[0] == built[1]
    assert (tmp_path / "builds").read_text() == "built\n"


@pytest.mark.usefixtures("go")
def test_what_a_killed_build_left_is_no_build(tmp_path: Path) -> None:
    """A build that was killed half-way is not taken for one, and is cleared away."""
    cache = tmp_path / "cache"
    built = build(cache)
    built.rename(cache / f"{built.name}.part-killed")
    assert (build(cache) / "etcd").exists()
    assert {path.name for path in cache.iterdir()} == {built.name, f"{built.name}.lock"}
    assert (tmp_path / "builds").read_text() == "built\nbuilt\n"


def test_another_go_is_another_build(tmp_path: Path, go: Callable[[str], None]) -> None:
    """A cached build is only for the version of Go, and the sources, that made it."""
    first = build(tmp_path / "cache")
    go(":")
    script = tmp_path / "go"
    script.write_text(script.read_text().replace("go1.27.3", "go1.28.0"))
    assert build(tmp_path / "cache") != first


def test_a_tool_that_is_not_there() -> None:
    """A tool that is installed nowhere is named, with what to do."""
    with pytest.raises(BuildError, match=r"no-such-tool is not installed beside .*: install the dev requirements"):
        module.tool("no-such-tool")


def test_cache_is_where_caches_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds are kept in the user's cache folder, by the XDG rules."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "atlas-invites" / "control-plane"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "atlas-invites" / "control-plane"
