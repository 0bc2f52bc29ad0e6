"""Which credentials and which project are used; and one more read of a Secret that Atlas rejects."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.controller.attempt import Attempt
from atlas_invites.controller.memory import Memory
from atlas_invites.controller.polled import Polled
from atlas_invites.controller.reconcile import run_phases
from atlas_invites.controller.resolve import Access, names_project
from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.conditions import Evaluated, next_status
from atlas_invites.invitation.credentials import Allowed
from atlas_invites.invitation.model import Api, Status
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.resource import Key
from tests.unit.builders import GROUP_ID, NOW, SECRET, resource, spec, wire_spec
from tests.unit.controller.fakes import CREDENTIALS, OTHER_CREDENTIALS, FakeCluster
from tests.unit.virtual_time import now, virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.invitation.credentials import Credentials

REJECTED = Failure(Reason.CREDENTIALS_REJECTED, "rejected")


DONE = Outcome(Reason.INVITED, "done")


class Atlas:
    """An Atlas that accepts some credentials, and records those that it was given."""

    def __init__(self, *accepted: Credentials) -> None:
        self.accepted = accepted
        self.given: list[Credentials | None] = []

    async def act(self, attempt: Attempt) -> Outcome:
        self.given.append(attempt.credentials)
        if attempt.credentials not in self.accepted:
            raise REJECTED
        return DONE


async def run(access: Access, act: Callable[[Attempt], Awaitable[Outcome]]) -> Outcome:
    """Run two phases: the credentials are read, and then used."""
    with_: Any = SimpleNamespace(access=access)
    attempt = Attempt(with_, resource(), spec(), Status(), Memory(""), now(), now())

    async def read(attempt: Attempt) -> None:
        project: Any = SimpleNamespace(group_id=GROUP_ID, api=Api.INVITES)
        attempt.credentials = await access.credentials(attempt.resource, attempt.spec, GROUP_ID)
        attempt.resolve(project)

    return await run_phases((read, act), attempt)


def access_to(cluster: FakeCluster, default_secret: Key | None = None) -> Access:
    def ignore(_: Key) -> None:
        pass

    secrets, projects = Polled(cluster.credentials, 60.0, now, ignore), Polled(cluster.group_id, 30.0, now, ignore)
    endings = Polled(cluster.is_ending, 1.0, now, lambda _: None)
    return Access(secrets, projects, endings, now, default_secret)


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
    """The cached credentials were rejected, and the Secret holds new ones: they are used at once."""
    cluster, atlas = FakeCluster(), Atlas(OTHER_CREDENTIALS)
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    cluster.secrets[SECRET] = OTHER_CREDENTIALS
    assert await run(access, atlas.act) == DONE
    assert atlas.given == [CREDENTIALS, OTHER_CREDENTIALS]
    assert cluster.reads == [SECRET, SECRET]


@virtual_time
async def test_rejected_credentials_that_have_not_changed_are_tried_once() -> None:
    """The Secret is read again and is unchanged: Atlas is not called a second time."""
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
    """A thousand objects with one dead key, each once a minute: the Secret is read at most each 10 s."""
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
    """It was read again a moment ago, and was unchanged: the new key is read 10 s later."""
    cluster = FakeCluster()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    for after in (0.0, 1.0, 10.0):
        await asyncio.sleep(after)
        with pytest.raises(Failure):
            await run(access, Atlas().act)
        cluster.secrets[SECRET] = OTHER_CREDENTIALS
        assert len(cluster.reads) == (3 if after == 10.0 else 2)
    assert access.last_credentials(resource(), spec(), GROUP_ID) == OTHER_CREDENTIALS


@virtual_time
async def test_new_credentials_that_are_rejected_too_end_the_tries() -> None:
    """There is one more try, not more: the second rejection is the result."""
    cluster, atlas = FakeCluster(), Atlas()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    cluster.secrets[SECRET] = OTHER_CREDENTIALS
    with pytest.raises(Failure):
        await run(access, atlas.act)
    assert atlas.given == [CREDENTIALS, OTHER_CREDENTIALS]


@virtual_time
async def test_a_secret_that_was_read_since_is_not_read_again() -> None:
    """A Secret that was read after the turn began is not read again."""
    cluster, atlas = FakeCluster(), Atlas()
    access = access_to(cluster)
    with pytest.raises(Failure):
        await run(access, atlas.act)
    assert cluster.reads == [SECRET]


@virtual_time
async def test_only_a_rejection_causes_another_read() -> None:
    """Any other failure is passed on unchanged."""
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
async def test_a_secret_that_is_gone_is_reported() -> None:
    """Rejected, and the Secret is gone meanwhile: the user must see SecretNotFound."""
    cluster = FakeCluster()
    access = access_to(cluster)
    await run(access, Atlas(CREDENTIALS).act)
    del cluster.secrets[SECRET]
    with pytest.raises(Failure) as caught:
        await run(access, Atlas().act)
    assert caught.value.reason is Reason.SECRET_NOT_FOUND
    assert access.last_credentials(resource(), spec(), GROUP_ID) == CREDENTIALS


@virtual_time
async def test_an_outage_of_the_cluster_is_passed_on() -> None:
    """If the Secret cannot be read, nothing is done in Atlas."""
    cluster, atlas = FakeCluster(), Atlas(CREDENTIALS)
    cluster.faults.fail("secret", ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        await run(access_to(cluster), atlas.act)
    assert atlas.given == []


BY_REF = wire_spec(groupId=None, projectRef={"name": "payments"})


@virtual_time
async def test_the_project_comes_from_the_spec_or_the_reference() -> None:
    """A groupId is used unchanged; a projectRef is read in the object's namespace, once for many objects."""
    cluster = FakeCluster()
    access = access_to(cluster)
    assert await access.group_id(resource(), spec()) == GROUP_ID
    cluster.project_ids[Key("team-a", "payments")] = "6" * 24
    by_ref = resource(spec=BY_REF)
    assert [await access.group_id(by_ref, by_ref.spec) for _ in range(3)] == ["6" * 24] * 3
    assert cluster.reads == [Key("team-a", "payments")]


