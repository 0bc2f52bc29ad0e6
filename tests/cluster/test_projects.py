"""projectRef, the resync, and the end of a namespace, on the real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import CoreV1Api, CustomObjectsApi

from tests.cluster.life import OWNER, READ_ONLY, Life
from tests.cluster.test_table_a import JANE, invited

if TYPE_CHECKING:
    from tests.control_plane.control_plane import ControlPlane

PROJECT_ID = "32b6e34b3d91647abb20e7b8"
ATLAS_PROJECT_CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: atlasprojects.atlas.mongodb.com}
spec:
  group: atlas.mongodb.com
  scope: Namespaced
  names: {kind: AtlasProject, listKind: AtlasProjectList, plural: atlasprojects, singular: atlasproject}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


async def test_a_project_by_reference_is_waited_for(life: Life, control_plane: ControlPlane) -> None:
    """No CRD, no object, no id yet: a clear Waiting each time; once ready, it is used within 30 seconds."""
    await life.create("jane", username=JANE, projectRef={"name": "mine"})
    status = await life.reaches("jane", "ProjectNotReady")
    assert "mine" in str(status["conditions"])
    control_plane.kubectl("apply", "-f", "-", input=ATLAS_PROJECT_CRD)
    control_plane.kubectl("wait", "--for=condition=Established", "crd/atlasprojects.atlas.mongodb.com")
    try:
        await _make_project(life, control_plane)
        await life.move(seconds=31)
        await life.quiet()
        await life.reaches("jane", "ProjectNotReady")
        patch = f'{{"status":{{"id":"{PROJECT_ID}"}}}}'
        where = ("--namespace", life.namespace, "--subresource=status", "--type=merge")
        control_plane.kubectl("patch", "atlasproject", "mine", *where, "-p", patch)
        await life.move(seconds=31)
        status = await life.reaches("jane", "Invited", origin="Created")
        assert status["invitation"]["groupId"] == PROJECT_ID
        await life.people("accept", JANE)
        await life.resync()
        await life.reaches("jane", "Accepted")
    finally:
        control_plane.kubectl("delete", "crd", "atlasprojects.atlas.mongodb.com", "--wait=false")


async def _make_project(life: Life, control_plane: ControlPlane) -> None:
    manifest = "apiVersion: atlas.mongodb.com/v1\nkind: AtlasProject\nmetadata: {name: mine}\nspec: {name: mine}\n"

    def apply() -> bool:
        made = control_plane.kubectl("apply", "--namespace", life.namespace, "-f", "-", input=manifest, check=False)
        return made.returncode == 0

    await life.until("the new resource is served", apply)


async def test_a_resync_of_many_objects_costs_two_lists(life: Life) -> None:
    """No change: one list of invitations and one of users, and no write; one object that differs is found."""
    names = [f"user-{number}" for number in range(30)]
    for name in names:
        await life.create(name, username=f"{name}@example.com")
    for name in names:
        await life.reaches(name, "Invited")
    await life.quiet()
    versions = [(await _found(life, name))["metadata"]["resourceVersion"] for name in names]
    async with life.counting() as counted:
        await life.resync()
    assert counted == {"ListInvites": 1, "ListUsers": 1}
    assert versions == [(await _found(life, name))["metadata"]["resourceVersion"] for name in names]
    async with life.counting() as counted:
        await life.people("accept", "user-7@example.com")
        await life.resync()
        await life.reaches("user-7", "Accepted")
    assert sum(counted.values()) <= 4


async def test_a_restart_writes_nothing_and_reads_once(life: Life) -> None:
    """Settled objects after a restart: the first resync reads, nothing is written, nothing is sent."""
    await invited(life)
    before = await _found(life, "jane")
    async with life.counting() as counted:
        await life.restart()
        await life.quiet()
    assert counted == {"ListInvites": 1, "ListUsers": 1}
    assert (await _found(life, "jane"))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_many_objects_created_at_once_share_their_reads(life: Life) -> None:
    """Thirty at once: thirty sends, and a few lists for all of them."""
    names = [f"user-{number}" for number in range(30)]
    async with life.counting() as counted:
        await asyncio.gather(*(life.create(name, username=f"{name}@example.com") for name in names))
        for name in names:
            await life.reaches(name, "Invited", origin="Created")
    assert counted["CreateInvite"] == len(names)
    assert counted["ListUsers"] <= len(names) // 2


async def test_roles_changed_by_hand_are_corrected(life: Life) -> None:
    """The roles of a pending invitation are changed in Atlas: the resync finds it, and the spec wins."""
    await invited(life)
    await life.invited_by_hand(JANE, [OWNER])
    assert await life.roles_of(JANE) == [OWNER]
    await life.resync()
    await life.until("put right", lambda: _has_roles(life, [READ_ONLY]))


async def test_a_namespace_with_every_state_ends(life: Life) -> None:
    """A namespace with an object in every state is deleted, its Secret first.

    The namespace controller finishes the deletion.
    """
    for name in ("pending", "accepted", "expired", "withdrawn", "removed"):
        await life.create(name, username=f"{name}@example.com", deletionPolicy="Cancel")
        await life.reaches(name, "Invited")
    await life.create("unknown", invitationId="a" * 24, deletionPolicy="Revoke")
    await life.reaches("unknown", "InvitationNotFound", state="Unknown")
    await life.people("accept", "accepted@example.com")
    await life.people("accept", "removed@example.com")
    await life.people("decline", "withdrawn@example.com")
    await life.resync()
    await life.people("remove", "removed@example.com")
    await life.resync()
    await life.reaches("removed", "MemberRemoved", state="Removed")
    await life.move(days=31)
    await life.resync()
    await life.reaches("expired", "InvitationExpired", state="Expired")
    await life.reaches("withdrawn", "InvitationWithdrawn", state="Withdrawn")
    await life.stop()
    await life.drop_secret()
    life.clock.offset = 0.0  # the API server's clock has not moved, and it sets the start of the deletion
    await life.start()
    await CoreV1Api(life.admin).delete_namespace(life.namespace)
    await life.until("they wait for the Secret", lambda: _some_left(life))
    await life.move(seconds=61)
    await life.until("no object is left", lambda: _none_left(life))


async def _found(life: Life, name: str) -> dict[str, Any]:
    found = await life.get(name)
    assert found is not None
    return found


async def _has_roles(life: Life, roles: list[str]) -> bool:
    return await life.roles_of(JANE) == roles


async def _left(life: Life) -> list[dict[str, Any]]:
    objects: Any = await CustomObjectsApi(life.admin).list_namespaced_custom_object(
        "atlasinvites.io", "v1alpha1", life.namespace, "atlasprojectinvites"
    )
    return list(objects["items"])


async def _some_left(life: Life) -> bool:
    left = await _left(life)
    return bool(left) and all(
        item["metadata"].get("deletionTimestamp") and "SecretNotFound" in str(item["status"]) for item in left
    )


async def _none_left(life: Life) -> bool:
    return not await _left(life)
