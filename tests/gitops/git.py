"""Git repositories on loopback, served by Git's own HTTP backend."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.control_plane.build import tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BRANCH = "main"
_AUTHOR = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "A developer"), ("EMAIL", "developer@example.com"))
}


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with one branch, and its work tree.

    Attributes:
        folder: the work tree.
        url: the URL at which it is served.
    """

    folder: Path
    url: str

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Write files, remove those that are None, commit, and return the commit's id."""
        for name, content in files.items():
            path = self.folder / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        return self.commit_all(message)

    def copy(self, message: str, *folders: Path) -> str:
        """Copy whole folders into the work tree, commit, and return the commit's id."""
        for folder in folders:
            shutil.copytree(folder, self.folder / folder.name, dirs_exist_ok=True)
        return self.commit_all(message)

    def commit_all(self, message: str) -> str:
        """Commit the work tree, and return the commit's id."""
        _git(self.folder, "add", "--all")
        _git(self.folder, "commit", "--quiet", "--allow-empty", "--message", message)
        return _git(self.folder, "rev-parse", "HEAD")


class GitServer:
    """Serve the repositories of a folder on loopback, read-only and without authentication."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder))
        threading.Thread(target=self._server.serve_forever, name="git", daemon=True).start()

    def repository(self, name: str) -> Repository:
        """Create a repository with an empty first commit."""
        folder = self._folder / name
        folder.mkdir()
        _git(folder, "init", "--quiet", "--initial-branch", BRANCH)
        made = Repository(folder, f"http://127.0.0.1:{self._server.server_port}/{name}/.git")
        made.commit_all("Begin")
        return made

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _git(folder: Path, *arguments: str) -> str:
    environment = os.environ | _AUTHOR | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(  # noqa: S603 - our own command line
        [tool("git"), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    """Return the handler of requests, which runs ``git http-backend`` as a CGI program (RFC 3875)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = subprocess.run(  # noqa: S603 - our own command line
                [tool("git"), "http-backend"], env=self._variables(path, query), input=body, stdout=-1, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in {**fields, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - http.server defines the name

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

        def _variables(self, path: str, query: str) -> dict[str, str]:
            variables = {
                "REQUEST_METHOD": self.command,
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REMOTE_ADDR": self.client_address[0],
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH": os.environ["PATH"],
            }
            return {name: value for name, value in variables.items() if value}

    return Handler
