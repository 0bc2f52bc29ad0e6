"""What the engine needs of Atlas and of Kubernetes; ``atlas`` and ``kube`` satisfy these Protocols."""

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
    """What a project held at one moment. Unconfirmed: lists lag."""

    def find(self, target: Target) -> Observation:
        """Return every candidate for a target."""


class Entries(Protocol[E_co]):
    """What could be read of a list."""

    @property
    def complete(self) -> bool:
        """Whether the id and the e-mail of every entry could be read."""

    @property
    def read(self) -> tuple[E_co, ...]:
        """The entries that could be read."""


class Project(Protocol):
    """One Atlas project under one credential. Every method raises ``Failure`` where Atlas does not do it.

    None or False says that the invitation or user is not there (any more): look.
    """

    @property
    def group_id(self) -> str:
        """Its id."""

    @property
    def api(self) -> Api:
        """The API in use for this project."""

    @property
    def info(self) -> AtlasInfo:
        """The API in use and what its answers said about its end."""

    async def look(self, target: Target, since: float, enough: Callable[[Observation], bool]) -> Observation:
        """Return what Atlas shows of a target, as of ``since`` (monotonic seconds) or later: a view that is ``enough``.

        The lists are looked at first; as long as their view is not enough, the ids and the e-mail are asked for.
        """

    async def read_project(self) -> None:
        """Read the project itself: the only call whose GROUP_NOT_FOUND says that it does not exist."""

    async def snapshot(self, since: float) -> Snapshot:
        """Return all that the project holds, as of ``since`` (monotonic seconds) or later."""

    async def create_invite(self, username: str, roles: Iterable[str]) -> Invitation:
        """Send an invitation through the invites API."""

    async def add_user(self, username: str, roles: Iterable[str]) -> User:
        """Send an invitation through the users API; someone of the organisation becomes ACTIVE at once."""

    async def list_invites(self, username: str) -> Entries[Invitation]:
        """List the pending invitations of an e-mail, of the invites API."""

    async def list_users(self, username: str, *, flatten_teams: bool, include_org_users: bool) -> Entries[User]:
        """List the users of an e-mail, also those who are in by a team or the organisation."""

    async def update_invite(self, invitation_id: str, roles: Iterable[str]) -> Invitation | None:
        """Replace the roles of a pending invitation of the invites API."""

    async def cancel_invite(self, invitation_id: str) -> bool:
        """Cancel a pending invitation of the invites API."""

    async def read_user(self, user_id: str) -> User | None:
        """Read a user, whatever the membership status."""

    async def remove_user(self, user_id: str) -> bool:
        """Remove a user, pending or active."""

    async def add_role(self, user_id: str, role: str) -> User | None:
        """Add one role."""

    async def remove_role(self, user_id: str, role: str) -> User | None:
        """Remove one role; Atlas refuses the last one."""


class Atlas(Protocol):
    """Atlas, for every credential."""

    def now(self) -> datetime:
        """Atlas's time, UTC."""

    def project(self, credentials: Credentials, group_id: str) -> Project:
        """Return the project under these credentials; the same one for the same arguments."""


class Invites(Protocol):
    """The custom resources. Writes are conditional: on the resource version, and to our parts of the object alone.

    Every method raises ``ClusterUnavailable`` if the API server does not respond as it should, every write
    ``WriteRefused`` if the API server refuses it for good.
    """

    async def list_all(self) -> Listed:
        """Return every watched object, complete and consistent in each namespace that can be listed."""

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Put our finalizer on; raises ``Stale`` where the object has changed or gone."""

    async def remove_finalizer(self, resource: Resource) -> Resource:
        """Take our finalizer off; raises ``Stale`` where the object has changed or gone."""

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Write the whole status (wire form); raises ``Stale`` where the object has changed or gone."""


class Events(Protocol):
    """Kubernetes Events."""

    def publish(self, resource: Resource, notice: Notice) -> None:
        """Publish an event about an object, in the background; one that cannot be published is logged and lost."""


class References(Protocol):
    """What a spec refers to, and the namespace of an object.

    Every method raises ``ClusterUnavailable`` if the API server does not respond.
    """

    async def credentials(self, secret: Key) -> StoredCredentials:
        """Read and parse a Secret; raises ``Failure`` (SecretNotFound, SecretInvalid)."""

    async def group_id(self, project: Key) -> str:
        """Return ``.status.id`` of the official operator's AtlasProject; raises ``Failure`` (ProjectNotReady)."""

    async def is_ending(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted; not if the operator may not read it."""
