"""Which credentials, which project; and a Secret that is read again, once, where Atlas rejects it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.controller.attempt import Attempt, Memory
from atlas_invites.controller.polled import Polled
from atlas_invites.controller.reconcile import run_phases
from atlas_invites.controller.resolve import Access, names_project, names_secret, secret_of
from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.model import Status
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.resource import Key
from tests.unit.builders import GROUP_ID, SECRET, resource, spec, wire_spec
from tests.unit.controller.fakes import CREDENTIALS, OTHER_CREDENTIALS, FakeCluster
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.invitation.credentials import Credentials

REJECTED = Failure(Reason.CREDENTIALS_REJECTED, "rejected")


DONE = Outcome(Reason.INVITED, "done")


class Atlas:
    """Accepts some credentials, and tells which it was given."""

    def __init__(self, *accepted: Credentials) -> None:
        self.accepted = accepted
        self.given: list[Credentials | None] = []

    async def act(self, attempt: Attempt) -> Outcome:
        self.given.append(attempt.credentials)
        if attempt.credentials not in self.accepted:
            raise REJECTED
        return DONE


async def run(access: Access, act: Callable[[Attempt], Awaitable[Outcome]]) -> Outcome:
    """Run two phases: the credentials are read, and something is done with them."""
    with_: Any = SimpleNamespace(access=access)
    attempt = Attempt(with_, resource(), spec(), Status(), Memory(""), now(), now())

    async def read(attempt: Attempt) -> None:
        if attempt.credentials is None:
            attempt.credentials = await access.credentials(attempt.resource, attempt.spec)

    return await run_phases((read, act), attempt)


def access_to(cluster: FakeCluster) -> Access:
    def ignore(_: Key) -> None:
        pass

    return Access(Polled(cluster.credentials, 60.0, now, ignore), Polled(cluster.group_id, 30.0, now, ignore), now)


@virtual_time
async def test_good_credentials_are_read_once() -> None:
    """Many objects with the same Secret cost one read."""
    cluster, atlas = FakeCluster(), Atlas(CREDENTIALS)
    access = access_to(cluster)
    for _ in range(5):
        assert await run(access, atlas.act) == DONE
    assert cluster.reads == [SECRET]


@virtual_time
async def test_rotated_credentials_are_read_again() -> None:
    """The cached credentials were rejected, the Secret holds new ones: they are used at once."""
    cluster, atlas = FakeCluster(), Atlas(OTHER_CREDENTIALS)
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    cluster.secrets[SECRET] = OTHER_CREDENTIALS
    assert await run(access, atlas.act) == DONE
    assert atlas.given == [CREDENTIALS, OTHER_CREDENTIALS]
    assert cluster.reads == [SECRET, SECRET]


@virtual_time
async def test_rejected_credentials_that_have_not_changed_are_tried_once() -> None:
    """The Secret is read again and holds the same: Atlas is not asked a second time."""
    cluster, atlas = FakeCluster(), Atlas()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    with pytest.raises(Failure) as caught:
        await run(access, atlas.act)
    assert caught.value.reason is Reason.CREDENTIALS_REJECTED
    assert atlas.given == [CREDENTIALS]
    assert cluster.reads == [SECRET, SECRET]


@virtual_time
async def test_a_dead_key_is_not_read_again_for_each_object() -> None:
    """A thousand objects with one dead key, each once a minute: the Secret is read each 10 s at most."""
    cluster, atlas = FakeCluster(), Atlas()
    access = access_to(cluster)

    async def one(after: float) -> None:
        await asyncio.sleep(after)
        with pytest.raises(Failure):
            await run(access, atlas.act)

    await asyncio.gather(*(one(number * 0.06) for number in range(1000)))
    assert len(cluster.reads) <= 7
    assert len(atlas.given) == 1000


@virtual_time
async def test_a_key_that_is_rotated_after_all_is_found_in_time() -> None:
    """It was read again a moment ago, and was the same: the new one is read 10 s later."""
    cluster = FakeCluster()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    for after in (0.0, 1.0, 10.0):
        await asyncio.sleep(after)
        with pytest.raises(Failure):
            await run(access, Atlas().act)
        cluster.secrets[SECRET] = OTHER_CREDENTIALS
        assert len(cluster.reads) == (3 if after == 10.0 else 2)
    assert access.last_credentials(resource(), spec()) == OTHER_CREDENTIALS


@virtual_time
async def test_new_credentials_that_are_rejected_too_are_the_end() -> None:
    """Once, not for ever: the second rejection is the answer."""
    cluster, atlas = FakeCluster(), Atlas()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    cluster.secrets[SECRET] = OTHER_CREDENTIALS
    with pytest.raises(Failure):
        await run(access, atlas.act)
    assert atlas.given == [CREDENTIALS, OTHER_CREDENTIALS]


@virtual_time
async def test_a_secret_that_was_read_since_is_not_read_again() -> None:
    """Where the Secret was read after the turn began, it is what it is."""
    cluster, atlas = FakeCluster(), Atlas()
    access = access_to(cluster)
    with pytest.raises(Failure):
        await run(access, atlas.act)
    assert cluster.reads == [SECRET]


@virtual_time
async def test_only_a_rejection_reads_again() -> None:
    """Any other failure is passed on as it is."""
    cluster = FakeCluster()
    access = access_to(cluster)
    forbidden = Failure(Reason.FORBIDDEN, "no")

    async def act(_: Attempt) -> Outcome:
        raise forbidden

    with pytest.raises(Failure) as caught:
        await run(access, act)
    assert caught.value is forbidden
    assert cluster.reads == [SECRET]


@virtual_time
async def test_a_secret_that_has_gone_says_so() -> None:
    """Rejected, and the Secret is gone meanwhile: SecretNotFound is what the user must know."""
    cluster = FakeCluster()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    del cluster.secrets[SECRET]
    with pytest.raises(Failure) as caught:
        await run(access, Atlas().act)
    assert caught.value.reason is Reason.SECRET_NOT_FOUND
    assert access.last_credentials(resource(), spec()) == CREDENTIALS


@virtual_time
async def test_an_outage_of_the_cluster_is_passed_on() -> None:
    """Where the Secret cannot be read, nothing is done in Atlas."""
    cluster, atlas = FakeCluster(), Atlas(CREDENTIALS)
    cluster.faults.fail("secret", ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        await run(access_to(cluster), atlas.act)
    assert atlas.given == []


BY_REF = wire_spec(groupId=None, projectRef={"name": "payments"})


@virtual_time
async def test_the_project_is_the_specs_or_the_references() -> None:
    """GroupId is taken as it is; projectRef is read in the object's namespace, once for many."""
    cluster = FakeCluster()
    access = access_to(cluster)
    assert await access.group_id(resource(), spec()) == GROUP_ID
    cluster.project_ids[Key("team-a", "payments")] = "6" * 24
    by_ref = resource(spec=BY_REF)
    assert [await access.group_id(by_ref, by_ref.spec) for _ in range(3)] == ["6" * 24] * 3
    assert cluster.reads == [Key("team-a", "payments")]


