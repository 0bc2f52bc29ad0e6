"""The message about a request that the API server forbids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atlas_invites.failures import ClusterUnavailable
from atlas_invites.kube.invites import Invites
from tests.unit.builders import resource
from tests.unit.kube.server import always, api_server

if TYPE_CHECKING:
    from typing import Any


def status(message: str, **details: Any) -> str:  # noqa: ANN401 - JSON
    """Return the API server's response."""
    return json.dumps(
        {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": message, "code": 403}
        | {"details": details}
    )


TERMINATING = status(
    "unable to create new content in namespace team-a because it is being terminated",
    causes=[{"reason": "NamespaceTerminating", "message": "namespace team-a is being terminated"}],
)
NO_RIGHT = status('User "jane" cannot patch resource "atlasprojectinvites" in the namespace "team-a"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TERMINATING, "; the namespace is being deleted"),
        (NO_RIGHT, "; the operator's RBAC lacks this right, or the namespace is being deleted"),
        ("", "; the operator's RBAC lacks this right, or the namespace is being deleted"),
    ],
    ids=["terminating", "no-right", "empty"],
)
async def test_a_namespace_that_is_being_deleted_is_named(text: str, expected: str) -> None:
    """The message names the deletion of the namespace, which also removes the operator's rights."""
    async with api_server(always(403, text, "application/json")) as client:
        with pytest.raises(ClusterUnavailable) as caught:
            await Invites(client).remove_finalizer(resource())
    assert str(caught.value).endswith(f"HTTP 403 Forbidden{expected}")
