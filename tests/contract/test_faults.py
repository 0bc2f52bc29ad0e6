"""Every fault between the client and Atlas: its result, and that no secret is shown."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, get_args
from unittest.mock import patch

import pytest

from atlas_invites.atlas import transport
from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited
from atlas_invites.invitation.model import Observation, Operation
from atlas_sandbox import seeding
from atlas_sandbox.credentials import Credential
from atlas_sandbox.faults import Fault, FaultKind
from atlas_sandbox.sandbox import PROJECT_ID
from tests.contract.conftest import ACCOUNT, CANARY, KEY, Bench, look

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.atlas.project import Project

JANE = "jane@example.com"
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
WRITES: list[tuple[Operation, Callable[[Project, str], Awaitable[object]]]] = [
    (Operation.CREATE_INVITE, lambda project, _: project.create_invite(JANE, ["GROUP_OWNER"])),
    (Operation.UPDATE_INVITE, lambda project, entry: project.update_invite(entry, ["GROUP_READ_ONLY"])),
    (Operation.CANCEL_INVITE, lambda project, entry: project.cancel_invite(entry)),
]
READS: list[tuple[Operation, Callable[[Project, str], Awaitable[object]]]] = [
    (Operation.LIST_INVITES, lambda project, _: project.list_invites()),
    (Operation.LIST_USERS, lambda project, _: project.list_users()),
    (Operation.READ_INVITE, lambda project, entry: project.read_invite(entry)),
]


def shows_nothing(error: BaseException) -> None:
    """Check the exception, its cause, context and traceback with the locals of each of our frames."""
    assert error.__cause__ is None
    assert error.__context__ is None
    assert CANARY not in f"{error!r} {error} {vars(error)!r}"
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    whole.stack = traceback.StackSummary.from_list([frame for frame in whole.stack if "/tests/" not in frame.filename])
    assert CANARY not in "".join(whole.format())


async def failing(call: Awaitable[object]) -> AtlasFailure:
    """Return the failure of a call. If the fault is a hanging connection, the call ends soon."""
    with patch.object(transport, "DEADLINE", 0.3), pytest.raises(AtlasFailure) as failed:
        await call
    shows_nothing(failed.value)
    return failed.value


@pytest.mark.parametrize("when", ["before", "after"])
async def test_no_fault_is_a_response(way: Bench, caplog: pytest.LogCaptureFixture, when: str) -> None:
    """Every kind of fault on every call is AtlasUnavailable; a write may have worked; then calls work as before.

    With a canary in every field of the credentials and all logs on, every exception and its traceback is checked.
    """
    caplog.set_level(logging.DEBUG)
    state = way.sandbox.state
    for kind in KINDS:
        async with way.project() as project:
            await project.list_invites()
            for operation, call in [*READS, *WRITES]:
                username = f"{kind}-{operation}@example.com"
                entry = str(seeding.invite(state, state.project(PROJECT_ID), {"username": username})[0]["id"])
                way.fault(Fault(kind, frozenset({operation.value}), when=when, count=None))  # type: ignore[arg-type]
                failure = await failing(call(project, entry))
                way.sandbox.faults.clear()
                assert type(failure) is AtlasUnavailable, (kind, operation)
                assert failure.operation is operation
                assert failure.unanswered == ((operation, call) in WRITES), (kind, operation)
                assert not failure.error or kind == "status"
            await project.list_invites()
    ours = [record for record in caplog.records if record.name.startswith(("atlas_invites", "httpx", "aiohttp"))]
    assert ours
    assert not any(CANARY in f"{record.getMessage()} {vars(record)!r}" for record in ours)
    assert not any("@example.com" in f"{record.getMessage()} {vars(record)!r}" for record in ours)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_post_without_a_response_went_out_once(way: Bench, kind: FaultKind) -> None:
    """It was carried out, its response was lost, and it was not sent again: a read finds it."""
    async with way.project() as project:
        await project.list_invites()
        way.fault(Fault(kind, frozenset({"CreateInvite"}), when="after", count=None))
        failure = await failing(project.create_invite(JANE, ["GROUP_OWNER"]))
        assert failure.unanswered
        assert [fault.struck for fault in way.sandbox.faults.all()] == [1]
        [found] = (await look(project, JANE)).invitations
        assert found.username == JANE


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_endpoint_that_breaks(bench: Bench, caplog: pytest.LogCaptureFixture, kind: FaultKind) -> None:
    """Without a token there is no call, so no write is in doubt; the next try has its token."""
    caplog.set_level(logging.DEBUG)
    bench.credentials = ACCOUNT
    bench.fault(Fault(kind, frozenset({"Token"}), challenges=True, count=None))
    async with bench.project() as project:
        failure = await failing(project.create_invite(JANE, ["GROUP_OWNER"]))
        bench.sandbox.faults.clear()
        assert type(failure) is AtlasUnavailable
        assert failure.operation is Operation.TOKEN
        assert not failure.unanswered
        assert "CreateInvite" not in bench.calls()
        await project.create_invite(JANE, ["GROUP_OWNER"])
    assert CANARY not in "".join(f"{record.getMessage()} {vars(record)!r}" for record in caplog.records)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, CredentialsRejected), (401, CredentialsRejected), (429, RateLimited), (503, AtlasUnavailable)],
)
async def test_errors_of_the_token_endpoint(bench: Bench, status: int, kind: type[AtlasFailure]) -> None:
    """OAuth's body has no errorCode; the rate limit is honored with its Retry-After."""
    bench.credentials = ACCOUNT
    headers = {"Retry-After": "7"} if status == 429 else {}
    body = '{"error": "invalid_client"}'
    bench.fault(Fault("status", frozenset({"Token"}), status=status, body=body, headers=headers, challenges=True))
    async with bench.project() as project:
        failure = await failing(project.list_invites())
        assert type(failure) is kind
        assert failure.error is None
        assert failure.retry_after == (7 if status == 429 else None)


