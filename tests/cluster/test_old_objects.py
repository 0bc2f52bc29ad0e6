"""Objects that were created with an older CRD, on the real API server: usable, or reported and still deletable."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.invitation.resource import FINALIZER
from tests.cluster.life import OWNER, READ_ONLY, has_finalizer
from tests.conftest import CRDS
from tests.control_plane.control_plane import KubectlError
from tests.unit.specs import invite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.cluster.conftest import Apply
    from tests.cluster.life import Life
    from tests.control_plane.control_plane import ControlPlane

CRD = "crd/atlasprojectinvites.atlasinvites.io"
SPEC = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
RULES = f"{SPEC}/username/x-kubernetes-validations"
OLD = "jane@example.com."
RULE = "spec.username: must not have a dot at either end"


def create_under_old_crd(control_plane: ControlPlane, manifest: dict[str, Any]) -> None:
    """Create an object while the CRD has no rules for an address, and restore the rules."""

    def create(*options: str) -> bool:
        try:
            control_plane.kubectl("create", *options, "-f", "-", input=json.dumps(manifest))
        except KubectlError:
            return False
        return True

    change_crd(control_plane, {"op": "remove", "path": RULES})
    try:
        until(create)
    finally:
        restore_crd(control_plane)
    manifest["metadata"]["name"] = "newer"
    until(lambda: not create("--dry-run=server"))


def change_crd(control_plane: ControlPlane, *changes: dict[str, str]) -> None:
    """Change the CRD back to an older version."""
    control_plane.kubectl("patch", CRD, "--type=json", "-p", json.dumps(changes))


def restore_crd(control_plane: ControlPlane) -> None:
    """Upgrade the CRD, as a user does."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))


def until(check: Callable[[], bool]) -> None:
    """Wait until the API server serves a changed CRD."""
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, "the API server does not serve the changed CRD"


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
        await life.resync()
    assert counted == {}
    assert all(RULE in condition["message"] for condition in status["conditions"] if condition["type"] != "Accepted")
    found = await life.get("old")
    assert found is not None
    assert not has_finalizer(found)
    await life.delete("old")
    await life.gone("old")


async def test_an_old_address_that_was_invited_can_be_deleted(life: Life, control_plane: ControlPlane) -> None:
    """Its finalizer and its status can be written, and its invitation in Atlas stays unchanged."""
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


TWICE = {"roles": [OWNER, OWNER]}
"""Rejected by each CRD, with its own message."""


@pytest.fixture
def roles_are_a_set(control_plane: ControlPlane, crds: None, apply: Apply) -> Iterator[Callable[[], None]]:
    """The CRD with ``roles`` as a set, as it was once; returns a function that upgrades it."""
    del crds
    change_crd(
        control_plane,
        {"op": "replace", "path": f"{SPEC}/roles/x-kubernetes-list-type", "value": "set"},
        {"op": "remove", "path": f"{SPEC}/roles/x-kubernetes-validations"},
    )

    def upgrade() -> None:
        restore_crd(control_plane)
        until(lambda: "must name each role only once" in apply(invite(TWICE, name="probe")).stderr)

    try:
        until(lambda: "Duplicate value" in apply(invite(TWICE, name="probe")).stderr)
        yield upgrade
    finally:
        upgrade()


def by(manager: str, *options: str) -> Sequence[str]:
    return "--server-side", f"--field-manager={manager}", *options


FORCE = "--force-conflicts"


def test_roles_of_a_set_are_one_value_after_the_upgrade(
    roles_are_a_set: Callable[[], None], apply: Apply, control_plane: ControlPlane, namespace: str
) -> None:
    """In a set, a role of another field manager survived each apply; after the upgrade the next apply removes it."""

    def roles(name: str) -> list[str]:
        shown = control_plane.kubectl("get", "ainv", name, "-n", namespace, "-o", "jsonpath={.spec.roles}").stdout
        found: list[str] = json.loads(shown)
        return sorted(found)

    def applied(name: str, given: list[str], options: Sequence[str]) -> None:
        done = apply(invite({"roles": given}, name=name), options=options)
        assert (done.returncode, done.stderr) == (0, "")

    for name in ("jane", "joe"):
        applied(name, [READ_ONLY], by("gitops"))
    applied("jane", [OWNER], by("hand"))
    applied("jane", [READ_ONLY], by("gitops", FORCE))
    assert roles("jane") == [OWNER, READ_ONLY]

    roles_are_a_set()
    assert roles("jane") == [OWNER, READ_ONLY]
    applied("jane", [READ_ONLY], by("gitops", FORCE))
    assert roles("jane") == [READ_ONLY]
    applied("joe", [OWNER], by("gitops"))
    assert roles("joe") == [OWNER]


def test_a_set_that_was_applied_by_the_client_can_be_applied_after_the_upgrade(
    roles_are_a_set: Callable[[], None], apply: Apply, control_plane: ControlPlane, namespace: str
) -> None:
    """Client-side apply works, and so does a plain patch."""
    assert apply(invite({"roles": [OWNER, READ_ONLY]})).returncode == 0
    roles_are_a_set()
    patch = (
        "patch",
        "ainv",
        "jane",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        json.dumps({"metadata": {"labels": {"a": "b"}}}),
    )
    control_plane.kubectl(*patch)
    assert apply(invite({"roles": [OWNER]})).returncode == 0
    shown = control_plane.kubectl("get", "ainv", "jane", "-n", namespace, "-o", "jsonpath={.spec.roles}").stdout
    assert json.loads(shown) == [OWNER]
