"""``atlas-invites export``: print the invitations and members of projects as manifests that adopt them unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from atlas_invites.environment import StartupError
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_invites.invitation.email import email_fault, email_key
from atlas_invites.invitation.model import ROLE, Invitation, Membership, User
from atlas_invites.invitation.resource import GROUP, KIND, VERSION
from atlas_invites.settings import AtlasUrl, Namespaces  # noqa: TC001 - pydantic reads them
from atlas_invites.terminal import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from atlas_invites.atlas.view import Snapshot

_API_KEY = ("MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY")
_SERVICE_ACCOUNT = ("MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET")
_NAME = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
_NAME_LENGTH, _HASH_LENGTH = 50, 8


def _group_id(value: str) -> str:
    if re.fullmatch(r"[a-f0-9]{24}", value) is None:
        raise ValueError("must be the id of an Atlas project, 24 lower-case hex digits")
    return value


Name = Annotated[str, Field(pattern=_NAME, max_length=253)]
GroupId = Annotated[str, AfterValidator(_group_id)]


def _group_ids(value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
    """Return a tuple of ids, for the variable (separated by commas) or for several flags."""
    return tuple(value.split(",")) if isinstance(value, str) else value


class ExportSettings(BaseSettings):
    """The flags of ``atlas-invites export``. Each is also the environment variable ``ATLAS_INVITES_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="ATLAS_INVITES_", frozen=True, hide_input_in_errors=True)

    group_id: Annotated[tuple[GroupId, ...], NoDecode, BeforeValidator(_group_ids)] = Field(
        (), description="id of the Atlas project, 24 hex digits (repeatable)"
    )
    all_projects: bool = Field(
        default=False, description="export every project that the credentials can see, instead of --group-id"
    )
    members: bool = Field(
        default=False, description="also export the members of the projects, with memberPolicy: Observe"
    )
    output_directory: Path | None = Field(
        None, description="write one file for each project into this directory; default: standard output"
    )
    namespaces: Namespaces = Field((), description="namespace of the manifests; default: none")
    secret_name: Name = Field("atlas-credentials", description="name of the Secret that the manifests refer to")
    atlas_url: AtlasUrl = Field("https://cloud.mongodb.com", description="URL of the Atlas API")

    @field_validator("namespaces")
    @classmethod
    def _is_single(cls, namespaces: tuple[str, ...]) -> tuple[str, ...]:
        if len(namespaces) > 1:
            raise ValueError("must be a single namespace: all manifests have the same one")
        return namespaces

    @model_validator(mode="after")
    def _names_projects(self) -> Self:
        if bool(self.group_id) == self.all_projects:
            raise PydanticCustomError("group_id", "set either this or --all-projects, not both")
        return self

    @property
    def namespace(self) -> str | None:
        """The namespace of the manifests, if any."""
        return next(iter(self.namespaces), None)


_PARTIAL = "# Some entries of the project's lists cannot be read: an invitation or a member may be missing here.\n"
AT_A_TIME = 10
"""The number of projects that are read concurrently."""


class ExportError(Exception):
    """Atlas did not list the projects; the message is one line for the terminal."""


@dataclass(frozen=True, slots=True)
class Export:
    """The result for one project.

    Attributes:
        group_id: the project.
        text: the manifests as YAML documents.
        complete: whether every invitation and member is in the text.
        failure: why the project could not be read, in one line for the terminal. The text is empty then.
    """

    group_id: str
    text: str
    complete: bool = True
    failure: str | None = None


def credentials_of(environment: Mapping[str, str]) -> Credentials:
    """Return the credentials in environment variables: an API key or a service account.

    Raises:
        StartupError: not exactly one pair of variables is set. The message names the variables, never a value.
    """
    found = {name for name in (*_API_KEY, *_SERVICE_ACCOUNT) if environment.get(name)}
    if found == set(_API_KEY):
        return ApiKey(*(environment[name] for name in _API_KEY))
    if found == set(_SERVICE_ACCOUNT):
        return ServiceAccount(*(environment[name] for name in _SERVICE_ACCOUNT))
    pairs = " or ".join(" and ".join(pair) for pair in (_API_KEY, _SERVICE_ACCOUNT))
    raise StartupError(f"no credentials: set {pairs}, but not both pairs")


async def export(
    settings: ExportSettings, credentials: Credentials, progress: Callable[[int, int], None] = lambda *_: None
) -> list[Export]:
    """Return the pending invitations of projects, from both APIs, as manifests; also the members if requested.

    Args:
        settings: the projects, and values for the manifests.
        credentials: of Atlas.
        progress: called with the number of projects read, and the total number.

    Raises:
        ExportError: Atlas did not list the projects.
        StartupError: the proxy of the environment cannot be used.
    """
    from atlas_invites.atlas.client import Atlas  # noqa: PLC0415 - keeps --help and errors in settings fast
    from atlas_invites.atlas.errors import AtlasFailure  # noqa: PLC0415

    logging.getLogger("atlas_invites.atlas").setLevel(logging.ERROR)  # the error says what a warning would say
    limit, done = asyncio.Semaphore(AT_A_TIME), count(1)
    async with Atlas(settings.atlas_url) as atlas:
        try:
            group_ids = settings.group_id or await atlas.project_ids(credentials)
        except AtlasFailure as failure:
            raise ExportError(explained(failure)) from None

        async def one(group_id: str) -> Export:
            async with limit:
                try:
                    snapshot = await atlas.project(credentials, group_id).snapshot(time.monotonic())
                except AtlasFailure as failure:
                    return Export(group_id, "", failure=explained(failure))
                finally:
                    progress(next(done), len(group_ids))
            return _exported(snapshot, settings, group_id, is_one_of_many=len(group_ids) > 1)

        return await asyncio.gather(*map(one, dict.fromkeys(group_ids)))