@virtual_time
async def test_a_project_that_is_not_ready_says_so() -> None:
    """No such AtlasProject, or one without an id, is ProjectNotReady."""
    by_ref = resource(spec=BY_REF)
    with pytest.raises(Failure) as caught:
        await access_to(FakeCluster()).group_id(by_ref, by_ref.spec)
    assert caught.value.reason is Reason.PROJECT_NOT_READY


@virtual_time
async def test_the_project_that_was_last_held() -> None:
    """The reference leads nowhere any more: its last id is still held; a groupId always is."""
    cluster, payments = FakeCluster(), Key("team-a", "payments")
    access, by_ref = access_to(cluster), resource(spec=BY_REF)
    assert access.last_group_id(resource(), spec()) == GROUP_ID
    assert access.last_group_id(by_ref, by_ref.spec) is None
    cluster.project_ids[payments] = "6" * 24
    await access.group_id(by_ref, by_ref.spec)
    del cluster.project_ids[payments]
    await asyncio.sleep(31)
    with pytest.raises(Failure):
        await access.group_id(by_ref, by_ref.spec)
    assert access.last_group_id(by_ref, by_ref.spec) == "6" * 24


@virtual_time
async def test_no_project_at_all_is_an_invalid_request() -> None:
    """A spec past the CRD's rule is the user's to correct."""
    with pytest.raises(Failure) as caught:
        await access_to(FakeCluster()).group_id(resource(), spec(groupId=None))
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_who_names_a_secret_or_a_project() -> None:
    """Objects of the same namespace that name it do, and no others; what cannot be read names nothing."""
    assert names_secret(SECRET)(resource())
    assert not names_secret(Key("team-b", SECRET.name))(resource())
    assert not names_secret(Key("team-a", "other"))(resource())
    assert not names_secret(SECRET)(resource(spec={"groupId": GROUP_ID}))
    by_ref = resource(spec=BY_REF)
    assert names_project(Key("team-a", "payments"))(by_ref)
    assert not names_project(Key("team-b", "payments"))(by_ref)
    assert not names_project(Key("team-a", "payments"))(resource())
    assert not names_project(Key("team-a", "payments"))(resource(spec={"projectRef": {"name": "payments"}}))
    assert secret_of(resource(), spec()) == SECRET
