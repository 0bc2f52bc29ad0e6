"""The failures of calls to the Atlas Administration API, and what they mean for an invitation.

The tree. Each is raised, but most ``Gone`` and ``VersionGone`` are handled inside the package::

    Failure (invitation.outcome)
      AtlasFailure
        CredentialsRejected   401; the token endpoint's 400, 401, 403
          RejectedForProject  a 401 that is about one project only: see ``rejections``
        RateLimited           429; 400 INVITATIONS_RATE_LIMITED_IP; or held here, so that Atlas need not reject it
        AtlasUnavailable      5xx, 3xx, time-out, reset, a response that is not from Atlas: a write may have succeeded
        Forbidden             403; 404 NOT_IN_GROUP
        ProjectNotFound       404 GROUP_NOT_FOUND; any other 404 of a list or of the project
        Gone                  any other 404: the invitation or user does not exist
        Conflict              409
          VersionGone         410 VERSION_GONE: the Invites API has ended; retry through the Users API
        InvalidRequest        every other 4xx

Messages are plain sentences for status. They contain no time, count or request id, so a failure that repeats has the
same message. Atlas's own text, which may contain an e-mail, is in ``error``. ``InvalidRequest``, and ``Forbidden`` of a
send, repeat its ``detail``, so no message is logged.

Sources: the published OpenAPI document (``ApiError``; ``x-rolesRequirements`` for the roles that a call needs), and
recorded responses.
"""

from __future__ import annotations

from typing import ClassVar, Self

from atlas_invites.failures import Failure
from atlas_invites.invitation.model import ErrorBody, Operation
from atlas_invites.invitation.outcome import Reason

INVITES = frozenset(
    {
        Operation.LIST_INVITES,
        Operation.CREATE_INVITE,
        Operation.UPDATE_INVITE,
        Operation.READ_INVITE,
        Operation.CANCEL_INVITE,
    }
)

USERS = frozenset(
    {
        Operation.LIST_USERS,
        Operation.ADD_USER,
        Operation.READ_USER,
        Operation.REMOVE_USER,
        Operation.ADD_ROLE,
        Operation.REMOVE_ROLE,
    }
)
SENDING = frozenset({Operation.CREATE_INVITE, Operation.ADD_USER})

_TASKS = {
    Operation.LIST_INVITES: "list the project's invitations",
    Operation.CREATE_INVITE: "create the invitation",
    Operation.UPDATE_INVITE: "update the invitation",
    Operation.READ_INVITE: "read the invitation",
    Operation.CANCEL_INVITE: "cancel the invitation",
    Operation.LIST_USERS: "list the project's users",
    Operation.ADD_USER: "add the user to the project",
    Operation.READ_USER: "read the user",
    Operation.REMOVE_USER: "remove the user from the project",
    Operation.ADD_ROLE: "add a role to the user",
    Operation.REMOVE_ROLE: "remove a role from the user",
    Operation.READ_PROJECT: "read the project",
    Operation.TOKEN: "fetch an access token",
}


class AtlasFailure(Failure):
    """A call to Atlas failed.

    Args:
        operation: the call.
        what: what happened instead of a result, such as ``HTTP 503`` or ``429 RATE_LIMITED``.
        error: the full Atlas error, if an HTTP response had one.
        retry_after: seconds to wait, as Atlas requested, at most 900.
        unanswered: True if a write may have been carried out.
    """

    becomes: ClassVar[Reason]
    text: ClassVar[str]
    """The message. Its fields are ``task``, ``what``, ``said`` (by Atlas) and ``role``."""
    text_of_sending: ClassVar[str | None] = None
    """The message for a send, if it differs."""

    def __init__(
        self,
        operation: Operation,
        what: str,
        *,
        error: ErrorBody | None = None,
        retry_after: float | None = None,
        unanswered: bool = False,
    ) -> None:
        said = f" Atlas says: {error.detail.rstrip('.')}." if error and error.detail else ""
        role = "Project Owner or Project Access Manager" if operation in USERS else "Project Owner"
        text = (operation in SENDING and self.text_of_sending) or self.text
        message = text.format(task=_TASKS[operation], what=what, said=said, role=role)
        super().__init__(self.becomes, message, error=error, retry_after=retry_after)
        self.operation = operation
        self.what = what
        self.unanswered = unanswered

    def again(self, operation: Operation | None = None) -> Self:
        """Return the same failure for another caller, who has sent nothing, with that caller's operation."""
        if operation is None or self.operation is Operation.TOKEN:
            operation = self.operation
        return type(self)(operation, self.what, error=self.error, retry_after=self.retry_after)


