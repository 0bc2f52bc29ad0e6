"""Which credentials, which project: what an object's references resolve to."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from atlas_invites.invitation.outcome import ClusterUnavailable, Failure, Reason
from atlas_invites.invitation.resource import Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.controller.polled import Polled
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Spec
    from atlas_invites.invitation.resource import Resource

T = TypeVar("T")


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


class Access:
    """Resolves credentials and project ids, each polled once for all objects that name them."""

    def __init__(
        self, secrets: Polled[Key, Credentials], projects: Polled[Key, str], clock: Callable[[], float]
    ) -> None:
        self._secrets = secrets
        self._projects = projects
        self._clock = clock

    async def with_credentials(
        self, resource: Resource, spec: Spec, since: float, act: Callable[[Credentials], Awaitable[T]]
    ) -> T:
        """Do something with the object's credentials; where Atlas rejects them, read the Secret again, once.

        A key that is dead for a thousand objects is read again each ``ANEW`` seconds at most, not a thousand times.

        Args:
            resource: the object.
            spec: its spec.
            since: a Secret that was read before this time (monotonic seconds) is worth reading again.
            act: what to do.

        Raises:
            Failure: the Secret's, or what ``act`` raises.
        """
        secret = secret_of(resource, spec)
        credentials = await self._secrets.get(secret)
        try:
            return await act(credentials)
        except Failure as failure:
            if failure.reason is not Reason.CREDENTIALS_REJECTED:
                raise
            renewed = await self._secrets.get_anew(secret, since=since)
            if renewed == credentials:
                raise
        return await act(renewed)

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
