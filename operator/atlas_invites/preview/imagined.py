"""Kubernetes for a rehearsal: writes are only simulated, and Secrets are not read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atlas_invites.failures import Failure
from atlas_invites.invitation.credentials import Allowed, StoredCredentials
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import Listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_invites.controller import ports
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.notices import Notice
    from atlas_invites.invitation.resource import Key, Resource

_NO_CLUSTER = (
    "The plan for this object is unknown: the id of its project is only in the cluster, in the status of the "
    "AtlasProject {name} (spec.projectRef). Run plan with --cluster."
)


class ImaginedCluster:
    """Simulates the writes to Kubernetes: none leaves this process. See ``ports.Invites`` and ``ports.Events``."""

    def __init__(self) -> None:
        self.notices: dict[Key, list[Notice]] = {}

    async def list_all(self) -> Listed:
        """Return no objects: the rehearsal puts them into the store."""
        return Listed([])

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Return the object with our finalizer."""
        return newer(resource.with_finalizer())

    async def remove_finalizer(self, resource: Resource) -> Resource:
        """Return the object without our finalizer."""
        return newer(resource.without_finalizer())

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Return the object with a status."""
        return newer(resource.with_status(status))

    def publish(self, resource: Resource, notice: Notice) -> None:
        """Keep an event for the plan."""
        self.notices.setdefault(resource.key, []).append(notice)


def newer(resource: Resource) -> Resource:
    """Return an object with the next resource version."""
    version = resource.resource_version
    return replace(resource, resource_version=str(int(version) + 1) if version.isdigit() else f"{version}+")


def for_user(words: str) -> str:
    """Rewrite a message about the operator's rights for the user of the command, whose rights are the kubeconfig's."""
    words = words.replace("by the operator; its RBAC lacks", "by the user of the kubeconfig, who lacks")
    return words.replace("the operator's RBAC lacks", "the user of the kubeconfig lacks")


class FromEnvironment:
    """Resolves what a spec refers to. The credentials always come from the environment, whatever Secret it names.

    Args:
        credentials: of the environment.
        projects: reads the ids of AtlasProjects in the cluster; None without a cluster.
    """

    def __init__(self, credentials: Credentials, projects: ports.References | None) -> None:
        self._stored = StoredCredentials(credentials, Allowed(namespaces="*"))
        self._projects = projects

    async def credentials(self, secret: Key) -> StoredCredentials:
        """Return the credentials of the environment."""
        del secret
        return self._stored

    async def group_id(self, project: Key) -> str:
        """Return the id of an AtlasProject.

        Raises:
            Failure: ProjectNotReady.
            ClusterUnavailable: the API server did not respond as it should.
        """
        if self._projects is None:
            raise Failure(Reason.PROJECT_NOT_READY, _NO_CLUSTER.format(name=project.name))
        try:
            return await self._projects.group_id(project)
        except Failure as failure:
            raise Failure(failure.reason, for_user(failure.message)) from None

    async def is_ending(self, namespace: str) -> bool:
        """Return False: a rehearsed deletion does not wait, so the result does not matter."""
        del namespace
        return False
