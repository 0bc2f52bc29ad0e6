"""Credentials in Secrets, in the format of the official MongoDB Atlas Kubernetes operator."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from kubernetes.aio.client import ApiException

from atlas_invites.failures import Failure
from atlas_invites.invitation.credentials import Allowed, StoredCredentials, parse
from atlas_invites.invitation.outcome import Reason
from atlas_invites.kube.connection import cluster_errors, get

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

    from atlas_invites.invitation.resource import Key

_PATH = "/api/v1/namespaces/{namespace}/secrets/{name}"


class Secrets:
    """Reads Secrets, one by name at a time: the operator may ``get`` them, no more.

    Not by ``CoreV1Api``: its import alone costs 24 MiB.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def credentials(self, secret: Key) -> StoredCredentials:
        """Read and parse a Secret.

        Raises:
            Failure: SecretNotFound or SecretInvalid; the message names the key, never a value.
            ClusterUnavailable: the API server did not answer as it should.
        """
        with cluster_errors(f"reading the Secret {secret}"):
            try:
                answer = await get(self._client, _PATH, {"namespace": secret.namespace, "name": secret.name})
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    raise Failure(
                        Reason.SECRET_NOT_FOUND,
                        f"The Secret {secret.name} with the Atlas credentials does not exist in this namespace; "
                        "create it.",
                    ) from None
                if error.status == HTTPStatus.FORBIDDEN:
                    raise Failure(
                        Reason.SECRET_NOT_FOUND,
                        f"The operator may not read the Secret {secret.name} with the Atlas credentials: "
                        "its RBAC lacks get on secrets in this namespace.",
                        certain=False,
                    ) from None
                raise
        try:
            credentials = parse({key: str(value) for key, value in (answer.get("data") or {}).items()})
        except ValueError as error:
            raise Failure(
                Reason.SECRET_INVALID, f"The Secret {secret.name} with the Atlas credentials cannot be used: {error}."
            ) from None
        annotations = answer["metadata"].get("annotations") or {}
        return StoredCredentials(credentials, Allowed.by({key: str(value) for key, value in annotations.items()}))