@virtual_time
async def test_a_project_that_is_not_ready_is_reported() -> None:
    """A missing AtlasProject, or one without an id, is ProjectNotReady."""
    by_ref = resource(spec=BY_REF)
    with pytest.raises(Failure) as caught:
        await access_to(FakeCluster()).group_id(by_ref, by_ref.spec)
    assert caught.value.reason is Reason.PROJECT_NOT_READY


@virtual_time
async def test_the_last_known_project() -> None:
    """The reference leads nowhere any more: its last id is still known; a groupId always is."""
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
    """A spec that breaks the CRD's rule must be corrected by the user."""
    with pytest.raises(Failure) as caught:
        await access_to(FakeCluster()).group_id(resource(), spec(groupId=None))
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_which_objects_name_a_secret_or_a_project() -> None:
    """Objects of the same namespace that name it, and no others; an object that cannot be read names nothing."""
    access = access_to(FakeCluster())
    assert access.names_secret(SECRET)(resource())
    assert not access.names_secret(Key("team-b", SECRET.name))(resource())
    assert not access.names_secret(Key("team-a", "other"))(resource())
    assert not access.names_secret(SECRET)(resource(spec={"groupId": GROUP_ID}))
    by_ref = resource(spec=BY_REF)
    assert names_project(Key("team-a", "payments"))(by_ref)
    assert not names_project(Key("team-b", "payments"))(by_ref)
    assert not names_project(Key("team-a", "payments"))(resource())
    assert not names_project(Key("team-a", "payments"))(resource(spec={"projectRef": {"name": "payments"}}))


# Secrets of other namespaces, and the default Secret.

SHARED = Key("platform", "atlas")
BY_NAMESPACE = {"connectionSecretRef": {"name": SHARED.name, "namespace": SHARED.namespace}}
BY_DEFAULT = {"connectionSecretRef": None}
OTHER_PROJECT = "5f3c9d2e8a7b6c5d4e3f2a1b"


