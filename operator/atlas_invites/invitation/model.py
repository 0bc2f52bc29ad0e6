"""The models: the spec of a user, the entries that Atlas shows, and ``.status``.

Field names are those of the custom resource and of the Atlas Admin API (camelCase on the wire). Every model ignores
unknown fields, so that a newer CRD or a newer Atlas never breaks a reconcile.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from atlas_invites.invitation.email import email_fault
from atlas_invites.invitation.fields import Detail, First, Id, Int64, Parameters, Roles, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

INVITATION_LIFETIME = timedelta(days=30)
"""An invitation expires after 30 days (Atlas: ``expiresAt`` = ``createdAt`` + 30 d)."""


class Api(StrEnum):
    """The Atlas API of an invitation: the deprecated Invites API, or its successor, the Users API."""

    INVITES = "Invites"
    USERS = "Users"


class Operation(StrEnum):
    """The thirteen API calls that the operator makes, as ``status.error.operation`` names them."""

    LIST_INVITES = "ListInvites"
    CREATE_INVITE = "CreateInvite"
    UPDATE_INVITE = "UpdateInvite"
    READ_INVITE = "ReadInvite"
    CANCEL_INVITE = "CancelInvite"
    LIST_USERS = "ListUsers"
    ADD_USER = "AddUser"
    READ_USER = "ReadUser"
    REMOVE_USER = "RemoveUser"
    ADD_ROLE = "AddRole"
    REMOVE_ROLE = "RemoveRole"
    READ_PROJECT = "ReadProject"
    TOKEN = "Token"  # noqa: S105 - the name of a call

    @property
    def is_read(self) -> bool:
        """Whether the call changes nothing in Atlas. Any other call may have taken effect even without a response."""
        return self in _READS


_READS = frozenset(
    {
        Operation.LIST_INVITES,
        Operation.READ_INVITE,
        Operation.LIST_USERS,
        Operation.READ_USER,
        Operation.READ_PROJECT,
        Operation.TOKEN,
    }
)


class Membership(StrEnum):
    """``orgMembershipStatus`` of the Users API."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"
    EXPIRED = "INVITATION_EXPIRED"
    REJECTED = "INVITATION_REJECTED"


class DeletionPolicy(StrEnum):
    """What the operator does in Atlas when the object is deleted."""

    CANCEL = "Cancel"
    RETAIN = "Retain"
    REVOKE = "Revoke"


class MemberPolicy(StrEnum):
    """What the operator does with the roles of a member."""

    OBSERVE = "Observe"
    MANAGE = "Manage"


class ReinvitePolicy(StrEnum):
    """Whether the operator sends an expired invitation again."""

    NEVER = "Never"
    ON_EXPIRY = "OnExpiry"


class DeparturePolicy(StrEnum):
    """How the object counts after its invitation has ended unaccepted or its member has left: stalled or settled."""

    STALL = "Stall"
    SETTLE = "Settle"


class Origin(StrEnum):
    """Whether this object's own POST created the invitation, or the object adopted an existing one."""

    CREATED = "Created"
    ADOPTED = "Adopted"


class State(StrEnum):
    """The state of the invitation, as Atlas last showed it."""

    PENDING = "Pending"
    ACCEPTED = "Accepted"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"
    REMOVED = "Removed"
    UNKNOWN = "Unknown"


class Model(BaseModel):
    """A frozen value, in camelCase on the wire, that ignores unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,  # the text of an error may be logged, and the input may contain an e-mail
    )

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """Return the model for decoded JSON fields. A field that cannot be read counts as absent.

        Raises:
            pydantic.ValidationError: a required field is absent or cannot be read.
        """
        kept = dict(fields)
        while True:
            try:
                return cls.model_validate(kept)
            except ValidationError as invalid:
                unreadable = {problem["loc"][0] for problem in invalid.errors(include_input=False) if problem["loc"]}
                if not unreadable & kept.keys():
                    raise
            kept = {name: value for name, value in kept.items() if name not in unreadable}

    def to_wire(self) -> dict[str, Any]:
        """Return the camelCase JSON form, without fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Ref(Model):
    """A reference by name to an object in the same namespace."""

    name: str


