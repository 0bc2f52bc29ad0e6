"""The clock, and the ids that contain it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from atlas_sandbox.clock import Clock, http_date, iso, utc_now
from atlas_sandbox.ids import ObjectIds

START = datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)


def test_clock_runs_with_its_base() -> None:
    """A moved clock keeps running; a frozen one stands still, and later continues from there."""
    now = [START]
    clock = Clock(lambda: now[0])
    clock.advance(10)
    now[0] += timedelta(seconds=5)
    assert clock() == START + timedelta(seconds=15)
    clock.freeze(frozen=True)
    now[0] += timedelta(seconds=100)
    assert clock() == START + timedelta(seconds=15)
    clock.freeze(frozen=False)
    now[0] += timedelta(seconds=1)
    assert clock() == START + timedelta(seconds=16)


def test_clock_is_utc() -> None:
    """A time in another zone is the same moment in UTC; the machine's own zone does not matter."""
    clock = Clock(lambda: START)
    clock.set(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock().tzinfo is UTC
    assert utc_now().tzinfo is UTC


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime(1999, 1, 1, tzinfo=UTC)])  # noqa: DTZ001 - refused
def test_clock_rejects_unusable_times(moment: datetime) -> None:
    """A time without a zone, or far away, is rejected, and the clock stays."""
    clock = Clock(lambda: START)
    with pytest.raises(ValueError, match="2000"):
        clock.set(moment)
    with pytest.raises(ValueError, match="far"):
        clock.advance(1e15)
    assert clock() == START


def test_times_are_written_as_atlas_writes_them() -> None:
    """Bodies use ISO 8601 with whole seconds, headers an HTTP date."""
    assert iso(START.replace(microsecond=999_999)) == "2026-08-10T03:04:53Z"
    assert http_date(START) == "Mon, 10 Aug 2026 03:04:53 GMT"


def test_ids_are_hex_and_never_the_same() -> None:
    """Ids are 24 hex digits that begin with the clock's seconds, and all differ."""
    ids = ObjectIds(lambda: START, b"\x01\x02\x03\x04\x05")
    assert ids() == "6a793fd50102030405000001"
    made = {ids() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(made_id) for made_id in made} == {24}