@pytest.mark.parametrize(
    ("named", "default", "expected"),
    [
        ({"name": "own"}, SHARED, Key("team-a", "own")),
        ({"name": "own", "namespace": "team-a"}, SHARED, Key("team-a", "own")),
        ({"name": "atlas", "namespace": "platform"}, None, SHARED),
        (None, SHARED, SHARED),
        (None, None, None),
    ],
)
def test_which_secret(named: dict[str, str] | None, default: Key | None, expected: Key | None) -> None:
    """The Secret that the object names, in its own namespace unless it names another; without a name, the default."""
    access, one = access_to(FakeCluster(), default), resource(spec=wire_spec(connectionSecretRef=named))
    assert access.secret_of(one, one.spec) == expected
    if expected is not None:
        assert access.names_secret(expected)(one)


@virtual_time
async def test_without_a_secret_the_message_says_what_to_do() -> None:
    """No reference and no default: the message names both."""
    access, one = access_to(FakeCluster()), resource(spec=wire_spec(**BY_DEFAULT))
    with pytest.raises(Failure) as caught:
        await access.credentials(one, one.spec, GROUP_ID)
    assert caught.value.reason is Reason.SECRET_NOT_FOUND
    assert caught.value.certain
    assert "Add spec.connectionSecretRef, or ask" in caught.value.message
    assert await access.has_lost_secret(one, one.spec)
    assert access.last_credentials(one, one.spec, GROUP_ID) is None


def shared(allowed: Allowed) -> FakeCluster:
    """Return a cluster with a Secret of another namespace."""
    cluster = FakeCluster()
    cluster.secrets[SHARED] = OTHER_CREDENTIALS
    cluster.allowed[SHARED] = allowed
    return cluster


@pytest.mark.parametrize("changes", [BY_NAMESPACE, BY_DEFAULT], ids=["named", "default"])
@virtual_time
async def test_a_secret_of_another_namespace_that_allows_it(changes: dict[str, Any]) -> None:
    """Objects of two namespaces share it, with one read; an object in the Secret's namespace needs no permission."""
    cluster = shared(Allowed("team-a,team-b", GROUP_ID))
    access = access_to(cluster, SHARED)
    for namespace in ("team-a", "team-b", "platform"):
        one = resource(Key(namespace, "jane"), spec=wire_spec(**changes))
        assert await access.credentials(one, one.spec, GROUP_ID) == OTHER_CREDENTIALS
    assert cluster.reads == [SHARED]


CAUSES: dict[str, Allowed | Failure] = {
    "absent": Failure(Reason.SECRET_NOT_FOUND, "The Secret atlas does not exist; CAUSE."),
    "unreadable": Failure(Reason.SECRET_NOT_FOUND, "The operator may not read it; CAUSE.", certain=False),
    "invalid": Failure(Reason.SECRET_INVALID, "The key privateApiKey is missing; CAUSE."),
    "without annotation": Allowed(),
    "for another namespace": Allowed("team-b"),
    "for another project": Allowed("*", OTHER_PROJECT),
    "malformed namespaces": Allowed("team-*"),
    "malformed projects": Allowed("*", "*"),
}


@pytest.mark.parametrize(("changes", "named"), [(BY_NAMESPACE, True), (BY_DEFAULT, False)], ids=["named", "default"])
@virtual_time
async def test_every_refusal_reads_the_same(changes: dict[str, Any], named: bool) -> None:  # noqa: FBT001 - a case
    """Whatever the cause, a Secret of another namespace is SecretNotAllowed, with one message, at the same cost."""
    told = set()
    for cause in CAUSES.values():
        cluster = shared(cause if isinstance(cause, Allowed) else Allowed("*"))
        if isinstance(cause, Failure):
            cluster.secrets[SHARED] = cause
        access, one = access_to(cluster, SHARED), resource(spec=wire_spec(**changes))
        for _ in range(2):
            with pytest.raises(Failure) as caught:
                await access.credentials(one, one.spec, GROUP_ID)
            failure = caught.value
            told.add((failure.reason, failure.message, failure.certain, failure.error, failure.retry_after))
            assert failure.__cause__ is None
        assert access.last_credentials(one, one.spec, GROUP_ID) is None
        assert not await access.has_lost_secret(one, one.spec)
        assert cluster.reads == [SHARED]
    ((reason, message, certain, error, _),) = told
    assert (reason, certain, error) == (Reason.SECRET_NOT_ALLOWED, True, None)
    assert ("platform/atlas" in message) is named
    assert "CAUSE" not in message


