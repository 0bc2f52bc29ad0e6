"""``atlas-invites export``: a project's pending invitations as manifests, to be taken over as they are."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from atlas_invites.invitation.credentials import ApiKey, ServiceAccount
from atlas_invites.invitation.email import email_fault, email_key
from atlas_invites.invitation.model import Membership
from atlas_invites.invitation.resource import GROUP, KIND, VERSION
from atlas_invites.settings import AtlasUrl  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Invitation

ROLES = frozenset(
    {
        "GROUP_BACKUP_MANAGER",
        "GROUP_CLUSTER_MANAGER",
        "GROUP_DATA_ACCESS_ADMIN",
        "GROUP_DATA_ACCESS_READ_ONLY",
        "GROUP_DATA_ACCESS_READ_WRITE",
        "GROUP_DATABASE_ACCESS_ADMIN",
        "GROUP_OBSERVABILITY_VIEWER",
        "GROUP_OWNER",
        "GROUP_READ_ONLY",
        "GROUP_SEARCH_INDEX_EDITOR",
        "GROUP_STREAM_PROCESSING_OWNER",
    }
)
"""The roles that the custom resource can ask for."""

_API_KEY = ("MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY")
_SERVICE_ACCOUNT = ("MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET")
_NAME = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
_NAME_LENGTH, _HASH_LENGTH = 50, 8

Name = Annotated[str, Field(pattern=_NAME, max_length=253)]


class ExportSettings(BaseSettings):
    """The flags of ``atlas-invites export``."""

    model_config = SettingsConfigDict(env_prefix="ATLAS_INVITES_", frozen=True, hide_input_in_errors=True)

    group_id: str = Field(pattern=r"^[a-f0-9]{24}$", description="id of the Atlas project, 24 hex digits")
    namespace: Name | None = Field(None, description="namespace of the manifests; they name none by default")
    secret_name: Name = Field("atlas-credentials", description="name of the Secret that the manifests refer to")
    atlas_url: AtlasUrl = Field("https://cloud.mongodb.com", description="host of the Atlas API")


_PARTIAL = "# Some entries of the project's lists cannot be read: a pending invitation may be missing here.\n"


@dataclass(frozen=True, slots=True)
class Export:
    """What was found: manifests as YAML documents; and whether every invitation could be expressed as one."""

    text: str
    complete: bool


def credentials_of(environment: Mapping[str, str]) -> Credentials:
    """Return the credentials that environment variables hold, an API key or a service account.

    Raises:
        ValueError: there are none, half a pair, or both pairs. The message names the variables, never a value.
    """
    found = {name for name in (*_API_KEY, *_SERVICE_ACCOUNT) if environment.get(name)}
    if found == set(_API_KEY):
        return ApiKey(*(environment[name] for name in _API_KEY))
    if found == set(_SERVICE_ACCOUNT):
        return ServiceAccount(*(environment[name] for name in _SERVICE_ACCOUNT))
    pairs = " or ".join(" and ".join(pair) for pair in (_API_KEY, _SERVICE_ACCOUNT))
    raise ValueError(f"no credentials: set {pairs}, one pair and not both")


async def export(settings: ExportSettings, credentials: Credentials) -> Export:
    """Read the project's pending invitations, those of both APIs, and return them as manifests.

    Raises:
        Failure: Atlas did not show them.
    """
    from atlas_invites.atlas.client import Atlas  # noqa: PLC0415 - help and bad settings answer at once

    async with Atlas(settings.atlas_url) as atlas:
        snapshot = await atlas.project(credentials, settings.group_id).snapshot(time.monotonic())
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
    if unknown := sorted(set(invitation.roles) - ROLES):
        yield f"the resource has no role {', '.join(json.dumps(role) for role in unknown)}"
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