class SecretRef(Model):
    """A reference to a Secret by name and namespace. If the namespace is None, it is that of the object."""

    name: str
    namespace: str | None = None


ROLE = r"^GROUP_[A-Z][A-Z0-9_]*$"
"""A project role of Atlas. The CRD lists the existing roles. The operator accepts others too: Atlas may add roles."""


class Spec(Model):
    """``.spec``: the invitee, the project and the roles. The validation rules are in the CRD."""

    group_id: str | None = None
    project_ref: Ref | None = None
    username: str | None = None
    invitation_id: str | None = None
    roles: frozenset[str] = Field(min_length=1)
    connection_secret_ref: SecretRef | None = None
    deletion_policy: DeletionPolicy | None = None
    member_policy: MemberPolicy = MemberPolicy.OBSERVE
    reinvite_policy: ReinvitePolicy = ReinvitePolicy.NEVER
    departure_policy: DeparturePolicy = DeparturePolicy.STALL
    suspend: bool = False

    @field_validator("username")
    @classmethod
    def _can_be_invited(cls, username: str | None) -> str | None:
        """Reject a value that is not an e-mail address: an older CRD accepts it, and Atlas may invite a stranger."""
        if username is not None and (rule := email_fault(username)) is not None:
            raise PydanticCustomError("email", "{rule}", {"rule": rule})
        return username

    @field_validator("roles")
    @classmethod
    def _are_project_roles(cls, roles: frozenset[str]) -> frozenset[str]:
        """Reject a value that is not a project role, such as an organization role."""
        if not all(re.fullmatch(ROLE, role) for role in roles):
            raise PydanticCustomError("roles", "must be project roles such as GROUP_READ_ONLY")
        return roles


class Link(Model):
    """One entry of ``links``."""

    href: Text | None = None
    rel: Text | None = None


class Invitation(Model):
    """A pending invitation as Atlas returned it. Texts are unchanged unless they are too long; roles are sorted.

    ``api`` is the API that returned it. For ``Users``, the id is that of the user, and ``createdAt`` and ``expiresAt``
    are its ``invitationCreatedAt`` and ``invitationExpiresAt``. Times are ISO 8601 UTC.
    """

    id: Id
    api: Api = Api.INVITES
    group_id: Text | None = None
    group_name: Text | None = None
    username: Text | None = None
    inviter_username: Text | None = None
    roles: Roles = ()
    created_at: Text | None = None
    expires_at: Text | None = None
    links: Annotated[tuple[Link, ...], First] | None = None

    @property
    def created(self) -> datetime | None:
        """When it was sent, UTC, if known."""
        return _time(self.created_at)

    @property
    def expires(self) -> datetime | None:
        """When it expires, UTC: ``expiresAt``, else ``createdAt`` + 30 days, else unknown."""
        if (expires := _time(self.expires_at)) is not None:
            return expires
        created = _time(self.created_at)
        return None if created is None else created + INVITATION_LIFETIME

    def completed_by(self, earlier: Self | None) -> Self:
        """Return this invitation with its missing fields taken from an earlier response.

        An invitation has at least one role. If none could be read, the roles of the earlier response are used.
        """
        if earlier is None or earlier.id != self.id or earlier.api != self.api:
            return self
        return self.model_copy(update={k: v for k, v in earlier if getattr(self, k) in {None, ()}})