@virtual_time
async def test_the_log_says_why_once(caplog: pytest.LogCaptureFixture) -> None:
    """The operator's log has the cause, at level info, until status shows the refusal."""
    caplog.set_level(logging.INFO)
    access, one = access_to(shared(Allowed("team-b")), SHARED), resource(spec=wire_spec(**BY_NAMESPACE))
    refused = next_status(Status(), Evaluated(1, None), Outcome(Reason.SECRET_NOT_ALLOWED, "no"), NOW)
    for again in (one, resource(spec=wire_spec(**BY_NAMESPACE), status=refused.to_wire())):
        with pytest.raises(Failure):
            await access.credentials(again, again.spec, GROUP_ID)
    why = "its annotation atlasinvites.io/allowed-namespaces does not list team-a"
    assert caplog.messages == [f"the Secret platform/atlas cannot be used: {why}"]


@virtual_time
async def test_a_withdrawn_permission() -> None:
    """The cache serves each object by what the Secret allows now; earlier credentials are given to no other."""
    cluster = shared(Allowed("team-a"))
    access, one = access_to(cluster), resource(spec=wire_spec(**BY_NAMESPACE))
    assert await access.credentials(one, one.spec, GROUP_ID) == OTHER_CREDENTIALS
    cluster.allowed[SHARED] = Allowed("team-b")
    await asyncio.sleep(61)
    for attempt in (access.credentials(one, one.spec, GROUP_ID), access.renewed(one, one.spec, GROUP_ID, now())):
        with pytest.raises(Failure) as caught:
            await attempt
        assert caught.value.reason is Reason.SECRET_NOT_ALLOWED
    assert access.last_credentials(one, one.spec, GROUP_ID) is None


@virtual_time
async def test_the_cache_is_no_way_around_the_annotations() -> None:
    """Credentials that were read for one namespace and project are not given to another namespace or project."""
    cluster = shared(Allowed("team-a", GROUP_ID))
    access = access_to(cluster)
    allowed, other = (resource(Key(name, "jane"), spec=wire_spec(**BY_NAMESPACE)) for name in ("team-a", "team-b"))
    assert await access.credentials(allowed, allowed.spec, GROUP_ID) == OTHER_CREDENTIALS
    for one, group_id in ((other, GROUP_ID), (allowed, OTHER_PROJECT)):
        with pytest.raises(Failure) as caught:
            await access.credentials(one, one.spec, group_id)
        assert caught.value.reason is Reason.SECRET_NOT_ALLOWED
    assert cluster.reads == [SHARED]


@pytest.mark.parametrize(
    ("projects", "why"),
    [(OTHER_PROJECT, f"allowed-projects does not list {GROUP_ID}"), ("*", "allowed-projects is malformed")],
)
@virtual_time
async def test_a_secret_of_the_same_namespace_for_other_projects(projects: str, why: str) -> None:
    """The owner of the namespace may know why: the message names the annotation, and what is wrong with it."""
    cluster = FakeCluster()
    cluster.allowed[SECRET] = Allowed(None, projects)
    access = access_to(cluster)
    with pytest.raises(Failure) as caught:
        await access.credentials(resource(), spec(), GROUP_ID)
    assert caught.value.reason is Reason.SECRET_NOT_ALLOWED
    assert why in caught.value.message
    assert access.last_credentials(resource(), spec(), GROUP_ID) is None


@virtual_time
async def test_the_last_credentials_are_still_limited_to_their_projects() -> None:
    """A Secret of the same namespace is gone.

    Its last credentials serve the projects that it allowed, and no others.
    """
    cluster = FakeCluster()
    cluster.allowed[SECRET] = Allowed(None, GROUP_ID)
    access = access_to(cluster)
    await access.credentials(resource(), spec(), GROUP_ID)
    assert not await access.has_lost_secret(resource(), spec())
    del cluster.secrets[SECRET]
    await asyncio.sleep(61)
    with pytest.raises(Failure) as caught:
        await access.credentials(resource(), spec(), GROUP_ID)
    assert caught.value.reason is Reason.SECRET_NOT_FOUND
    assert await access.has_lost_secret(resource(), spec())
    assert access.last_credentials(resource(), spec(), GROUP_ID) == CREDENTIALS
    assert access.last_credentials(resource(), spec(), OTHER_PROJECT) is None
