"""What a process knows about an object beyond its status."""

from __future__ import annotations

import pytest

from atlas_invites.controller.memory import AWAIT_OTHERS, Memory
from atlas_invites.failures import Later
from atlas_invites.invitation.deletion import Trouble


def waits(memory: Memory, now: float, *, waiting: bool = True, deleting: bool = False) -> bool:
    try:
        memory.await_others(now, waiting=waiting, deleting=deleting)
    except Later:
        return True
    return False


@pytest.mark.parametrize("deleting", [False, True])
def test_the_wait_for_other_objects_is_a_minute_in_all(deleting: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """The minute is for all turns together: after it, the operator does not wait for those that are still missing."""
    memory = Memory("uid")
    assert waits(memory, 10.0, deleting=deleting)
    assert waits(memory, 10.0 + AWAIT_OTHERS - 1, deleting=deleting)
    for turn in range(5):
        assert not waits(memory, 10.0 + AWAIT_OTHERS + turn, deleting=deleting)


def test_objects_that_come_later_have_their_own_minute() -> None:
    """If none was missing in between, the wait starts again."""
    memory = Memory("uid")
    assert waits(memory, 10.0)
    assert not waits(memory, 20.0, waiting=False)
    assert waits(memory, 500.0)


def test_a_deletion_has_its_own_minute() -> None:
    """A vain wait of the live object does not shorten the wait for an object that takes over."""
    memory = Memory("uid")
    assert waits(memory, 10.0)
    assert not waits(memory, 10.0 + AWAIT_OTHERS)
    assert waits(memory, 500.0, deleting=True)


def test_a_failure_counts_from_the_first_time_in_a_row() -> None:
    """The same failure again keeps its start; another failure or any other outcome starts again."""
    memory = Memory("uid")
    assert memory.note_trouble(Trouble.REFUSED, 10.0) == 10.0
    assert memory.note_trouble(Trouble.REFUSED, 20.0) == 10.0
    assert memory.note_trouble(Trouble.SECRET_LOST, 30.0) == 30.0
    assert memory.note_trouble(Trouble.REFUSED, 40.0) == 40.0
    assert memory.note_trouble(None, 50.0) == 50.0
    assert memory.note_trouble(Trouble.REFUSED, 60.0) == 60.0
