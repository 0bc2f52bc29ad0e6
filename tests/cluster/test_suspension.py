"""Suspend, resume and delete on the real API server, judged by the rules of kstatus; in both of Atlas's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.life import OWNER, READ_ONLY, Life, has_finalizer, reason_of
from tests.cluster.test_table_a import API_OF, BOTH, JANE, invited
from tests.deploy.flux import flux_complaints
from tests.e2e.kstatus import check, kstatus

if TYPE_CHECKING:
    from tests.control_plane.control_plane import ControlPlane

NO_READY = ["FAIL0002: no Ready"]


async def suspend(life: Life, name: str = "jane", **changes: Any) -> None:  # noqa: ANN401 - the spec as JSON
    await life.edit(name, suspend=True, **changes)


async def settles(life: Life, wanted: str, name: str = "jane") -> dict[str, Any]:
    """Wait until kstatus is done with what a commit has applied, and return the object.

    Args:
        life: the namespace.
        wanted: what kstatus must report then.
        name: the object.
    """

    async def has_settled() -> dict[str, Any] | None:
        found = await life.get(name)
        assert found is not None
        return found if kstatus(found) != "InProgress" else None

    found: dict[str, Any] = await life.until(f"{name} settles", has_settled, lambda: life.get(name))
    assert kstatus(found) == wanted
    check(found)
    return found


@BOTH
async def test_suspend_and_resume_settle(life: Life) -> None:
    """Each commit is evaluated. A role that is changed with or during the suspension is set only after the resume."""
    await invited(life)
    async with life.counting() as counted:
        await suspend(life, roles=[OWNER])
        found = await settles(life, "Current")
        assert flux_complaints(found) == []
        await suspend(life, roles=[OWNER, READ_ONLY])
        found = await settles(life, "Current")
        assert found["status"]["rolesSummary"] == f"{OWNER},{READ_ONLY}"
        await life.resync()
        await life.restart()
        await life.resync()
        assert (await life.get("jane")) == found
    assert counted == {}
    assert reason_of(found["status"]) == "Invited"
    assert await life.roles_of(JANE) == [READ_ONLY]
    await life.edit("jane", suspend=None, roles=[OWNER])
    await settles(life, "Current")
    assert await life.roles_of(JANE) == [OWNER]


@BOTH
async def test_a_resume_while_the_operator_is_down_is_done_when_it_is_back(life: Life) -> None:
    """Suspended, changed and resumed, with restarts in between: the last spec is set."""
    await invited(life)
    await suspend(life, roles=[OWNER])
    await settles(life, "Current")
    await life.stop()
    await life.edit("jane", suspend=None)
    await life.start()
    await settles(life, "Current")
    assert await life.roles_of(JANE) == [OWNER]


@BOTH
async def test_suspended_from_the_start(life: Life, control_plane: ControlPlane) -> None:
    """Current without Ready, no finalizer and no call; kubectl shows the roles.

    After the resume the invitation is sent.
    """
    async with life.counting() as counted:
        await life.create("jane", username=JANE, suspend=True)
        found = await settles(life, "Current")
        await life.resync()
    assert counted == {}
    assert flux_complaints(found) == NO_READY
    assert not has_finalizer(found)
    assert READ_ONLY in control_plane.kubectl("get", "ainv", "jane", "-n", life.namespace, "-o", "wide").stdout
    await life.edit("jane", suspend=None)
    await life.reaches("jane", "Invited", origin="Created")


@BOTH
async def test_suspended_while_in_progress(life: Life) -> None:
    """Atlas is unavailable and the object retries: suspended it is Current, and after the resume it is sent.

    Over a restart too.
    """
    await life.fault(kind="status", status=503, count=None)
    await life.create("jane", username=JANE)
    await life.reaches("jane", "AtlasUnavailable")
    await suspend(life)
    found = await settles(life, "Current")
    assert flux_complaints(found) == NO_READY
    await life.lever("DELETE", "/faults")
    await life.restart()
    await life.resync()
    assert (await life.get("jane")) == found
    await life.edit("jane", suspend=None)
    await settles(life, "Current")
    await life.reaches("jane", "Invited", origin="Created")
    assert len((await life.truth())["invitations"]) + len((await life.truth())["users"]) == 1


@BOTH
async def test_suspended_while_stalled(life: Life) -> None:
    """A stalled object stays stalled: Failed at once, and no tool waits. After the resume it is reconciled again."""
    await invited(life)
    await life.people("decline", JANE)
    await life.resync()
    await life.reaches("jane", "InvitationWithdrawn")
    await suspend(life)
    found = await settles(life, "Failed")
    assert flux_complaints(found) == []
    assert reason_of(found["status"]) == "InvitationWithdrawn"
    await life.invited_by_hand(JANE, api=API_OF[life.api])
    await life.resync()
    assert (await life.get("jane")) == found
    await life.edit("jane", suspend=None)
    await life.reaches("jane", "Invited", origin="Adopted")


@BOTH
@pytest.mark.parametrize("suspended_at", ["the start", "rest", "a retry"])
async def test_a_deletion_while_suspended_settles(life: Life, suspended_at: str) -> None:
    """In any state the object is finalized at once, and Atlas is left unchanged."""
    if suspended_at == "a retry":
        await life.fault(kind="status", status=503, count=None)
        await life.create("jane", username=JANE)
        await life.reaches("jane", "AtlasUnavailable")
    elif suspended_at == "rest":
        await invited(life, deletionPolicy="Revoke")
    else:
        await life.create("jane", username=JANE, suspend=True)
    await suspend(life)
    await settles(life, "Current")
    async with life.counting() as counted:
        await life.delete("jane")
        await life.gone("jane")
    assert counted == {}
    assert (await life.roles_of(JANE) is not None) is (suspended_at == "rest")
