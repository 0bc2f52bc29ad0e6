"""``atlas-invites export``: a project's pending invitations as manifests, to be taken over as they are."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from atlas_invites.environment import StartupError
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_invites.invitation.email import email_fault, email_key
from atlas_invites.invitation.model import ROLE, Invitation, Membership
from atlas_invites.invitation.resource import GROUP, KIND, VERSION
from atlas_invites.settings import AtlasUrl, Namespaces  # noqa: TC001 - pydantic reads them
from atlas_invites.terminal import explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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


class ExportSettings(BaseSettings):
    """The flags of ``atlas-invites export``."""

    model_config = SettingsConfigDict(env_prefix="ATLAS_INVITES_", frozen=True, hide_input_in_errors=True)

    group_id: GroupId = Field(description="id of the Atlas project, 24 hex digits")
    namespaces: Namespaces = Field((), description="namespace of the manifests; they name none by default")
    secret_name: Name = Field("atlas-credentials", description="name of the Secret that the manifests refer to")
    atlas_url: AtlasUrl = Field("https://cloud.mongodb.com", description="host of the Atlas API")

    @field_validator("namespaces")
    @classmethod
    def _is_single(cls, namespaces: tuple[str, ...]) -> tuple[str, ...]:
        if len(namespaces) > 1:
            raise ValueError("must be a single namespace: the manifests are for one")
        return namespaces

    @property
    def namespace(self) -> str | None:
        """The namespace that the manifests name, if any."""
        return next(iter(self.namespaces), None)


_PARTIAL = "# Some entries of the project's lists cannot be read: a pending invitation may be missing here.\n"


class ExportError(Exception):
    """Atlas did not show the invitations; one line for the terminal."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was found: manifests as YAML documents; and whether every invitation could be expressed as one."""

    text: str
    complete: bool


def credentials_of(environment: Mapping[str, str]) -> Credentials:
    """Return the credentials that environment variables hold, an API key or a service account.

    Raises:
        StartupError: there are none, half a pair, or both pairs. The message names the variables, never a value.
    """
    found = {name for name in (*_API_KEY, *_SERVICE_ACCOUNT) if environment.get(name)}
    if found == set(_API_KEY):
        return ApiKey(*(environment[name] for name in _API_KEY))
    if found == set(_SERVICE_ACCOUNT):
        return ServiceAccount(*(environment[name] for name in _SERVICE_ACCOUNT))
    pairs = " or ".join(" and ".join(pair) for pair in (_API_KEY, _SERVICE_ACCOUNT))
    raise StartupError(f"no credentials: set {pairs}, one pair and not both")


async def export(settings: ExportSettings, credentials: Credentials) -> Export:
    """Read the project's pending invitations, those of both APIs, and return them as manifests.

    Raises:
        ExportError: Atlas did not show them.
        StartupError: the proxy of the environment cannot be used.
    """
    from atlas_invites.atlas.client import Atlas  # noqa: PLC0415 - help and bad settings answer at once
    from atlas_invites.atlas.errors import AtlasFailure  # noqa: PLC0415

    logging.getLogger("atlas_invites.atlas").setLevel(logging.ERROR)  # the error has what else a warning would say
    async with Atlas(settings.atlas_url) as atlas:
        try:
            snapshot = await atlas.project(credentials, settings.group_id).snapshot(time.monotonic())
        except AtlasFailure as failure:
            raise ExportError(explained(failure)) from None
    pending = [user for user in snapshot.users.by_id.values() if user.org_membership_status == Membership.PENDING]
    found = written([*snapshot.invitations.by_id.values(), *(user.as_invitation() for user in pending)], settings)
    return found if snapshot.complete else Export(found.text + _PARTIAL, complete=False)


def written(invitations: Iterable[Invitation], settings: ExportSettings) -> Export:
    """Return invitations as manifests, in the order of their e-mails; a comment stands for what cannot be one."""
    found = sorted(invitations, key=lambda invitation: (invitation.username or "").lower())
    emails: set[str] = set()
    parts, complete = [], True
    for invitation in found:
        problem = next(_problems(invitation, emails), None)
        emails.add(email_key(invitation.username or ""))
        if problem is None:
            parts.append(_manifest(invitation, settings))
        else:
            complete = False
            # JSON keeps it on one line, whatever Atlas calls it.
            email = json.dumps(invitation.username or "")
            parts.append(f"# Left out: invitation {json.dumps(invitation.id)} of {email}: {problem}\n")
    return Export("".join(parts), complete)


def name_of(email: str) -> str:
    """Return the name of an e-mail's object; it is none that Kubernetes takes where the e-mail begins with a sign."""
    email = email.lower()
    words = re.sub(r"[^a-z0-9]+", "-", email)[:_NAME_LENGTH]
    return f"{words}-{hashlib.sha256(email.encode()).hexdigest()[:_HASH_LENGTH]}"


def _problems(invitation: Invitation, emails: set[str]) -> Iterator[str]:
    """Yield why an invitation cannot be a manifest beside those of other e-mails."""
    email = invitation.username or ""
    if (rule := email_fault(email)) is not None:
        yield f"the e-mail {rule}"
    elif not re.fullmatch(_NAME, name_of(email)):
        yield f"the e-mail makes no object name ({json.dumps(name_of(email))}); name the object by hand"
    if email_key(email) in emails:
        yield "another invitation of this e-mail is above; one object stands for both"
    if strange := [role for role in invitation.roles if not re.fullmatch(ROLE, role)]:
        yield f"not a project role: {', '.join(map(json.dumps, strange))}"
    if not invitation.roles:
        yield "it has no roles"


def _manifest(invitation: Invitation, settings: ExportSettings) -> str:
    """Return one YAML document. A string in JSON is one in YAML, whatever is in it."""
    namespace = f"  namespace: {json.dumps(settings.namespace)}\n" if settings.namespace else ""
    roles = "".join(f"    - {role}\n" for role in invitation.roles)
    return (
        "---\n"
        f"apiVersion: {GROUP}/{VERSION}\n"
        f"kind: {KIND}\n"
        "metadata:\n"
        f"  name: {json.dumps(name_of(invitation.username or ''))}\n"
        f"{namespace}"
        "spec:\n"
        f"  groupId: {json.dumps(settings.group_id)}\n"
        f"  username: {json.dumps(invitation.username, ensure_ascii=False)}\n"
        "  roles:\n"
        f"{roles}"
        "  connectionSecretRef:\n"
        f"    name: {json.dumps(settings.secret_name)}\n"
        "  deletionPolicy: Cancel\n"
    )
