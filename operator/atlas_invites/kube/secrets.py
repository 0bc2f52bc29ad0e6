"""Credentials in Secrets, in the format of the official MongoDB Atlas Kubernetes operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubernetes.aio.client import ApiException, CoreV1Api

from atlas_invites.invitation.credentials import parse
from atlas_invites.invitation.outcome import Failure, Reason
from atlas_invites.kube.connection import REQUEST_TIMEOUT, cluster_errors

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.resource import Key

_NOT_FOUND, _FORBIDDEN = 404, 403


class Secrets:
    """Reads Secrets, one by name at a time: the operator may ``get`` them, no more."""

    def __init__(self, client: ApiClient) -> None:
        self._api = CoreV1Api(client)

    async def credentials(self, secret: Key) -> Credentials:
        """Read and parse a Secret.

        Raises:
            Failure: SecretNotFound or SecretInvalid; the message names the key, never a value.
            ClusterUnavailable: the API server did not answer as it should.
        """
        with cluster_errors(f"reading the Secret {secret}"):
            try:
                answer = await self._api.read_namespaced_secret(
                    secret.name, secret.namespace, _request_timeout=REQUEST_TIMEOUT
                )
            except ApiException as error:
                if error.status == _NOT_FOUND:
                    raise Failure(
                        Reason.SECRET_NOT_FOUND,
                        f"The Secret {secret.name} (spec.connectionSecretRef) does not exist in this namespace; "
                        "create it.",
                    ) from None
                if error.status == _FORBIDDEN:
                    raise Failure(
                        Reason.SECRET_NOT_FOUND,
                        f"The operator may not read the Secret {secret.name} (spec.connectionSecretRef): "
                        "its RBAC lacks get on secrets in this namespace.",
                        certain=False,
                    ) from None
                raise
        try:
            return parse({key: str(value) for key, value in (answer.data or {}).items()})
        except ValueError as error:
            raise Failure(
                Reason.SECRET_INVALID, f"The Secret {secret.name} (spec.connectionSecretRef) cannot be used: {error}."
            ) from None
