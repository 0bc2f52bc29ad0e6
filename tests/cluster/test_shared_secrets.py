"""Secrets of other namespaces on a real API server: what their annotations allow, and when a change takes effect."""

from __future__ import annotations

from typing import Any

from kubernetes.aio.client import EventsV1Api

from atlas_sandbox.sandbox import PROJECT_ID
from tests.cluster.life import OWNER, READ_ONLY, SECRET, Life

JANE, JOE = "jane@example.com", "joe@example.com"
OTHER_PROJECT = "5f3c9d2e8a7b6c5d4e3f2a1b"


def message_of(status: dict[str, Any]) -> str:
    """Return the message of Ready."""
    return next(str(c["message"]) for c in status["conditions"] if c["type"] == "Ready")


async def vault_of(life: Life, namespace: str) -> tuple[Life, dict[str, str]]:
    """Return a second namespace with a Secret, which the operator does not watch, and the reference to that Secret."""
    vault = life.of(namespace)
    await vault.put_secret()
    return vault, {"name": SECRET, "namespace": namespace}


async def test_a_permission_that_is_given_withdrawn_and_given_again(life: Life, namespace_b: str) -> None:
    """Each takes effect within a minute, or at the resync for settled objects; what Atlas holds stays."""
    vault, reference = await vault_of(life, namespace_b)
    await life.create("jane", username=JANE, connectionSecretRef=reference)
    await life.reaches("jane", "SecretNotAllowed")
    assert await life.roles_of(JANE) is None
    for number, namespaces in enumerate([life.namespace, f"other, {life.namespace}", "*"]):
        await vault.allow(namespaces=namespaces, projects=PROJECT_ID)
        await life.move(seconds=61)
        await life.reaches("jane", "Invited")
        await (vault.allow(projects=OTHER_PROJECT) if number else vault.allow(namespaces=None))
        await life.move(seconds=61)
        await life.resync()
        await life.reaches("jane", "SecretNotAllowed")
        await life.edit("jane", roles=[OWNER if number % 2 else READ_ONLY])
        await life.reaches("jane", "SecretNotAllowed")
        assert await life.roles_of(JANE) == ([READ_ONLY] if number < 2 else [OWNER])


async def test_the_default_secret(life: Life, namespace_b: str) -> None:
    """It serves objects that name no Secret, by the same rules; without it they wait, and say what to do."""
    vault, _ = await vault_of(life, namespace_b)
    await life.create("jane", username=JANE, connectionSecretRef=None)
    status = await life.reaches("jane", "SecretNotFound")
    assert "spec.connectionSecretRef" in message_of(status)
    assert "--default-secret" in message_of(status)
    await life.stop()
    life.default_secret = f"{namespace_b}/{SECRET}"
    await life.start()
    status = await life.reaches("jane", "SecretNotAllowed")
    assert namespace_b not in message_of(status)
    await vault.allow(namespaces=life.namespace)
    await life.move(seconds=61)
    await life.reaches("jane", "Invited")
    await life.create("joe", username=JOE)
    await life.reaches("joe", "Invited")


async def test_a_secret_of_the_same_namespace_for_other_projects(life: Life) -> None:
    """The annotation limits it too, and the message says what is wrong."""
    for projects, word in ((OTHER_PROJECT, f"does not list {PROJECT_ID}"), ("my-project", "malformed")):
        await life.allow(projects=projects)
        await life.move(seconds=61)
        await life.create(word[:4], username=f"{word[:4]}@example.com")
        status = await life.reaches(word[:4], "SecretNotAllowed")
        assert word in message_of(status)
    await life.allow(projects=f"{OTHER_PROJECT}, {PROJECT_ID}")
    await life.move(seconds=61)
    await life.reaches("does", "Invited")
    await life.reaches("malf", "Invited")


async def test_a_deletion_without_permission(life: Life, namespace_b: str) -> None:
    """The permission is withdrawn, or the Secret deleted: nothing is removed, and both objects end with one warning."""
    vault, reference = await vault_of(life, namespace_b)
    await vault.put_secret("other")
    for name in (SECRET, "other"):
        await vault.allow(name, namespaces="*")
    await life.create("withdrawn", username=JANE, connectionSecretRef=reference, deletionPolicy="Revoke")
    await life.create(
        "absent", username=JOE, connectionSecretRef=reference | {"name": "other"}, deletionPolicy="Revoke"
    )
    for name in ("withdrawn", "absent"):
        await life.reaches(name, "Invited")
    await vault.allow(namespaces=None)
    await vault.drop_secret("other")
    await life.move(seconds=61)
    statuses = []
    for name in ("withdrawn", "absent"):
        await life.delete(name)
        statuses.append(await life.reaches(name, "SecretNotAllowed"))
    assert len({message_of(status).replace("/other", f"/{SECRET}") for status in statuses}) == 1
    await life.move(seconds=61)
    for name in ("withdrawn", "absent"):
        await life.gone(name)
        await life.told(name, "OrphanedInvitation", "Warning")
    assert [await life.roles_of(email) for email in (JANE, JOE)] == [[READ_ONLY], [READ_ONLY]]
    assert await warnings(life, "withdrawn") == await warnings(life, "absent")


async def warnings(life: Life, name: str) -> list[tuple[str, str]]:
    """Return the reasons and the causes in the Warnings of an object, with one name for both Secrets."""
    found: Any = await EventsV1Api(life.admin).list_namespaced_event(life.namespace)
    about = [event for event in found.items if event.regarding.name == name and event.type == "Warning"]
    return sorted((e.reason, e.note.partition("because")[2].replace("/other", f"/{SECRET}")) for e in about)
