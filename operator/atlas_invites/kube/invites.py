"""Access to the custom resources: lists, finalizer, status. Nothing else of an object is ever written."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import ApiClient, ApiException, CustomObjectsApi

from atlas_invites.failures import ClusterUnavailable, WriteRefused
from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Listed, Resource
from atlas_invites.kube.connection import MERGE_PATCH, REQUEST_TIMEOUT, cluster_errors, refusal
from atlas_invites.kube.lease import no_election

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

_PAGE = 500
_LISTING = f"listing {PLURAL}.{GROUP}"
_FORBIDDEN = "HTTP 403 Forbidden; the operator's RBAC lacks list in this namespace, or it does not exist"

log = logging.getLogger(__name__)


class Invites:
    """The ``AtlasProjectInvite`` objects of the watched namespaces; of all namespaces if none is given.

    ``gate`` is that of the lease (``Lease.time_to_write``); ``succeed`` is called after each successful list.

    Attributes:
        unserved: the namespaces whose last list failed, and why.
    """

    def __init__(
        self,
        client: ApiClient,
        namespaces: Sequence[str] = (),
        gate: Callable[[], float] = no_election,
        succeed: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = CustomObjectsApi(client)
        self._gate = gate
        self._succeed = succeed
        self.unserved: Mapping[str, str] = {}
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)

    @property
    def served(self) -> tuple[str | None, ...]:
        """The namespaces that can be listed, as far as is known; None means all."""
        return tuple(namespace for namespace in self._namespaces if namespace not in self.unserved)

    async def list_all(self) -> Listed:
        """Return every object. Each namespace is read page by page from one snapshot of the API server.

        Raises:
            ClusterUnavailable: the API server does not respond, the CRD is not installed, or no namespace may be
                listed.
        """
        return await self._each(self._list)

    async def check(self) -> None:
        """Check that each namespace can be listed, by a list of one object.

        Raises:
            ClusterUnavailable: see ``list_all``.
        """
        await self._each(self._check)

    async def add_finalizer(self, resource: Resource) -> Resource:
        """Add our finalizer; see ``ports.Invites``."""
        return await self._write_finalizers(resource, resource.with_finalizer().finalizers)

    async def remove_finalizer(self, resource: Resource) -> Resource:
        """Remove our finalizer; see ``ports.Invites``."""
        return await self._write_finalizers(resource, resource.without_finalizer().finalizers)

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Write the status as a patch of the stored one; see ``ports.Invites``."""
        patch = merge_patch(json.loads(resource.status_json), status)
        body = {"metadata": {"resourceVersion": resource.resource_version}, "status": patch}
        write = self._api.patch_namespaced_custom_object_status
        return await self._write("the status", write, resource, body)

    async def _write_finalizers(self, resource: Resource, finalizers: Sequence[str]) -> Resource:
        body = {"metadata": {"resourceVersion": resource.resource_version, "finalizers": list(finalizers)}}
        write = self._api.patch_namespaced_custom_object
        return await self._write("the finalizer", write, resource, body)

    async def _write(
        self, what: str, write: Callable[..., Awaitable[Any]], resource: Resource, body: Mapping[str, Any]
    ) -> Resource:
        """Write within the time that the gate allows. The timeout of aiohttp would be rounded up to a full second."""
        with cluster_errors(f"writing {what} of {resource.key}"):
            seconds = min(REQUEST_TIMEOUT, self._gate())
            path = (GROUP, VERSION, resource.key.namespace, PLURAL, resource.key.name)
            try:
                async with asyncio.timeout(seconds):
                    return Resource.from_body(
                        await write(*path, body, _content_type=MERGE_PATCH, _request_timeout=seconds)
                    )
            except ApiException as error:
                if (words := refusal(error)) is not None:
                    raise WriteRefused(f"to write {what}", error.status, words) from None
                raise

    async def _each(self, ask: Callable[[str | None], Awaitable[list[Resource]]]) -> Listed:
        """List each namespace separately: if one is forbidden, the others are still served."""
        resources: list[Resource] = []
        forbidden: dict[str, str] = {}
        with cluster_errors(_LISTING):
            for namespace in self._namespaces:
                try:
                    resources += await ask(namespace)
                except ApiException as error:
                    if error.status == HTTPStatus.NOT_FOUND:
                        raise ClusterUnavailable(f"{_LISTING}: the CRD is not installed; apply crds/") from None
                    if error.status != HTTPStatus.FORBIDDEN or namespace is None:
                        raise
                    forbidden[namespace] = _FORBIDDEN
        before, self.unserved = self.unserved, forbidden
        for name in forbidden.keys() - before.keys():
            log.warning("namespace %s is not served: %s", name, forbidden[name])
        for name in before.keys() - forbidden.keys():
            log.info("namespace %s is served", name)
        if len(forbidden) == len(self._namespaces):
            raise ClusterUnavailable(f"{_LISTING} in {', '.join(forbidden)}: {_FORBIDDEN}")
        return Listed(resources, frozenset(forbidden))

    async def _check(self, namespace: str | None) -> list[Resource]:
        resources, _ = await self._page(namespace, limit=1)
        return resources

    async def _list(self, namespace: str | None) -> list[Resource]:
        """List from one snapshot. If it expires between two pages, start again, once."""
        try:
            return await self._list_pages(namespace)
        except ApiException as error:
            if error.status != HTTPStatus.GONE:
                raise
        return await self._list_pages(namespace)

    async def _list_pages(self, namespace: str | None) -> list[Resource]:
        resources, token = await self._page(namespace, limit=_PAGE)
        while token:
            page, token = await self._page(namespace, limit=_PAGE, _continue=token)
            resources += page
        return resources

    async def _page(self, namespace: str | None, **options: Any) -> tuple[list[Resource], str | None]:  # noqa: ANN401
        """Return a page of a list, and the token of the next one."""
        page: Any
        options["_request_timeout"] = REQUEST_TIMEOUT
        if namespace is None:
            page = await self._api.list_cluster_custom_object(GROUP, VERSION, PLURAL, **options)
        else:
            page = await self._api.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, **options)
        resources = [Resource.from_body(item) for item in page["items"]]
        token = page["metadata"].get("continue")
        self._succeed()
        return resources, token


def watch_path(namespace: str | None) -> str:
    """Return the API path of the objects in a namespace, or in all; lists and watches use it."""
    where = "" if namespace is None else f"/namespaces/{namespace}"
    return f"/apis/{GROUP}/{VERSION}{where}/{PLURAL}"


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) that turns ``old`` into ``new``: null removes a field."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        patch[key] = merge_patch(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return patch
