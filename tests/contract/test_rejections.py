"""Projects that get a 401 from Atlas, and other projects that share the credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_invites.atlas.calls import Entries
from atlas_invites.atlas.errors import CredentialsRejected, RejectedForProject
from atlas_sandbox.faults import Fault
from atlas_sandbox.sandbox import PROJECT_ID
from tests.contract.conftest import ACCOUNT, KEY
from tests.contract.test_cold import many

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_invites.atlas.project import Project
    from tests.contract.conftest import Bench

OTHER = "0123456789abcdef01234567"
THIRD = "0123456789abcdef01234568"


@pytest.fixture
async def projects(every_way: Bench) -> AsyncIterator[list[Project]]:
    """Three projects with the same credentials."""
    for project_id in (OTHER, THIRD):
        every_way.sandbox.state.add_project(project_id, "another")
    async with every_way.client() as atlas:
        yield [atlas.project(every_way.credentials, project_id) for project_id in (PROJECT_ID, OTHER, THIRD)]


def reject(bench: Bench, project_id: str, count: int | None = None) -> Fault:
    """Let Atlas return a 401 for a project, or for all if it is empty."""
    operations = frozenset({"ListInvites", "ListUsers", "CreateInvite"})
    fault = Fault("status", operations, project_id, status=401, error_code="USER_UNAUTHORIZED", count=count)
    return bench.sandbox.faults.add(fault)


async def test_a_401_for_one_project_is_about_that_project(every_way: Bench, projects: list[Project]) -> None:
    """A thousand calls for it are one probe; calls for another project are one request each, and succeed."""
    fault = reject(every_way, OTHER)
    good, bad, _ = projects
    rejected = await many(1000, 50, bad.list_invites)
    assert {type(failure) for failure in rejected} == {RejectedForProject}
    assert len({str(failure) for failure in rejected}) == 1
    assert "for this project: could not list the project's invitations (401 USER_UNAUTHORIZED)" in str(rejected[0])
    assert fault.struck == 2
    await good.list_invites()
    before = every_way.sandbox.calls.total
    made = await good.create_invite("jane@example.com", ["GROUP_OWNER"])
    await good.update_invite(made.id, ["GROUP_READ_ONLY"])
    assert await good.cancel_invite(made.id) is True
    assert {type(failure) for failure in await many(50, 50, bad.list_users)} == {RejectedForProject}
    assert every_way.sandbox.calls.total == before + 3
    assert every_way.calls().count("Token") <= 2


async def test_a_single_401_causes_no_error(every_way: Bench, projects: list[Project]) -> None:
    """At the first call, at any later one, and for a write, which was not carried out."""
    for _ in range(2):
        reject(every_way, PROJECT_ID, count=1)
        assert await projects[0].list_invites() == Entries(())
    reject(every_way, PROJECT_ID, count=1)
    made = await projects[0].create_invite("jane@example.com", ["GROUP_OWNER"])
    assert await projects[0].list_invites() == Entries((made,))


async def test_a_401_for_every_project_is_about_the_credentials(every_way: Bench, projects: list[Project]) -> None:
    """The first 401 may be about the project; after the second the third project is not called."""
    fault = reject(every_way, "")
    failures = [(await many(1, 1, project.list_invites))[0] for project in projects]
    assert [type(failure) for failure in failures] == [RejectedForProject, CredentialsRejected, CredentialsRejected]
    assert fault.struck == 4


async def test_deleted_credentials_are_not_tried_for_other_projects(every_way: Bench, projects: list[Project]) -> None:
    """Another challenge after a fresh signature, or a token endpoint that rejects, counts for all projects."""
    for credential in (KEY.public_key, ACCOUNT.client_id):
        every_way.sandbox.credentials.remove(credential)
    failures = [(await many(1, 1, project.list_invites))[0] for project in projects]
    assert [type(failure) for failure in failures] == [CredentialsRejected] * 3
    assert every_way.sandbox.calls.total == (2 if every_way.credentials is KEY else 1)


async def test_a_401_for_writes_does_not_stop_reads(every_way: Bench, projects: list[Project]) -> None:
    """A key that may read a project and not invite: reads work, and one send a minute is tried."""
    good, limited, _ = projects
    await limited.list_invites()
    fault = Fault("status", frozenset({"CreateInvite"}), OTHER, status=401, error_code="USER_UNAUTHORIZED", count=None)
    every_way.sandbox.faults.add(fault)
    sent = await many(50, 50, lambda: limited.create_invite("jane@example.com", ["GROUP_OWNER"]))
    assert {type(failure) for failure in sent} == {RejectedForProject}
    assert "could not create the invitation (401 USER_UNAUTHORIZED)" in str(sent[0])
    struck = fault.struck
    assert await many(50, 50, limited.list_invites) == [Entries(())] * 50
    again = await many(50, 50, lambda: limited.create_invite("jane@example.com", ["GROUP_OWNER"]))
    assert {type(failure) for failure in again} == {RejectedForProject}
    assert fault.struck == struck
    await good.create_invite("jane@example.com", ["GROUP_OWNER"])
