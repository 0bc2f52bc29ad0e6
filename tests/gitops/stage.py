"""The environment of one scenario: its own namespace, Atlas project, repository and application."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.manifests import load
from tests.e2e.api import PLURAL
from tests.e2e.world import READ_ONLY, World
from tests.gitops.tool import HEALTHY
from tests.stack import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.e2e.api import Object
    from tests.gitops.git import Repository
    from tests.gitops.rig import Rig
    from tests.gitops.tool import State, Tool

EXAMPLE = ROOT / "deploy" / "examples" / "invitation.yaml"
PATIENCE = 120.0
"""The seconds that a tool may take: Argo CD backs off between its attempts."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the API server.

    Attributes:
        verb: the verb, such as ``create``.
        name: the name of the object; empty for a create.
        agent: the user agent.
        time: the time of the request (Unix seconds).
    """

    verb: str
    name: str
    agent: str
    time: float


@dataclass(slots=True)
class Stage:
    """The environment of one scenario.

    Attributes:
        tool: the tool that syncs.
        rig: the cluster and the servers.
        world: the namespace, the Atlas project and the credentials.
        repository: the team's repository.
        name: the name of the team's application.
        facts: the measurements for the report.
    """

    tool: Tool
    rig: Rig
    world: World
    repository: Repository
    name: str
    facts: list[str] = field(default_factory=list)
    _commits: list[str] = field(default_factory=list)
    _audit_mark: int = 0

    @classmethod
    def build(cls, tool: Tool, rig: Rig, scenario: str) -> Stage:
        """Create the namespace, the project, the credentials and the repository."""
        name = f"{scenario.replace(' ', '-')[:40]}-{secrets.token_hex(2)}"
        rig.plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": name}})
        stage = cls(tool, rig, World.make(rig.plane, rig.sandbox, name), rig.git.repository(name), name)
        stage.commit("Begin", {"team": other(name)})
        return stage

    def beside(self) -> Stage:
        """Return another application, with its own repository, for the same namespace and the same Atlas project."""
        name = f"{self.name}-b"
        return replace(self, repository=self.rig.git.repository(name), name=name, _commits=[])

    # Git

    def invitation(
        self,
        name: str = "jane",
        roles: Iterable[str] = (READ_ONLY,),
        username: str | None = None,
        namespace: str | None = None,
        **spec: Any,  # noqa: ANN401 - fields are JSON
    ) -> Object:
        """Return the shipped example of an invitation, for a person of this scenario."""
        (item,) = load(EXAMPLE.read_text())
        item["metadata"]["name"] = name
        if namespace is not None:
            item["metadata"]["namespace"] = namespace
        item["spec"] |= {
            "groupId": self.world.project,
            "username": self.world.email(username or name),
            "roles": list(roles),
            **spec,
        }
        return item

    def commit(self, message: str, files: Mapping[str, Object | None]) -> str:
        """Commit manifests by file name, None for a file to remove, tell the tool, and return the commit's id."""
        texts = {f"{name}.yaml": None if item is None else yaml.safe_dump(item) for name, item in files.items()}
        revision = self.repository.commit(message, texts)
        self._commits.append(revision)
        if self.tool.exists(self.name):
            self.tool.refresh(self.name)
        return revision

    def sync(self, annotations: dict[str, str] | None = None, **changes: Any) -> None:  # noqa: ANN401 - fields are JSON
        """Create the shipped application for the repository, with changes of fields of its spec."""
        self.tool.add_team(self.name, self.repository, self.world.namespace, annotations, **changes)

    def begin(self, **fields: Any) -> None:  # noqa: ANN401 - fields are JSON
        """Create an application with an invitation of Jane, wait until it is healthy, and start counting."""
        self.commit("Invite Jane", {"jane": self.invitation(**fields)})
        self.sync()
        self.until()
        self.until_reason("jane", "Invited")
        self.mark()

    # Results

    def until(self, health: str = HEALTHY, seconds: float = PATIENCE) -> State:
        """Wait until the tool has applied the latest commit and shows that health."""
        latest = self._commits[-1]
        return self.until_it(
            f"has applied {latest[:7]} and is {health}",
            lambda state: state.revision == latest and state.health == health and state.done,
            seconds,
        )

    def until_says(self, text: str, seconds: float = PATIENCE) -> State:
        """Wait until the tool's message about the application contains a text."""
        return self.until_it(f"says {text!r}", lambda state: text in state.message, seconds)

    def until_it(self, what: str, holds: Callable[[State], bool], seconds: float = PATIENCE) -> State:
        """Wait until something holds for the state of the application, and return the state."""
        states: list[State] = []

        def check() -> State | None:
            self.rig.check()
            states[:] = [self.tool.state(self.name)]
            return states[0] if holds(states[0]) else None

        try:
            found: State = wait_until(f"{self.name} {what}", check, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {states}") from None
        return found

    def until_reason(self, name: str, reason: str) -> Object:
        """Wait until an invitation's latest generation was evaluated, with that reason, and return the object."""
        return self.world.until(name, reason, PATIENCE)

    def until_object(self, name: str, what: str, holds: Callable[[Object], bool]) -> Object:
        """Wait until something holds for an invitation, and return the object."""
        return self.world.until_it(name, what, holds, PATIENCE)

    def until_gone(self, name: str) -> None:
        """Wait until the invitation of that name is gone."""
        self.world.until_gone(name, PATIENCE)

    def until_deleted(self, seconds: float = PATIENCE) -> None:
        """Wait until the application is gone."""
        wait_until(f"{self.name} is gone", lambda: not self.tool.exists(self.name), seconds)

    def requests(self, *verbs: str, resource: str = PLURAL) -> list[Request]:
        """Return all successful requests about objects of the namespace since ``mark``."""
        return [
            Request(r["verb"], r["objectRef"].get("name", ""), r["userAgent"], _time(r["requestReceivedTimestamp"]))
            for r in self.rig.plane.control_plane.audit_log.requests(self._audit_mark)
            if r["verb"] in verbs and (about := r.get("objectRef")) is not None
            if about["resource"] == resource and about.get("namespace") == self.world.namespace
            if "subresource" not in about and r["responseStatus"]["code"] < HTTPStatus.BAD_REQUEST
        ]

    def mark(self) -> None:
        """Start counting from now."""
        self.world.mark()
        self._audit_mark = self.rig.plane.api.audit_mark()

    def measure(self, what: str, wait: Callable[[], Any]) -> Any:  # noqa: ANN401 - the result of any wait
        """Measure a wait, note its duration, and return its result."""
        begun = time.monotonic()
        found = wait()
        self.note(f"{what}: {time.monotonic() - begun:.1f} s")
        return found

    def note(self, fact: str) -> None:
        """Note a fact for the report."""
        self.facts.append(fact)


def other(namespace: str, name: str = "team") -> Object:
    """Return another object of a repository: Argo CD does not prune automatically if nothing is left in Git."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def _time(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