class CredentialsRejected(AtlasFailure):
    """Atlas does not accept the key or the service account."""

    becomes = Reason.CREDENTIALS_REJECTED
    text = "Atlas rejected the credentials ({what}). Put a valid API key or service account into the Secret."

    def for_project(self) -> RejectedForProject:
        """Return the same rejection for a single project."""
        return RejectedForProject(self.operation, self.what, error=self.error)


class RejectedForProject(CredentialsRejected):
    """Atlas does not accept the key or the service account for one project, or for writes to it."""

    text = (
        "Atlas rejected the credentials for this project: could not {task} ({what}). In Atlas, grant them {role}"
        " in the project and add the operator's IP address to their API access list, or put other credentials into the"
        " Secret."
    )


class RateLimited(AtlasFailure):
    """Too many calls or invitations; nothing was done."""

    becomes = Reason.RATE_LIMITED
    text = "Atlas rate-limited the request to {task} ({what}); it is retried automatically."


class AtlasUnavailable(AtlasFailure):
    """There was no usable response of Atlas; a write may have been carried out (``unanswered``)."""

    becomes = Reason.ATLAS_UNAVAILABLE
    text = "Atlas is unavailable: could not {task} ({what}); it is retried automatically."

    @classmethod
    def of(
        cls,
        operation: Operation,
        what: str,
        *,
        sent: bool = True,
        error: ErrorBody | None = None,
        wait: float | None = None,
    ) -> Self:
        """Return the failure of a call without a usable response. ``sent``: the request may have reached Atlas."""
        return cls(operation, what, error=error, retry_after=wait, unanswered=sent and not operation.is_read)


class Forbidden(AtlasFailure):
    """The credentials are valid, but do not allow this call, or not from this IP address."""

    becomes = Reason.FORBIDDEN
    text = (
        "The credentials may not {task} ({what}). Grant them {role} and add the operator's IP address to their"
        " API access list."
    )
    text_of_sending = (  # the project has been read before
        "Atlas does not allow the operator to {task} ({what}), although the credentials can read the project. The"
        " cause is the invitee or a missing right to invite.{said} Correct the cause in Atlas, then set the annotation"
        " atlasinvites.io/reconcile-requested-at to a new value."
    )


class ProjectNotFound(AtlasFailure):
    """The project does not exist, or not for these credentials."""

    becomes = Reason.PROJECT_NOT_FOUND
    text = (
        "Atlas did not find the project: could not {task} ({what}). Correct the credentials, or recreate the object"
        " with the correct project."
    )


class Gone(AtlasFailure):
    """An invitation or user does not exist, or not any more."""

    becomes = Reason.INVITATION_NOT_FOUND
    text = "Could not {task} ({what}): Atlas did not find the invitation or user."


class Conflict(AtlasFailure):
    """The request conflicts with the state in Atlas; read it again."""

    becomes = Reason.CONFLICT
    text = "Atlas reported a conflict while trying to {task} ({what}); the operator reads Atlas again and retries."


class VersionGone(Conflict):
    """The Invites API has ended; retry through the Users API."""

    text = "Atlas has ended the Invites API: could not {task} ({what}); the operator continues with the Users API."


class InvalidRequest(AtlasFailure):
    """Atlas rejected the request; a retry will not help."""

    becomes = Reason.INVALID_REQUEST
    text = "Atlas rejected the request to {task} ({what}).{said} Correct the spec; status.error has the full error."