class User(Model):
    """A user whom the Users API shows in a project: a member or an invitee. No other personal data is kept.

    ``invitation_*`` are set while the user is not ACTIVE. Times are ISO 8601 UTC.
    """

    id: Id
    username: Text
    roles: Roles = ()
    org_membership_status: Text = Membership.ACTIVE
    invitation_created_at: Text | None = None
    invitation_expires_at: Text | None = None
    inviter_username: Text | None = None

    def completed_by(self, earlier: Member | None) -> Self:
        """Return this user, with the roles last known if none could be read. A member has at least one role."""
        return self if self.roles or earlier is None else self.model_copy(update={"roles": earlier.roles})

    def as_invitation(self) -> Invitation:
        """Return the pending invitation of the Users API that this user represents."""
        return Invitation(
            id=self.id,
            api=Api.USERS,
            username=self.username,
            inviter_username=self.inviter_username,
            roles=self.roles,
            created_at=self.invitation_created_at,
            expires_at=self.invitation_expires_at,
        )


class Member(Model):
    """``status.member``: the person who accepted."""

    id: Id
    username: Text | None = None
    roles: Roles = ()
    org_membership_status: Text = Membership.ACTIVE

    def completed_by(self, earlier: Self | None) -> Self:
        """Return this member with a missing e-mail taken from an earlier response."""
        if self.username is not None or earlier is None or earlier.id != self.id:
            return self
        return self.model_copy(update={"username": earlier.username})


class BadField(Model):
    """One entry of ``badRequestDetail.fields``."""

    field: Text | None = None
    description: Text | None = None


class BadRequestDetail(Model):
    """``badRequestDetail`` of an Atlas error."""

    fields: Annotated[tuple[BadField, ...], First] = ()


class ErrorBody(Model):
    """``status.error``: the full Atlas error. Only ``error`` and ``errorCode`` are always present."""

    error: Int64
    error_code: Text
    reason: Text | None = None
    detail: Detail | None = None
    parameters: Parameters | None = None
    bad_request_detail: BadRequestDetail | None = None
    operation: Operation | None = None


class View(IntEnum):
    """What the absence of an entry proves."""

    PARTIAL = 0
    """Nothing. An entry of the lists could not be read, and may be the missing one."""
    LISTED = 1
    """The lists do not show it. They lag, and their pages are not atomic."""
    CONFIRMED = 2
    """It does not exist. Reads by id and by e-mail have confirmed this."""


class Observation(Model):
    """What Atlas shows of one invitee or invitation in one project.

    ``invitations`` are those of the Invites API, ``users`` those of the Users API with any membership status.
    """

    invitations: tuple[Invitation, ...] = ()
    users: tuple[User, ...] = ()
    view: View = View.CONFIRMED


class AtlasInfo(Model):
    """``status.atlas``: the API in use, and its end (RFC 3339 dates from the headers of responses)."""

    api: Api = Api.INVITES
    deprecated_since: str | None = None
    sunset: str | None = None

    @property
    def sunset_time(self) -> datetime | None:
        """When the Invites API ends, UTC, if a response of Atlas has said so."""
        return _time(self.sunset)

    def completed_by(self, earlier: Self | None) -> Self:
        """Return this with missing dates taken from an earlier response."""
        if earlier is None:
            return self
        return self.model_copy(update={k: v for k, v in earlier if getattr(self, k) is None})


class Condition(Model):
    """One entry of ``status.conditions`` (Kubernetes API conventions, metav1.Condition)."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


class Status(Model):
    """``.status`` as the operator last wrote it."""

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()
    roles_summary: str | None = None
    state: State | None = None
    origin: Origin | None = None
    invitation: Invitation | None = None
    member: Member | None = None
    error: ErrorBody | None = None
    atlas: AtlasInfo | None = None
    last_handled_reconcile_at: str | None = None
    last_handled_resend_at: str | None = None

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, or None."""
        for condition in self.conditions:
            if condition.type == type_:
                return condition
        return None


def _time(text: str | None) -> datetime | None:
    """Return an ISO 8601 time, UTC if it has no time zone, or None if it is missing or cannot be read."""
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)
