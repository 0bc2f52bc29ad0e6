"""Objects with an address that the CRD accepted once, on the real API server: reported, and still deletable."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from atlas_invites.invitation.resource import FINALIZER
from tests.cluster.life import OWNER, has_finalizer
from tests.cluster.test_crd_spec import invite
from tests.conftest import CRDS
from tests.control_plane.control_plane import KubectlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.life import Life
    from tests.control_plane.control_plane import ControlPlane

CRD = "crd/atlasprojectinvites.atlasinvites.io"
RULES = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/username/x-kubernetes-validations"
OLD = "jane@example.com."
RULE = "spec.username: must not have a dot at either end"


def create_under_old_crd(control_plane: ControlPlane, manifest: dict[str, Any]) -> None:
    """Create an object while the CRD has no rules for an address, and put them back."""

    def create(*options: str) -> bool:
        try:
            control_plane.kubectl("create", *options, "-f", "-", input=json.dumps(manifest))
        except KubectlError:
            return False
        return True

    def until(check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not check():
            assert time.monotonic() < deadline, "the API server does not serve the changed CRD"

    control_plane.kubectl("patch", CRD, "--type=json", "-p", json.dumps([{"op": "remove", "path": RULES}]))
    try:
        until(create)
    finally:
        control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))
    manifest["metadata"]["name"] = "newer"
    until(lambda: not create("--dry-run=server"))


def old_object(life: Life) -> dict[str, Any]:
    manifest = invite({"username": OLD})
    manifest["metadata"] |= {"name": "old", "namespace": life.namespace}
    return manifest


async def test_an_old_address_is_reported(life: Life, control_plane: ControlPlane) -> None:
    """The message names the field and the rule; nothing is sent; roles can be edited, and the object can be deleted."""
    await life.stop()
    create_under_old_crd(control_plane, old_object(life))
    async with life.counting() as counted:
        await life.start()
        status = await life.reaches("old", "InvalidRequest")
        await life.edit("old", roles=[OWNER])
        await life.reaches("old", "InvalidRequest")
        await life.sweep()
    assert counted == {}
    assert all(RULE in condition["message"] for condition in status["conditions"] if condition["type"] != "Accepted")
    found = await life.get("old")
    assert found is not None
    assert not has_finalizer(found)
    await life.delete("old")
    await life.gone("old")


async def test_an_old_address_that_was_invited_can_be_deleted(life: Life, control_plane: ControlPlane) -> None:
    """Its finalizer and its status can be written, and its invitation in Atlas stays as it is."""
    await life.stop()
    invitation = await life.invited_by_hand(OLD)
    create_under_old_crd(control_plane, old_object(life))
    patch = ("patch", "ainv", "old", "-n", life.namespace, "--type=merge", "-p")
    control_plane.kubectl(*patch, json.dumps({"metadata": {"finalizers": [FINALIZER]}}))
    known = {"state": "Pending", "origin": "Created", "invitation": {"id": invitation["id"], "username": OLD}}
    control_plane.kubectl(*patch, json.dumps({"status": known}), "--subresource=status")
    async with life.counting() as counted:
        await life.start()
        status = await life.reaches("old", "InvalidRequest", state="Pending", origin="Created")
        await life.delete("old")
        await life.gone("old")
    assert counted == {}
    assert status["invitation"]["id"] == invitation["id"]
    assert await life.roles_of(OLD) == invitation["roles"]
