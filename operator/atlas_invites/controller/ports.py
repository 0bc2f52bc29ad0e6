"""The interfaces of Atlas and Kubernetes that the engine uses. ``atlas`` and ``kube`` implement these Protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from atlas_invites.invitation.case import Target
    from atlas_invites.invitation.credentials import Credentials, StoredCredentials
    from atlas_invites.invitation.model import Api, AtlasInfo, Invitation, Observation, User
    from atlas_invites.invitation.notices import Notice
    from atlas_invites.invitation.resource import Key, Listed, Resource
E_co = TypeVar("E_co", covariant=True)


class Snapshot(Protocol):
    """The content of a project at one moment. It is not confirmed: lists lag."""

    def find(self, target: Target) -> Observation:
        """Return every candidate for a target."""


class Entries(Protocol[E_co]):
    """The readable part of a list."""

    @property
    def complete(self) -> bool:
        """Whether the id and the e-mail of every entry could be read."""

    @property
    def read(self) -> tuple[E_co, ...]:
        """The entries that could be read."""


class Project(Protocol):
    """One Atlas project under one credential. Every method raises ``Failure`` if the request fails.

    None or False means that the invitation or user does not exist (any more), so Atlas has to be observed.
    """

    @property
    def group_id(self) -> str:
        """The id of the project."""

    @property
    def api(self) -> Api:
        """The API in use for this project."""

    @property
    def info(self) -> AtlasInfo:
        """The API in use, and what its responses said about its end."""

    async def look(self, target: Target, since: float, enough: Callable[[Observation], bool]) -> Observation:
        """Return what Atlas shows of a target, as of ``since`` (monotonic seconds) or later.

        The lists are read first. If their view is not ``enough``, the ids and the e-mail are read too.
        """

    async def read_project(self) -> None:
        """Read the project. Only for this call GROUP_NOT_FOUND means that the project does not exist."""

    async def snapshot(self, since: float) -> Snapshot:
        """Return the content of the project, as of ``since`` (monotonic seconds) or later."""

    async def create_invite(self, username: str, roles: Iterable[str]) -> Invitation:
        """Send an invitation through the Invites API."""

    async def add_user(self, username: str, roles: Iterable[str]) -> User:
        """Send an invitation through the Users API. A member of the organization becomes ACTIVE at once."""

    async def list_invites(self, username: str) -> Entries[Invitation]:
        """List the pending invitations of an e-mail through the Invites API."""

    async def list_users(self, username: str, *, flatten_teams: bool, include_org_users: bool) -> Entries[User]:
        """List the users with an e-mail, and on request those who have access through a team or the organization."""

    async def update_invite(self, invitation_id: str, roles: Iterable[str]) -> Invitation | None:
        """Replace the roles of a pending invitation of the Invites API."""

    async def cancel_invite(self, invitation_id: str) -> bool:
        """Cancel a pending invitation of the Invites API."""

    async def read_user(self, user_id: str) -> User | None:
        """Read a user with any membership status."""

    async def remove_user(self, user_id: str) -> bool:
        """Remove a user, pending or active."""

    async def add_role(self, user_id: str, role: str) -> User | None:
        """Add one role."""

    async def remove_role(self, user_id: str, role: str) -> User | None:
        """Remove one role. Atlas refuses to remove the last one."""


class Atlas(Protocol):
    """Atlas, for every credential."""

    def now(self) -> datetime:
        """Atlas's time, UTC."""

    def project(self, credentials: Credentials, group_id: str) -> Project:
        """Return the project under these credentials. The same arguments return the same project."""


class Invites(Protocol):
    """The custom resources. Writes are conditional on the resource version, and change only our parts of the object.

    Every method raises ``ClusterUnavailable`` if the response of the API server is unusable or missing. Every write
    raises ``WriteRefused`` if the API server rejects it.
    """

    async def list_all(self) -> Listed:
        """Return every watched object, complete and consistent in each namespace that can be listed."""

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Add our finalizer. Raises ``Stale`` if the object has changed or is gone."""

    async def remove_finalizer(self, resource: Resource) -> Resource:
        """Remove our finalizer. Raises ``Stale`` if the object has changed or is gone."""

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Write the whole status (wire form). Raises ``Stale`` if the object has changed or is gone."""


class Events(Protocol):
    """Kubernetes Events."""

    def publish(self, resource: Resource, notice: Notice) -> None:
        """Publish an event about an object, in the background. An event that cannot be published is logged and lost."""


class References(Protocol):
    """The objects that a spec refers to, and the namespace of an object.

    Every method raises ``ClusterUnavailable`` if the API server does not respond.
    """

    async def credentials(self, secret: Key) -> StoredCredentials:
        """Read and parse a Secret. Raises ``Failure`` (SecretNotFound, SecretInvalid)."""

    async def group_id(self, project: Key) -> str:
        """Return ``.status.id`` of an AtlasProject of MongoDB's operator. Raises ``Failure`` (ProjectNotReady)."""

    async def is_ending(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted, or False if the operator may not read the namespace."""
