"""What the scenarios need of a GitOps tool, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tests.e2e.api import Object
    from tests.gitops.git import Repository

HEALTHY, PROGRESSING, DEGRADED, SUSPENDED = "Healthy", "Progressing", "Degraded", "Suspended"


@dataclass(frozen=True, slots=True)
class State:
    """How an Application or a Kustomization stands.

    Attributes:
        revision: the commit that it has applied last, empty before the first.
        done: nothing is left to apply or to prune.
        health: one of the words above, those of Argo CD.
        message: what it says, of whatever it has to say something.
    """

    revision: str
    done: bool
    health: str
    message: str


class Tool(Protocol):
    """Argo CD or Flux, running.

    What it syncs is an *application* here: an Application, or a Kustomization with its GitRepository.
    """

    name: str
    versions: str

    def start(self) -> None:
        """Install the custom resources, and start the controllers.

        Raises:
            StartError: one of them did not come up.
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
            repository: what to sync.
            namespace: where to.
            annotations: its annotations.
            changes: fields of its ``spec`` that are not as shipped; None removes one.
        """

    def refresh(self, name: str) -> None:
        """Tell the tool to look at Git and the cluster now, as the webhook of a Git server does."""

    def state(self, name: str) -> State:
        """Return how an application stands."""

    def change(self, name: str, spec: Object) -> None:
        """Change fields of the spec of an application."""

    def delete(self, name: str) -> None:
        """Delete an application, with what it has applied."""

    def is_there(self, name: str) -> bool:
        """Return whether there is an application of that name."""
