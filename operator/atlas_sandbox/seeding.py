"""Create invitations and members as another source does: a person in the UI, another tool, a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from atlas_sandbox import invites, people, users, views
from atlas_sandbox.fields import ControlError, Fields
from atlas_sandbox.model import Api
from atlas_sandbox.validation import email, roles

if TYPE_CHECKING:
    from atlas_sandbox.project import Project
    from atlas_sandbox.state import State

INVITER = "owner@example.com"
"""The inviter of invitations from the UI."""
MOST = 100_000
"""How many people one call may add."""


def invite(state: State, project: Project, body: object) -> list[views.Json]:
    """Invite people as a person does in the UI, through either API; return the entries that the API shows.

    Raises:
        ControlError: the body is invalid.
        AtlasError: the API rejects one of them; those before it are invited.
    """
    fields = Fields(body)
    api = fields.choice("api", (Api.INVITES, Api.USERS), Api.INVITES)
    inviter = fields.text("inviterUsername", INVITER)
    made = []
    for username, granted in _wanted(fields):
        if api is Api.INVITES:
            made.append(views.invitation(project, invites.create(state, project, username, granted, inviter)))
        else:
            made.append(views.user(users.add(state, project, username, granted, inviter)))
    return made


def add_members(state: State, project: Project, body: object) -> list[views.Json]:
    """Give people access to the project at once: as users of it, or through a team or the organization.

    Raises:
        ControlError: the body is invalid.
        AtlasError: 409 USER_ALREADY_IN_GROUP.
    """
    fields = Fields(body)
    via: Literal["user", "team", "organization"] = fields.choice("via", ("user", "team", "organization"), "user")
    made = []
    for username, granted in _wanted(fields):
        if via == "user":
            invites.reject_existing_users(project, username)
            state.join_organization(username)
            made.append(views.user(state.activate(project, username, granted)))
        else:
            made.append(views.user(people.reach(state, project, username, granted, via)))
    return made


def _wanted(fields: Fields) -> list[tuple[str, tuple[str, ...]]]:
    """Read one `username`, a list of `usernames`, or `count` made-up ones from `start` on, with their `roles`."""
    granted = roles({"roles": fields.texts("roles", ("GROUP_READ_ONLY",))})
    if "count" in fields:
        count, start, prefix = fields.integer("count", 1, 1), fields.integer("start", 0), fields.text("prefix", "user")
        if count > MOST:
            raise ControlError(f"count must be at most {MOST}")
        names = [f"{prefix}{number:05d}@example.com" for number in range(start, start + count)]
    elif "usernames" in fields:
        names = fields.texts("usernames")
    else:
        names = [fields.text("username")]
    fields.done()
    return [(email({"username": name}), granted) for name in names]