async def test_a_challenge_that_breaks(bench: Bench) -> None:
    """The first round of a digest meets every fault; nothing is concluded about the key."""
    for kind in KINDS:
        async with bench.project() as project:
            bench.fault(Fault(kind, frozenset({"ListInvites"}), challenges=True, count=None))
            assert type(await failing(project.list_invites())) is AtlasUnavailable
            bench.sandbox.faults.clear()
            await project.list_invites()


async def test_credentials_that_are_deleted_during_use(way: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Deleted in Atlas: rejected, and the message shows no part of them."""
    caplog.set_level(logging.DEBUG)
    async with way.project() as project:
        await project.list_invites()
        for credential in (KEY.public_key, ACCOUNT.client_id):
            way.sandbox.credentials.remove(credential)
        way.sandbox.auth.tokens.end_all()
        failure = await failing(project.list_invites())
        assert type(failure) is CredentialsRejected
        assert type(await failing(project.list_users())) is CredentialsRejected
    assert CANARY not in "".join(f"{record.getMessage()} {vars(record)!r}" for record in caplog.records)


async def test_a_view_that_breaks_between_its_lists(way: Bench) -> None:
    """Half a view counts as none."""
    async with way.project() as project:
        await project.create_invite(JANE, ["GROUP_OWNER"])
        way.fault(Fault("html", frozenset({"ListUsers"})))
        assert type(await failing(look(project, JANE))) is AtlasUnavailable
        assert (await look(project, JANE)) != Observation()


async def test_html_with_a_404_is_not_gone(way: Bench) -> None:
    """A proxy's page about a wrong path does not cause another invitation."""
    async with way.project() as project:
        made = await project.create_invite(JANE, ["GROUP_OWNER"])
        for operation in ("ReadInvite", "UpdateInvite", "CancelInvite", "ListInvites", "ListUsers"):
            way.fault(Fault("html", frozenset({operation}), status=404))
        assert type(await failing(project.read_invite(made.id))) is AtlasUnavailable
        assert type(await failing(project.update_invite(made.id, ["GROUP_OWNER"]))) is AtlasUnavailable
        assert type(await failing(project.cancel_invite(made.id))) is AtlasUnavailable
        assert type(await failing(look(project, JANE, made.id))) is AtlasUnavailable


@pytest.mark.parametrize("new", ["rotated"])
async def test_no_object_shows_a_secret(way: Bench, new: str) -> None:
    """Printing any object of the client, with everything it refers to, shows no secret."""
    way.sandbox.credentials.add(Credential("apiKey", "other", new))
    async with way.client() as atlas:
        project = atlas.project(way.credentials, PROJECT_ID)
        await project.list_invites()
        seen: set[int] = set()

        def walk(thing: object, depth: int) -> None:
            if id(thing) in seen or depth > 4:
                return
            seen.add(id(thing))
            assert CANARY not in repr(thing)
            for inner in vars(thing).values() if hasattr(thing, "__dict__") else ():
                if type(inner).__module__.startswith("atlas_invites"):
                    walk(inner, depth + 1)

        walk(atlas, 0)
        walk(project, 0)
