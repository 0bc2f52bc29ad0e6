"""The Lease object at the API server."""

from __future__ import annotations

import pytest

from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.kube.leases import LeaseObject, Record
from tests.unit.kube.server import always, api_server


async def test_a_missing_namespace_is_named() -> None:
    """Creating the Lease in a missing namespace is not a lost race: the message says what is wrong."""
    async with api_server(always(404)) as client:
        with pytest.raises(ClusterUnavailable, match=r"operatrs/atlas-invites: no such namespace"):
            await LeaseObject(client, "operatrs").write(Record("one"), taken=True)


async def test_a_lease_that_is_gone_meanwhile_is_stale() -> None:
    """A 404 on a renewal is a lost race."""
    async with api_server(always(404)) as client:
        with pytest.raises(Stale):
            await LeaseObject(client, "operators").write(Record("one", version="1"), taken=False)


async def test_a_lease_that_another_replica_has_created_is_stale() -> None:
    """A 409 on a creation is a lost race."""
    async with api_server(always(409)) as client:
        with pytest.raises(Stale):
            await LeaseObject(client, "operators").write(Record("one"), taken=True)


async def test_no_lease_is_none() -> None:
    """A 404 on a read says that there is none yet."""
    async with api_server(always(404)) as client:
        assert await LeaseObject(client, "operators").read() is None
