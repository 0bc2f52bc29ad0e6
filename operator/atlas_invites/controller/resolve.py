"""The phase that resolves the project and the credentials of an object, and what happens if Atlas rejects these."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.claim import leads_elsewhere
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.refusal import Request
from atlas_invites.invitation.resource import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.polled import Polled
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Spec
    from atlas_invites.invitation.resource import Resource

_LEADS_ELSEWHERE = (
    "The AtlasProject {name} leads to another Atlas project than the one that holds this invitation, so nothing "
    "is done. To invite into the new project, delete and recreate this object."
)


async def resolve(attempt: Attempt) -> Outcome | None:
    """Resolve the project and the credentials of a live object.

    Raises:
        Failure: the Secret or the AtlasProject cannot be used.
    """
    access, resource, spec = attempt.collaborators.access, attempt.resource, attempt.spec
    if attempt.credentials is None:
        attempt.credentials = await access.credentials(resource, spec)
    group_id = await access.group_id(resource, spec)
    if leads_elsewhere(spec, attempt.known, group_id):
        name = spec.project_ref and spec.project_ref.name
        return Outcome(Reason.PROJECT_NOT_READY, _LEADS_ELSEWHERE.format(name=name))
    attempt.claims.resolve(resource, group_id)
    attempt.request = Request.of(resource, attempt.credentials)
    attempt.resolve(attempt.collaborators.atlas.project(attempt.credentials, group_id))
    return None


async def resolve_to_clean_up(attempt: Attempt) -> None:
    """Resolve the project and the credentials of a deleted object: what was last read counts if it cannot be read now.

    Raises:
        Failure: the Secret or the AtlasProject cannot be used, and nothing of it is held.
    """
    access, resource, spec = attempt.collaborators.access, attempt.resource, attempt.spec
    if attempt.credentials is None:
        try:
            attempt.credentials = await access.credentials(resource, spec)
        except Failure as failure:
            if not _is_of_the_secret(failure):
                raise
            attempt.is_secret_lost |= failure.certain
            attempt.credentials = access.last_credentials(resource, spec)
            if attempt.credentials is None:
                raise
    group_id = attempt.known.invitation.group_id if attempt.known.invitation else None
    if group_id is None:
        try:
            group_id = await access.group_id(resource, spec)
        except Failure:
            group_id = access.last_group_id(resource, spec)
            if group_id is None:
                raise
    attempt.resolve(attempt.collaborators.atlas.project(attempt.credentials, group_id))


async def renew_credentials(attempt: Attempt) -> bool:
    """Read the Secret again, once, because Atlas rejected its credentials. Return whether it holds others now.

    Raises:
        Failure: the Secret cannot be used any more.
    """
    if attempt.credentials is None or attempt.has_renewed:
        return False
    attempt.has_renewed, rejected = True, attempt.credentials
    try:
        attempt.credentials = await attempt.collaborators.access.renewed(attempt.resource, attempt.spec, attempt.since)
    except Failure as failure:
        if not attempt.resource.deleting or not _is_of_the_secret(failure):
            raise
        attempt.is_secret_lost |= failure.certain
    return attempt.credentials != rejected


def _is_of_the_secret(failure: Failure) -> bool:
    return failure.reason in {Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID}


class Access:
    """Resolves credentials and project ids, each polled once for all objects that name them."""

    def __init__(
        self, secrets: Polled[Key, Credentials], projects: Polled[Key, str], clock: Callable[[], float]
    ) -> None:
        self._secrets = secrets
        self._projects = projects
        self._clock = clock

    async def credentials(self, resource: Resource, spec: Spec) -> Credentials:
        """Return the object's credentials.

        Raises:
            Failure: SecretNotFound, SecretInvalid.
            ClusterUnavailable: the Secret cannot be read now.
        """
        return await self._secrets.get(secret_of(resource, spec))

    async def renewed(self, resource: Resource, spec: Spec, since: float) -> Credentials:
        """Return the object's credentials, read again because Atlas rejects those in use.

        A Secret is read again once in ``REREAD_INTERVAL`` seconds, for however many objects.

        Args:
            resource: the object.
            spec: its spec.
            since: a Secret that was read before this time (monotonic seconds) is worth reading again.

        Raises:
            Failure, ClusterUnavailable: as above.
        """
        return await self._secrets.reread(secret_of(resource, spec), since=since)

    async def refresh(self, secret: Key) -> None:
        """Read a Secret again, so that those who name it are woken if it has changed."""
        with suppress(Failure, ClusterUnavailable):
            await self._secrets.get(secret, since=self._clock())

    def last_credentials(self, resource: Resource, spec: Spec) -> Credentials | None:
        """Return the credentials last read from the object's Secret, if still held."""
        return self._secrets.last(secret_of(resource, spec))

    def last_group_id(self, resource: Resource, spec: Spec) -> str | None:
        """Return the project's id: the spec's, or the one last read from its AtlasProject, if still held."""
        if spec.project_ref is None:
            return spec.group_id
        return self._projects.last(Key(resource.key.namespace, spec.project_ref.name))

    async def group_id(self, resource: Resource, spec: Spec) -> str:
        """Return the project's id.

        Raises:
            Failure: ProjectNotReady.
        """
        if spec.group_id is not None:
            return spec.group_id
        if spec.project_ref is None:
            raise Failure(Reason.INVALID_REQUEST, "The spec names no project: give it groupId or projectRef.")
        return await self._projects.get(Key(resource.key.namespace, spec.project_ref.name))


def names_secret(secret: Key) -> Callable[[Resource], bool]:
    """Return a test for the objects whose credentials are in that Secret."""
    return lambda r: (spec := r.readable_spec) is not None and secret_of(r, spec) == secret


def names_project(project: Key) -> Callable[[Resource], bool]:
    """Return a test for the objects that refer to that AtlasProject."""
    return lambda r: (
        (spec := r.readable_spec) is not None
        and spec.project_ref is not None
        and Key(r.key.namespace, spec.project_ref.name) == project
    )


def secret_of(resource: Resource, spec: Spec) -> Key:
    """Return the Secret that holds the object's credentials."""
    return Key(resource.key.namespace, spec.connection_secret_ref.name)


def project_of(resource: Resource | None) -> str:
    """Return a name for the project that an object names, cheaply, and whatever its spec is."""
    if resource is None:
        return ""
    spec = json.loads(resource.spec_json)
    named = (spec.get("groupId"), spec.get("projectRef")) if isinstance(spec, dict) else (None, None)
    return str(named[0] or f"{resource.key.namespace}/{named[1]}")
