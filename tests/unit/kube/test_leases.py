"""The Lease object at the API server."""

from __future__ import annotations

import pytest

from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.kube.leases import LeaseObject, Record
from tests.unit.kube.server import always, api_server


async def test_a_namespace_that_is_not_there_is_named() -> None:
    """Creating the Lease where there is no such namespace is no lost race: the message says what is wrong."""
    async with api_server(always(404)) as client:
        with pytest.raises(ClusterUnavailable, match=r"operatrs/atlas-invites: no such namespace"):
            await LeaseObject(client, "operatrs").write(Record("one"), taken=True)


async def test_a_lease_that_has_gone_meanwhile_is_stale() -> None:
    """404 to a renewal is a lost race."""
    async with api_server(always(404)) as client:
        with pytest.raises(Stale):
            await LeaseObject(client, "operators").write(Record("one", version="1"), taken=False)


async def test_a_lease_that_another_one_has_created_is_stale() -> None:
    """409 to a creation is a lost race."""
    async with api_server(always(409)) as client:
        with pytest.raises(Stale):
            await LeaseObject(client, "operators").write(Record("one"), taken=True)


async def test_no_lease_is_none() -> None:
    """404 to a read says that there is none yet."""
    async with api_server(always(404)) as client:
        assert await LeaseObject(client, "operators").read() is None