def _exported(snapshot: Snapshot, settings: ExportSettings, group_id: str, *, is_one_of_many: bool) -> Export:
    users = snapshot.users.by_id.values()
    pending = [user.as_invitation() for user in users if user.org_membership_status == Membership.PENDING]
    entries: list[Invitation | User] = [*snapshot.invitations.by_id.values(), *pending]
    if settings.members:  # the list has only direct members: nobody who is in by a team or the organization
        entries += [user for user in users if user.org_membership_status == Membership.ACTIVE]
    found = written(entries, settings, group_id, is_one_of_many=is_one_of_many)
    return found if snapshot.complete else replace(found, text=found.text + _PARTIAL, complete=False)


def written(
    entries: Iterable[Invitation | User], settings: ExportSettings, group_id: str, *, is_one_of_many: bool = False
) -> Export:
    """Return invitations and members as manifests, sorted by e-mail.

    An entry that cannot be a manifest becomes a comment. The manifest of a member only observes the roles, and its
    deletion does not remove the member. ``is_one_of_many``: other projects are exported too, so the names of the
    objects include the project.
    """
    emails: set[str] = set()
    parts, complete = [f"# Atlas project {group_id}\n"] if is_one_of_many else [], True
    for entry in sorted(entries, key=lambda entry: (entry.username or "").lower()):
        name = name_of(entry.username or "", group_id if is_one_of_many else None)
        problem = next(_problems(entry, name, emails), None)
        emails.add(email_key(entry.username or ""))
        if problem is None:
            parts.append(_manifest(entry, name, settings, group_id))
        else:
            complete = False
            what = "member" if isinstance(entry, User) else "invitation"
            # JSON keeps it on one line, whatever it contains.
            email = json.dumps(entry.username or "")
            parts.append(f"# Left out: {what} {json.dumps(entry.id)} of {email}: {problem}\n")
    return Export(group_id, "".join(parts), complete)


def name_of(email: str, group_id: str | None = None) -> str:
    """Return the object name for an e-mail. It is invalid in Kubernetes if the e-mail begins with a special character.

    If the id of the project is given, the name differs from the names for the same e-mail in other projects.
    """
    email = email.lower()
    words = re.sub(r"[^a-z0-9]+", "-", email)[:_NAME_LENGTH]
    hashed = email if group_id is None else f"{group_id}/{email}"
    return f"{words}-{hashlib.sha256(hashed.encode()).hexdigest()[:_HASH_LENGTH]}"


def _problems(entry: Invitation | User, name: str, emails: set[str]) -> Iterator[str]:
    """Yield why an invitation or a member cannot be a manifest. ``emails``: those that already have one."""
    email = entry.username or ""
    if (rule := email_fault(email)) is not None:
        yield f"the e-mail {rule}"
    elif not re.fullmatch(_NAME, name):
        yield f"the e-mail does not give a valid object name ({json.dumps(name)}); choose a name yourself"
    if email_key(email) in emails:
        yield "there is another entry for this e-mail above; one object is enough for both"
    if strange := [role for role in entry.roles if not re.fullmatch(ROLE, role)]:
        yield f"not a project role: {', '.join(map(json.dumps, strange))}"
    if not entry.roles:
        yield "it has no roles"


def _manifest(entry: Invitation | User, name: str, settings: ExportSettings, group_id: str) -> str:
    """Return one YAML document. Strings are written as JSON, which is also valid YAML for any content."""
    namespace = f"  namespace: {json.dumps(settings.namespace)}\n" if settings.namespace else ""
    roles = "".join(f"    - {role}\n" for role in entry.roles)
    is_member = isinstance(entry, User)
    policies = "  deletionPolicy: Retain\n  memberPolicy: Observe\n" if is_member else "  deletionPolicy: Cancel\n"
    return (
        "---\n"
        f"apiVersion: {GROUP}/{VERSION}\n"
        f"kind: {KIND}\n"
        "metadata:\n"
        f"  name: {json.dumps(name)}\n"
        f"{namespace}"
        "spec:\n"
        f"  groupId: {json.dumps(group_id)}\n"
        f"  username: {json.dumps(entry.username, ensure_ascii=False)}\n"
        "  roles:\n"
        f"{roles}"
        "  connectionSecretRef:\n"
        f"    name: {json.dumps(settings.secret_name)}\n"
        f"{policies}"
    )
