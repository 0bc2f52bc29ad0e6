"""The phase that resolves the project and the credentials of an object, and renews credentials that Atlas rejects."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.claim import leads_elsewhere
from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.refusal import Request
from atlas_invites.invitation.resource import Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.polled import Polled
    from atlas_invites.invitation.credentials import Credentials, StoredCredentials
    from atlas_invites.invitation.model import Spec
    from atlas_invites.invitation.resource import Resource

_LEADS_ELSEWHERE = (
    "The AtlasProject {name} (spec.projectRef) now has the id of another Atlas project than the one that has this "
    "invitation, so the operator does nothing. To invite into the new project, delete and recreate this object."
)

_NAMES_NONE = (
    "This object names no Secret with Atlas credentials, and the operator has no default Secret. Add "
    "spec.connectionSecretRef, or ask an administrator to start the operator with --default-secret."
)
_IN_ANOTHER_NAMESPACE = (
    "{secret} is not available to the namespace {namespace} for the Atlas project {group_id}. Ask its owner to check "
    "that it exists and holds valid credentials, that its annotations atlasinvites.io/allowed-namespaces and "
    "atlasinvites.io/allowed-projects allow this use, and that the operator may read it."
)
"""The only message about a Secret in another namespace. The cause would reveal what is in that namespace."""
_IN_THIS_NAMESPACE = (
    "The Secret {name} may not be used for the Atlas project {group_id}: {why}. Correct the annotation, or name "
    "another Secret."
)

log = logging.getLogger(__name__)


async def resolve(attempt: Attempt) -> Outcome | None:
    """Resolve the project and the credentials of a live object.

    Raises:
        Failure: the Secret or the AtlasProject cannot be used.
    """
    access, resource, spec = attempt.collaborators.access, attempt.resource, attempt.spec
    group_id = await access.group_id(resource, spec)
    attempt.credentials = await access.credentials(resource, spec, group_id)
    if leads_elsewhere(spec, attempt.known, group_id):
        name = spec.project_ref and spec.project_ref.name
        return Outcome(Reason.PROJECT_NOT_READY, _LEADS_ELSEWHERE.format(name=name))
    attempt.claims.resolve(resource, group_id)
    attempt.request = Request.of(resource, attempt.credentials)
    attempt.resolve(attempt.collaborators.atlas.project(attempt.credentials, group_id))
    return None


async def place_claim(attempt: Attempt) -> None:
    """Claim what the object names in the project that its ``projectRef`` leads to, without a call to Atlas.

    Raises:
        ClusterUnavailable: the AtlasProject cannot be read now.
    """
    claims, resource = attempt.claims, attempt.resource
    if not claims.is_named(resource.key):
        with suppress(Failure):
            claims.resolve(resource, await attempt.collaborators.access.group_id(resource, attempt.spec))
    claims.mark_evaluated(resource.key)


async def resolve_to_clean_up(attempt: Attempt) -> None:
    """Resolve the project and the credentials of a deleted object. If they cannot be read, use those last read.

    Raises:
        Failure: the Secret or the AtlasProject cannot be used, and what was last read of it is not held.
    """
    access, resource, spec = attempt.collaborators.access, attempt.resource, attempt.spec
    group_id = attempt.known.invitation.group_id if attempt.known.invitation else None
    if group_id is None:
        try:
            group_id = await access.group_id(resource, spec)
        except Failure:
            group_id = access.last_group_id(resource, spec)
            if group_id is None:
                attempt.is_secret_lost |= await access.has_lost_secret(resource, spec)
                raise
    try:
        attempt.credentials = await access.credentials(resource, spec, group_id)
    except Failure as failure:
        attempt.is_secret_lost |= failure.certain
        attempt.credentials = access.last_credentials(resource, spec, group_id)
        if attempt.credentials is None:
            raise
    attempt.resolve(attempt.collaborators.atlas.project(attempt.credentials, group_id))


async def renew_credentials(attempt: Attempt) -> bool:
    """Read the Secret again, once, because Atlas rejected its credentials. Return whether the credentials changed.

    Raises:
        Failure: the Secret can no longer be used.
    """
    if attempt.credentials is None or attempt.has_renewed:
        return False
    attempt.has_renewed, rejected = True, attempt.credentials
    try:
        attempt.credentials = await attempt.collaborators.access.renewed(
            attempt.resource, attempt.spec, attempt.project.group_id, attempt.since
        )
    except Failure as failure:
        if not attempt.resource.deleting:
            raise
        attempt.is_secret_lost |= failure.certain
    return attempt.credentials != rejected


class Access:
    """Resolves credentials and project ids. Each Secret and AtlasProject is read once for all objects that name it.

    Each use checks whether the object may use the Secret, because the cache is shared by all namespaces.

    Args:
        secrets: the cache of Secrets.
        projects: the cache of AtlasProjects.
        endings: the cache of which namespaces are being deleted.
        clock: monotonic seconds.
        default_secret: the Secret of objects that name none, if there is one.
    """

    def __init__(
        self,
        secrets: Polled[Key, StoredCredentials],
        projects: Polled[Key, str],
        endings: Polled[str, bool],
        clock: Callable[[], float],
        default_secret: Key | None = None,
    ) -> None:
        self._secrets = secrets
        self._projects = projects
        self._endings = endings
        self._clock = clock
        self._default_secret = default_secret

    async def credentials(self, resource: Resource, spec: Spec, group_id: str) -> Credentials:
        """Return the credentials of the object for a project.

        Raises:
            Failure: SecretNotFound, SecretInvalid, SecretNotAllowed.
            ClusterUnavailable: the Secret cannot be read now.
        """
        return await self._allowed(resource, spec, group_id, self._secrets.get)

    async def renewed(self, resource: Resource, spec: Spec, group_id: str, since: float) -> Credentials:
        """Return the credentials of the object, read again because Atlas rejects those in use.

        A Secret is read again at most once in ``REREAD_INTERVAL`` seconds, for all its objects together.

        Args:
            resource: the object.
            spec: its spec.
            group_id: the id of the project.
            since: a Secret that was read before this time (monotonic seconds) is read again.

        Raises:
            Failure, ClusterUnavailable: as above.
        """
        return await self._allowed(resource, spec, group_id, lambda secret: self._secrets.reread(secret, since=since))

    async def _allowed(
        self, resource: Resource, spec: Spec, group_id: str, read: Callable[[Key], Awaitable[StoredCredentials]]
    ) -> Credentials:
        """Return the credentials that ``read`` returns for the object's Secret, if the object may use them."""
        secret = self.secret_of(resource, spec)
        if secret is None:
            raise Failure(Reason.SECRET_NOT_FOUND, _NAMES_NONE)
        namespace = resource.key.namespace
        try:
            stored = await read(secret)
            why = stored.allowed.refusal(secret.namespace, namespace, group_id)
        except Failure as failure:
            if secret.namespace == namespace:
                raise
            why = failure.message
        else:
            if why is None:
                return stored.credentials
        ready = resource.status.condition(READY)
        is_known = ready is not None and ready.reason == Reason.SECRET_NOT_ALLOWED
        level = logging.DEBUG if is_known else logging.INFO
        log.log(level, "the Secret %s cannot be used: %s", secret, why, extra={"object": resource.key})
        if secret.namespace == namespace:
            message = _IN_THIS_NAMESPACE.format(name=secret.name, group_id=group_id, why=why)
        else:
            name = f"The Secret {secret} (spec.connectionSecretRef)"
            named = "The operator's default Secret" if spec.connection_secret_ref is None else name
            message = _IN_ANOTHER_NAMESPACE.format(secret=named, namespace=namespace, group_id=group_id)
        raise Failure(Reason.SECRET_NOT_ALLOWED, message)

    async def has_lost_secret(self, resource: Resource, spec: Spec) -> bool:
        """Return whether the object has no Secret, or one in its own namespace that is gone or invalid.

        Raises:
            ClusterUnavailable: the Secret cannot be read now.
        """
        secret = self.secret_of(resource, spec)
        if secret is None:
            return True
        if secret.namespace == resource.key.namespace:
            try:
                await self._secrets.get(secret)
            except Failure as failure:
                return failure.certain
        return False

    async def refresh(self, secret: Key) -> None:
        """Read a Secret again. If it has changed, the objects that name it are requeued."""
        with suppress(Failure, ClusterUnavailable):
            await self._secrets.get(secret, since=self._clock())

    def last_credentials(self, resource: Resource, spec: Spec, group_id: str) -> Credentials | None:
        """Return the credentials last read from the object's Secret, if still held and allowed for the project.

        Return None for a Secret in another namespace, because it is not known whether the use is still allowed.
        """
        secret, namespace = self.secret_of(resource, spec), resource.key.namespace
        if secret is None or secret.namespace != namespace:
            return None
        stored = self._secrets.last(secret)
        if stored is None or stored.allowed.refusal(namespace, namespace, group_id) is not None:
            return None
        return stored.credentials

    def last_group_id(self, resource: Resource, spec: Spec) -> str | None:
        """Return the id of the project: from the spec, or as last read from its AtlasProject, if still held."""
        if spec.project_ref is None:
            return spec.group_id
        return self._projects.last(Key(resource.key.namespace, spec.project_ref.name))

    async def group_id(self, resource: Resource, spec: Spec) -> str:
        """Return the id of the project.

        Raises:
            Failure: ProjectNotReady.
        """
        if spec.group_id is not None:
            return spec.group_id
        if spec.project_ref is None:
            raise Failure(Reason.INVALID_REQUEST, "The spec names no project. Set spec.groupId or spec.projectRef.")
        return await self._projects.get(Key(resource.key.namespace, spec.project_ref.name))

    async def is_ending(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted, or False if the namespace cannot be read now."""
        try:
            return await self._endings.get(namespace)
        except ClusterUnavailable:
            return False

    def secret_of(self, resource: Resource, spec: Spec) -> Key | None:
        """Return the Secret with the credentials of the object: the one that it names, else the default Secret."""
        named = spec.connection_secret_ref
        return self._default_secret if named is None else Key(named.namespace or resource.key.namespace, named.name)

    def names_secret(self, secret: Key) -> Callable[[Resource], bool]:
        """Return a predicate for the objects whose credentials are in that Secret."""
        return lambda r: (spec := r.readable_spec) is not None and self.secret_of(r, spec) == secret


def names_project(project: Key) -> Callable[[Resource], bool]:
    """Return a predicate for the objects that refer to that AtlasProject."""
    return lambda r: (
        (spec := r.readable_spec) is not None
        and spec.project_ref is not None
        and Key(r.key.namespace, spec.project_ref.name) == project
    )


def project_of(resource: Resource | None) -> str:
    """Return a key for the project that an object names. It is cheap, and works for an invalid spec too."""
    if resource is None:
        return ""
    spec = json.loads(resource.spec_json)
    named = (spec.get("groupId"), spec.get("projectRef")) if isinstance(spec, dict) else (None, None)
    return str(named[0] or f"{resource.key.namespace}/{named[1]}")
