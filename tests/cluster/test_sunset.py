"""The end of the Invites API: the operator switches to the Users API without an error, on the real API server."""

from __future__ import annotations

from tests.cluster.life import OWNER, READ_ONLY, Life
from tests.cluster.test_table_a import JANE, invited, sent


async def end_invites_api(life: Life) -> None:
    await life.lever("PATCH", "/settings", {"sunset": {"mode": "on"}})


async def test_a_410_switches_the_project_without_a_restart(life: Life) -> None:
    """After 410 VERSION_GONE the same reconcile uses the Users API, and the object never reports an error."""
    await end_invites_api(life)
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        status = await life.reaches("jane", "Invited", state="Pending", origin="Created")
    assert status["atlas"]["api"] == "Users"
    assert status["invitation"]["api"] == "Users"
    assert sent(counted) == 1
    await life.edit("jane", roles=[OWNER])
    await life.reaches("jane", "Invited")
    assert await life.roles_of(JANE) == [OWNER]


async def test_a_role_change_after_the_end_is_reported(life: Life) -> None:
    """A pending invitation of the Invites API whose roles change after its end.

    Reported, not sent again, and nothing lost.
    """
    await invited(life)
    await end_invites_api(life)
    async with life.counting() as counted:
        await life.edit("jane", roles=[OWNER])
        await life.reaches("jane", "LegacyInvitation", state="Pending")
        await life.edit("jane", roles=[READ_ONLY])
        status = await life.reaches("jane", "Invited", state="Pending")
        assert status["atlas"]["api"] == "Users"
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted", state="Accepted")
    assert sent(counted) == 0


async def test_pending_over_the_end_is_never_sent_twice(life: Life) -> None:
    """Pending when the API ends, over resyncs, restarts and its own expiry: at most one invitation is alive."""
    await invited(life, reinvitePolicy="OnExpiry")
    await end_invites_api(life)
    async with life.counting() as counted:
        for _ in range(3):
            await life.resync()
            await life.restart()
            await life.move(days=9)
            await life.resync()
        await life.reaches("jane", "Invited", state="Pending")
    assert sent(counted) == 0
    async with life.counting() as counted:
        await life.move(days=4)
        await life.resync()
        await life.reaches("jane", "ConfirmingInvitation")
        await life.move(seconds=61)
        status = await life.reaches("jane", "Invited", origin="Created")
    assert sent(counted) == 1
    assert status["invitation"]["api"] == "Users"


async def test_the_date_switches(life: Life) -> None:
    """After the date of the Sunset header the Users API is used, although the Invites API still responds."""
    await invited(life)
    await life.move(days=300)
    await life.create("bob", username="bob@example.com")
    status = await life.reaches("bob", "Invited", origin="Created")
    assert status["invitation"]["api"] == "Users"


async def test_a_near_sunset_causes_a_warning(life: Life) -> None:
    """Within 180 days of the end each object gets one warning; before, none."""
    await invited(life)
    await life.resync()
    assert "SunsetNear" not in [reason for _, reason in await life.events("jane")]
    status = await life.status("jane")
    assert status["atlas"] == {
        "api": "Invites",
        "deprecatedSince": "2023-10-04T00:00:00Z",
        "sunset": "2027-07-01T00:00:00Z",
    }
    await life.people("accept", JANE)
    await life.resync()
    await life.move(days=100)
    await life.resync()
    await life.resync()

    async def warned() -> bool:
        return ("Warning", "SunsetNear") in await life.events("jane")

    await life.until("a warning", warned)


async def test_invites_mode_never_switches(life: Life) -> None:
    """With --atlas-api invites a 410 is a rejection by Atlas, and nothing else is tried."""
    await life.restart(api="invites")
    await end_invites_api(life)
    async with life.counting() as counted:
        await life.create("jane", username=JANE)
        status = await life.reaches("jane", "InvalidRequest")
    assert status["error"]["errorCode"] == "VERSION_GONE"
    assert not set(counted) & {"AddUser", "CreateInvite"}
