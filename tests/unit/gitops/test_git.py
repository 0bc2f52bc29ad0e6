"""The Git server of the GitOps scenarios, used with Git's own client."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.control_plane.build import tool
from tests.gitops.git import GitServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server without repositories."""
    server = GitServer(tmp_path / "git")
    yield server
    server.close()


def git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - tests say what to run
        [tool("git"), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_commits_are_served(server: GitServer, tmp_path: Path) -> None:
    """A client gets the latest commit: written files are in it, removed ones are not."""
    repository = server.repository("team")
    repository.commit("Invite", {"people/jane.yaml": "roles: []\n", "john.yaml": "roles: []\n"})
    latest = repository.commit("Take John out", {"john.yaml": None})
    assert not git("clone", "--quiet", repository.url, str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "people" / "jane.yaml").read_text() == "roles: []\n"
    assert not (tmp_path / "clone" / "john.yaml").exists()
    assert git("ls-remote", repository.url, "refs/heads/main") == f"{latest}\trefs/heads/main\n"


def test_a_folder_is_copied(server: GitServer, tmp_path: Path) -> None:
    """A whole folder is copied into the repository under its own name."""
    (tmp_path / "deploy" / "base").mkdir(parents=True)
    (tmp_path / "deploy" / "base" / "rbac.yaml").write_text("rules: []\n")
    repository = server.repository("platform")
    repository.copy("Bring the operator", tmp_path / "deploy")
    assert not git("clone", "--quiet", repository.url, str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "deploy" / "base" / "rbac.yaml").read_text() == "rules: []\n"


def test_nobody_can_push(server: GitServer, tmp_path: Path) -> None:
    """The server is read-only."""
    repository = server.repository("team")
    assert not git("clone", "--quiet", repository.url, str(tmp_path / "clone"))
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    git("-C", str(tmp_path / "clone"), *author, "commit", "--allow-empty", "--message", "Push")
    assert "403" in git("-C", str(tmp_path / "clone"), "push")


def test_a_missing_repository(server: GitServer) -> None:
    """A repository that was never made is not found."""
    url = server.repository("team").url.replace("team", "other")
    assert "not found" in git("ls-remote", url)
