"""Admission policies that reject what the operator writes, on the real API server."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.cluster.life import OWNER, Life
from tests.cluster.test_refusals import message_of
from tests.cluster.test_table_a import JANE, invited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.control_plane.control_plane import ControlPlane


LABELED = "has(object.metadata.labels) && 'team' in object.metadata.labels"


@asynccontextmanager
async def policy(life: Life, control_plane: ControlPlane, resource: str) -> AsyncIterator[None]:
    """Let a ValidatingAdmissionPolicy require a label for updates of a namespace's invitations, or of their status."""
    name = f"{life.namespace}-{resource.replace('/', '-')}"
    kinds = {"apiGroups": ["atlasinvites.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": [resource]}
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": life.namespace}}}
    about = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rules = {
        "matchConstraints": {"resourceRules": [kinds]},
        "validations": [{"expression": LABELED, "message": "every invitation needs the label team"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": selector}
    manifests = [
        about | {"kind": "ValidatingAdmissionPolicy", "spec": rules},
        about | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]

    def is_refused() -> bool:
        patch = {"metadata": {"annotations": {"example.com/probe": "yes"}}, "status": {"atlas": {"api": "Users"}}}
        subresource = ["--subresource=status"] if resource.endswith("/status") else []
        command = ("patch", "--namespace", life.namespace, "ainv/probe", "--type=merge", "-p", json.dumps(patch))
        return control_plane.kubectl(*command, *subresource, "--dry-run=server", check=False).returncode != 0

    await life.create("probe", username="probe@example.com", suspend=True)
    control_plane.kubectl("apply", "-f", "-", input="\n---\n".join(map(json.dumps, manifests)))
    try:
        await life.until("the policy is enforced", is_refused)
        yield
    finally:
        control_plane.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
        await life.until("the policy is gone", lambda: not is_refused())


def label(life: Life, control_plane: ControlPlane) -> None:
    control_plane.kubectl("label", "--namespace", life.namespace, "ainv/jane", "team=payments")


async def test_a_finalizer_that_a_policy_rejects_is_stalled(life: Life, control_plane: ControlPlane) -> None:
    """The policy's message is on status, nothing is sent; once the label is there, the invitation is sent."""
    async with policy(life, control_plane, "atlasprojectinvites"):
        await life.create("jane", username=JANE)
        status = await life.reaches("jane", "WriteRefused")
        assert "every invitation needs the label team" in message_of(status)
        await life.told("jane", "WriteRefused", "Warning")
        assert "CreateInvite" not in await life.calls()
        label(life, control_plane)
        await life.move(minutes=6)
        await life.reaches("jane", "Invited", origin="Created")


async def test_a_status_that_a_policy_rejects_causes_an_event(life: Life, control_plane: ControlPlane) -> None:
    """The role change is sent once; an event says why status does not show it; once allowed, status does."""
    await invited(life)
    async with policy(life, control_plane, "atlasprojectinvites/status"):
        async with life.counting() as counted:
            await life.edit("jane", roles=[OWNER])
            await life.told("jane", "WriteRefused", "Warning")
            for _ in range(4):
                await life.move(minutes=6)
                await life.quiet()
        assert counted["UpdateInvite"] == 1
    await life.move(minutes=6)
    await life.reaches("jane", "Invited")
    assert (await life.calls())["UpdateInvite"] == 1


async def test_a_deletion_that_a_policy_rejects_calls_atlas_once(life: Life, control_plane: ControlPlane) -> None:
    """The invitation is canceled once; status says why the object still exists."""
    await invited(life, deletionPolicy="Cancel")
    async with policy(life, control_plane, "atlasprojectinvites"):
        async with life.counting() as counted:
            await life.delete("jane")
            await life.reaches("jane", "WriteRefused")
            for _ in range(4):
                await life.move(minutes=6)
                await life.quiet()
        assert counted["CancelInvite"] == 1
        label(life, control_plane)
        await life.move(minutes=6)
        await life.gone("jane")
