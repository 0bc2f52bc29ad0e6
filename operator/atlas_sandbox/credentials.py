"""API keys and service accounts: which projects they can see, with which role, and from which addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from atlas_sandbox.errors import AtlasError

Kind = Literal["apiKey", "serviceAccount"]


class Role(IntEnum):
    """The project roles that a call may need. Each role includes the ones before it."""

    READ_ONLY = 0
    ACCESS_MANAGER = 1
    OWNER = 2


@dataclass(slots=True)
class Credential:
    """One API key (`id` is the public key) or service account (`id` is the client id)."""

    kind: Kind
    id: str
    secret: str = field(repr=False)
    projects: frozenset[str] | None = None
    """The projects that it can see; None for all."""
    project_owner: bool = True
    """Whether it has the role Project Owner in them."""
    access_manager: bool = False
    """Whether it has the role Project Access Manager in them. Without either role it has Project Read Only."""
    access_list: tuple[IPv4Network | IPv6Network, ...] | None = None
    """The addresses that it may call from; None if no list is required."""

    def check_address(self, client: str) -> None:
        """Check that the caller's address is in the access list.

        Raises:
            AtlasError: 403 IP_ADDRESS_NOT_ON_ACCESS_LIST.
        """
        if self.access_list is None:
            return
        try:
            address = ip_address(client)
        except ValueError:
            allowed = False
        else:
            allowed = any(address in network for network in self.access_list)
        if not allowed:
            raise AtlasError("IP_ADDRESS_NOT_ON_ACCESS_LIST", client)

    @property
    def role(self) -> Role:
        """The role in the projects that it can see."""
        if self.project_owner:
            return Role.OWNER
        return Role.ACCESS_MANAGER if self.access_manager else Role.READ_ONLY

    def check_project(self, project_id: str, needs: Role) -> None:
        """Check that the credential can see one project, and has the role that the call needs.

        Raises:
            AtlasError: 404 NOT_IN_GROUP: it cannot see the project; 403 USER_UNAUTHORIZED: it lacks the role.
        """
        if self.projects is not None and project_id not in self.projects:
            raise AtlasError("NOT_IN_GROUP", project_id)
        if self.role < needs:
            raise AtlasError("USER_UNAUTHORIZED")


class Credentials:
    """Every credential, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Credential] = {}

    def add(self, credential: Credential) -> None:
        """Add a credential, or replace the one of the same id."""
        self._by_id[credential.id] = credential

    def remove(self, credential_id: str) -> bool:
        """Remove a credential, and return whether it existed."""
        return self._by_id.pop(credential_id, None) is not None

    def get(self, credential_id: str) -> Credential | None:
        """Return the credential with this id."""
        return self._by_id.get(credential_id)

    def of(self, kind: Kind, credential_id: str) -> Credential | None:
        """Return the credential with this kind and id."""
        credential = self._by_id.get(credential_id)
        return credential if credential is not None and credential.kind == kind else None

    def all(self) -> list[Credential]:
        """Return every credential."""
        return list(self._by_id.values())
