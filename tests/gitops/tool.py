"""The interface of a GitOps tool for the scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tests.e2e.api import Object
    from tests.gitops.git import Repository

HEALTHY, PROGRESSING, DEGRADED, SUSPENDED = "Healthy", "Progressing", "Degraded", "Suspended"


@dataclass(frozen=True, slots=True)
class State:
    """The state of an Application or a Kustomization.

    Attributes:
        revision: the commit that was applied last, empty before the first.
        done: nothing is left to apply or to prune.
        health: one of the values above, in the terms of Argo CD.
        message: all messages of the tool about it.
    """

    revision: str
    done: bool
    health: str
    message: str


class Tool(Protocol):
    """A running Argo CD or Flux.

    An *application* is here what the tool syncs: an Application, or a Kustomization with its GitRepository.
    """

    name: str
    versions: str

    def start(self) -> None:
        """Install the custom resources, and start the controllers.

        Raises:
            StartError: a controller did not start.
        """

    def add_platform(self, repository: Repository) -> None:
        """Create the shipped application of the operator, for a repository."""

    def add_team(
        self,
        name: str,
        repository: Repository,
        namespace: str,
        annotations: dict[str, str] | None = None,
        **changes: Any,  # noqa: ANN401 - fields are JSON
    ) -> None:
        """Create the shipped application of a team, for a repository and a namespace.

        Args:
            name: its name.
            repository: the repository to sync.
            namespace: the namespace to sync to.
            annotations: its annotations.
            changes: changes to fields of its ``spec``; None removes a field.
        """

    def refresh(self, name: str) -> None:
        """Tell the tool to read Git and the cluster now, as the webhook of a Git server does."""

    def state(self, name: str) -> State:
        """Return the state of an application."""

    def change(self, name: str, spec: Object) -> None:
        """Change fields of the spec of an application."""

    def delete(self, name: str) -> None:
        """Delete an application and the objects that it has applied."""

    def exists(self, name: str) -> bool:
        """Return whether an application of that name exists."""
