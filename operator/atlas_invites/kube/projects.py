"""The official operator's ``AtlasProject`` objects, which know the id of their Atlas project."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import ApiException, CustomObjectsApi

from atlas_invites.failures import Failure
from atlas_invites.invitation.outcome import Reason
from atlas_invites.kube.connection import REQUEST_TIMEOUT, cluster_errors

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

    from atlas_invites.invitation.resource import Key

_GROUP, _VERSION, _PLURAL = "atlas.mongodb.com", "v1", "atlasprojects"
_ID = re.compile(r"[a-f0-9]{24}")


class Projects:
    """Reads ``AtlasProject`` objects by name. Their CRD need not be installed."""

    def __init__(self, client: ApiClient) -> None:
        self._api = CustomObjectsApi(client)

    async def group_id(self, project: Key) -> str:
        """Return ``.status.id``.

        Raises:
            Failure: ProjectNotReady: there is no such object, or it has no id yet, or it may not be read.
            ClusterUnavailable: the API server did not answer as it should.
        """
        with cluster_errors(f"reading the AtlasProject {project}"):
            try:
                answer: Any = await self._api.get_namespaced_custom_object(
                    _GROUP, _VERSION, project.namespace, _PLURAL, project.name, _request_timeout=REQUEST_TIMEOUT
                )
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    raise _not_ready(project, "does not exist in this namespace; create it, or use groupId") from None
                if error.status == HTTPStatus.FORBIDDEN:
                    raise _not_ready(project, "may not be read by the operator; its RBAC lacks get on it") from None
                raise
        id_ = (answer.get("status") or {}).get("id")
        if not isinstance(id_, str) or not _ID.fullmatch(id_):
            raise _not_ready(project, "has no project id in its status yet")
        return id_


def _not_ready(project: Key, what: str) -> Failure:
    return Failure(Reason.PROJECT_NOT_READY, f"The AtlasProject {project.name} (spec.projectRef) {what}.")
