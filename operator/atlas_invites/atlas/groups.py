"""The project itself. Source: the OpenAPI document's operation getGroup."""

from __future__ import annotations

from atlas_invites.atlas.calls import Call, given
from atlas_invites.invitation.model import Operation

MEDIA_TYPE = "application/vnd.atlas.2023-01-01+json"


def read_project(group_id: str) -> Call[str]:
    """Return the call that reads the project, and whose result is its id."""
    return Call(Operation.READ_PROJECT, "GET", group_id, "", MEDIA_TYPE, lambda json: str(given(json)["id"]))
