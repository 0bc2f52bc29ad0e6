"""Reads what a spec refers to: Secrets with credentials, and ``AtlasProject`` objects of MongoDB's own operator.

It also reads the namespace of an object.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import ApiClient, ApiException

from atlas_invites.failures import Failure
from atlas_invites.invitation.credentials import Allowed, StoredCredentials, parse
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import Key
from atlas_invites.kube.connection import REQUEST_TIMEOUT, cluster_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRET = "/api/v1/namespaces/{namespace}/secrets/{name}"  # noqa: S105 - a path
_PROJECT = "/apis/atlas.mongodb.com/v1/namespaces/{namespace}/atlasprojects/{name}"
_NAMESPACE = "/api/v1/namespaces/{name}"
_ID = re.compile(r"[a-f0-9]{24}")


class References:
    """Reads single objects by name: the operator has only the right to ``get`` them.

    It does not use ``CoreV1Api``, because the import costs 24 MiB.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def credentials(self, secret: Key) -> StoredCredentials:
        """Read and parse a Secret.

        Raises:
            Failure: SecretNotFound or SecretInvalid. The message names the key, never a value.
            ClusterUnavailable: the API server did not respond as it should.
        """
        missing = Failure(
            Reason.SECRET_NOT_FOUND,
            f"The Secret {secret.name} with the Atlas credentials does not exist in this namespace; create it.",
        )
        forbidden = Failure(
            Reason.SECRET_NOT_FOUND,
            f"The operator may not read the Secret {secret.name} with the Atlas credentials: "
            "its RBAC lacks get on secrets in this namespace.",
            certain=False,
        )
        found = await self._get(f"the Secret {secret}", _SECRET, secret, missing, forbidden)
        try:
            credentials = parse({key: str(value) for key, value in (found.get("data") or {}).items()})
        except ValueError as error:
            raise Failure(
                Reason.SECRET_INVALID, f"The Secret {secret.name} with the Atlas credentials cannot be used: {error}."
            ) from None
        annotations = found["metadata"].get("annotations") or {}
        return StoredCredentials(credentials, Allowed.by({key: str(value) for key, value in annotations.items()}))

    async def group_id(self, project: Key) -> str:
        """Return ``.status.id`` of an AtlasProject. Its CRD need not be installed.

        Raises:
            Failure: ProjectNotReady: the object does not exist, has no id yet, or may not be read.
            ClusterUnavailable: the API server did not respond as it should.
        """
        missing = _not_ready(
            project, "does not exist in this namespace; create it, or recreate this object with groupId"
        )
        forbidden = _not_ready(
            project, "may not be read by the operator; its RBAC lacks get on atlasprojects in this namespace"
        )
        found = await self._get(f"the AtlasProject {project}", _PROJECT, project, missing, forbidden)
        id_ = (found.get("status") or {}).get("id")
        if not isinstance(id_, str) or not _ID.fullmatch(id_):
            raise _not_ready(project, "has no project id (status.id) yet; the operator waits for it")
        return id_

    async def is_ending(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted; False if it does not exist or may not be read.

        Raises:
            ClusterUnavailable: the API server did not respond as it should.
        """
        unreadable = Failure(Reason.FORBIDDEN, f"The namespace {namespace} cannot be read.", certain=False)
        try:
            found = await self._get(
                f"the namespace {namespace}", _NAMESPACE, Key(namespace, namespace), unreadable, unreadable
            )
        except Failure:
            return False
        return bool(found["metadata"].get("deletionTimestamp"))

    async def _get(self, what: str, path: str, key: Key, missing: Failure, forbidden: Failure) -> Mapping[str, Any]:
        """Return an object as the API server sends it. Raise ``missing`` for a 404 and ``forbidden`` for a 403."""
        with cluster_errors(f"reading {what}"):
            request = await self._client.param_serialize(
                method="GET",
                resource_path=path,
                path_params={"namespace": key.namespace, "name": key.name},
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(*request, _request_timeout=REQUEST_TIMEOUT)
            await response.read()  # type: ignore[no-untyped-call]
            try:
                found: Any = self._client.response_deserialize(response, {"200": "object"}).data
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    raise missing from None
                if error.status == HTTPStatus.FORBIDDEN:
                    raise forbidden from None
                raise
            if not found["metadata"]["name"]:
                raise ValueError("an object without a name")
            return dict(found)


def _not_ready(project: Key, what: str) -> Failure:
    return Failure(Reason.PROJECT_NOT_READY, f"The AtlasProject {project.name} (spec.projectRef) {what}.")
