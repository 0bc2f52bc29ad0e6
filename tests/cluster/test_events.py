"""The events of the real API server, which the operator may create and patch, but not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubernetes.aio.client import EventsV1Api

from tests.cluster.life import OWNER, READ_ONLY

if TYPE_CHECKING:
    from tests.cluster.life import Life

JANE = "jane@example.com"


async def test_a_restart_does_not_lower_the_count_of_an_event(life: Life) -> None:
    """The same change of roles again and again is one event with a count, which continues after a restart."""
    await life.create("jane", username=JANE)
    await life.reaches("jane", "Invited")
    for count in (1, 2):
        for role in (OWNER, READ_ONLY):
            await change_roles(life, role, count)
    await life.restart()
    for count in (3, 4):
        for role in (OWNER, READ_ONLY):
            await change_roles(life, role, count)


async def test_a_transition_is_one_event(life: Life) -> None:
    """A person joins and leaves, and the Secret is deleted: each is published once, in order."""
    await life.create("jane", username=JANE)
    await life.reaches("jane", "Invited")
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted", state="Accepted")
    await life.people("remove", JANE)
    await life.resync()
    await life.reaches("jane", "MemberRemoved", state="Removed")
    await life.edit("jane", connectionSecretRef={"name": "lost"})
    await life.told("jane", "SecretNotFound", "Warning")
    assert await life.events("jane") == [
        ("Normal", "InvitationSent"),
        ("Normal", "Accepted"),
        ("Normal", "Removed"),
        ("Warning", "SecretNotFound"),
    ]


async def change_roles(life: Life, role: str, count: int) -> None:
    """Give Jane another role, and wait until the event of the change has this count."""
    await life.edit("jane", roles=[role])

    async def counted() -> bool:
        found = await EventsV1Api(life.admin).list_namespaced_event(life.namespace)
        changes = [event for event in found.items if event.note == f"The roles in Atlas are now {role}."]
        counts = [event.series.count if event.series else 1 for event in changes]
        return max(counts, default=0) == count

    await life.until(f"the change to {role} is counted {count} times", counted)
