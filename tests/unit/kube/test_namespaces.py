"""Several namespaces, each separately: those that can be listed are served, the others are named and tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.kube.invites import Invites
from tests.unit.builders import body
from tests.unit.kube.server import api_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kubernetes.aio.client import ApiClient


class Namespaces:
    """An API server with an object in each namespace.

    Attributes:
        statuses: the error status of namespaces that cannot be listed.
        succeeded: how many lists have succeeded.
    """

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.succeeded = 0

    def succeed(self) -> None:
        self.succeeded += 1

    async def answer(self, request: web.Request) -> web.Response:
        namespace = request.path.split("/")[-2]
        if (status := self.statuses.get(namespace)) is not None:
            return web.json_response({}, status=status)
        return web.json_response({"metadata": {}, "items": [body(namespace=namespace)]})


@pytest.fixture
def server() -> Namespaces:
    return Namespaces()


@pytest.fixture
async def client(server: Namespaces) -> AsyncIterator[ApiClient]:
    async with api_server(server.answer) as client:
        yield client


async def test_namespaces_that_can_be_listed_are_served(
    server: Namespaces, client: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A forbidden namespace is named, once; it is served when it can be listed again."""
    caplog.set_level("INFO")
    invites = Invites(client, ["a", "b"], succeed=server.succeed)
    server.statuses = {"b": 403}
    for _ in range(3):
        listed = await invites.list_all()
        assert [resource.key.namespace for resource in listed.resources] == ["a"]
        assert listed.unlisted == {"b"}
        await invites.check()
    assert invites.served == ("a",)
    assert list(invites.unserved) == ["b"]
    assert server.succeeded == 6
    server.statuses = {}
    await invites.check()
    assert len(invites.served) == 2
    assert not invites.unserved
    assert [record.getMessage() for record in caplog.records] == [
        (
            "namespace b is not served: HTTP 403 Forbidden; the operator's RBAC lacks list in this namespace, "
            "or it does not exist"
        ),
        "namespace b is served",
    ]


@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_any_other_error_is_the_api_servers(server: Namespaces, client: ApiClient, status: int) -> None:
    """It says nothing about a namespace: all wait, and the known state is unchanged."""
    invites = Invites(client, ["a", "b"])
    server.statuses = {"b": status}
    with pytest.raises(ClusterUnavailable, match="CRD" if status == 404 else str(status)):
        await invites.list_all()
    assert invites.served == ("a", "b")


async def test_if_all_are_forbidden_there_is_nothing_to_serve(server: Namespaces, client: ApiClient) -> None:
    """The message names them."""
    invites = Invites(client, ["a", "b"], succeed=server.succeed)
    server.statuses = {"a": 403, "b": 403}
    with pytest.raises(ClusterUnavailable, match="in a, b: HTTP 403 Forbidden"):
        await invites.list_all()
    assert invites.served == ()
    assert server.succeeded == 0


async def test_a_refused_namespace_is_named_even_if_all_were_refused_first(
    server: Namespaces, client: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has its line when it is forbidden, and when it can be listed again."""
    caplog.set_level("INFO")
    invites = Invites(client, ["a", "b"])
    server.statuses = {"a": 403, "b": 403}
    with pytest.raises(ClusterUnavailable):
        await invites.check()
    server.statuses = {"b": 403}
    await invites.check()
    words = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert sorted(words[:2]) == ["namespace a is not served", "namespace b is not served"]
    assert words[2:] == ["namespace a is served"]


async def test_without_namespaces_a_403_applies_to_all(server: Namespaces, client: ApiClient) -> None:
    """An operator that watches all namespaces and may list nothing has no namespace to name."""
    invites = Invites(client)
    server.statuses = {"v1alpha1": 403}
    with pytest.raises(ClusterUnavailable, match=r"listing atlasprojectinvites\.atlasinvites\.io: HTTP 403"):
        await invites.check()
    assert invites.served == (None,)
