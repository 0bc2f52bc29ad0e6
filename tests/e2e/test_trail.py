"""What docs/stuck.md uses: the log has every change in Atlas and every new reason, and no e-mail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.faults.conftest import has_roles, send
from tests.e2e.world import OWNER, READ_ONLY

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World


def test_the_trail_of_an_object(own: World, start_operator: StartOperator) -> None:
    """Sent, rejected, changed, canceled: a line for each change with its HTTP status, and one for each new reason."""
    operator = start_operator("--log-format", "json")
    fault = own.fault("CreateInvite", status=403, errorCode="FORBIDDEN")
    send(own, "jane")
    own.until("jane", "Forbidden")
    own.sandbox.mend(fault)
    own.handle("jane", "again")
    own.until("jane", "Invited")
    own.edit("jane", roles=[READ_ONLY, OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER, READ_ONLY))
    kubectl = own.plane.control_plane.kubectl
    events = kubectl("events", "--for", "atlasprojectinvite/jane", "--namespace", own.namespace).stdout
    assert [reason for reason in ("Forbidden", "InvitationSent", "RolesUpdated") if reason not in events] == []
    own.delete("jane")
    own.until_gone("jane")
    operator.wait_for_line("finalizer removed")

    lines: list[dict[str, Any]] = [json.loads(line) for line in operator.log.splitlines()]
    about = [line for line in lines if line.get("object") == f"{own.namespace}/jane"]
    changes = [line for line in about if "operation" in line]
    assert [(line["operation"], line["status"], line["roles"]) for line in changes] == [
        ("CreateInvite", 403, [READ_ONLY]),
        ("CreateInvite", 200, [READ_ONLY]),
        ("UpdateInvite", 200, [OWNER, READ_ONLY]),
        ("CancelInvite", 204, []),
    ]
    assert {line["project"] for line in changes} == {own.project}
    assert [(line["reason"], line["before"]) for line in about if "reason" in line] == [
        ("Forbidden", None),
        ("Invited", "Forbidden"),
    ]
