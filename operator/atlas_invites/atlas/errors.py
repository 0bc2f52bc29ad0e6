"""What the Atlas Admin API answers when it does not do what it was asked to, and what that means for an invitation.

The tree (each is raised; ``Gone`` and ``VersionGone`` stay inside the package where a call can say it better)::

    Failure (invitation.outcome)
      AtlasFailure
        CredentialsRejected   401; the token endpoint's 400, 401, 403
        RateLimited           429; 400 INVITATIONS_RATE_LIMITED_IP; or held back here, before Atlas has to refuse
        AtlasUnavailable      5xx, 3xx, time-out, reset, an answer that is not Atlas's JSON: a write may have worked
        Forbidden             403; 404 NOT_IN_GROUP
        ProjectNotFound       404 GROUP_NOT_FOUND; any other 404 of a list or of the project
        Gone                  any other 404: this one invitation or user is not there
        Conflict              409
          VersionGone         410 VERSION_GONE: the invites API has ended, look again through the users API
        InvalidRequest        every other 4xx

Messages hold no e-mail, time, count or request id, so that they may be logged and read the same when they repeat.
Atlas's own words are kept whole in ``error``. Sources: the published OpenAPI document (``ApiError``), recorded answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import ValidationError

from atlas_invites.invitation.model import ErrorBody, Operation
from atlas_invites.invitation.outcome import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

RETRY_AFTER_MAX = 900.0
"""Seconds: however long Atlas asks us to wait, we ask again after 15 minutes."""

_SUCCESS = range(200, 300)
INVITES = frozenset(
    {
        Operation.LIST_INVITES,
        Operation.CREATE_INVITE,
        Operation.UPDATE_INVITE,
        Operation.READ_INVITE,
        Operation.CANCEL_INVITE,
    }
)
_OF_THE_PROJECT = frozenset(
    {
        Operation.LIST_INVITES,
        Operation.CREATE_INVITE,
        Operation.LIST_USERS,
        Operation.ADD_USER,
        Operation.READ_PROJECT,
    }
)
READS = frozenset(
    {
        Operation.LIST_INVITES,
        Operation.READ_INVITE,
        Operation.LIST_USERS,
        Operation.READ_USER,
        Operation.READ_PROJECT,
        Operation.TOKEN,
    }
)
"""What may be repeated at will; every other call is a write, which may have been carried out though no answer came."""

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
        operation: which call.
        what: what came instead of an answer, such as ``HTTP 503`` or ``429 RATE_LIMITED``.
        error: Atlas's error, whole, where a real HTTP answer carried one.
        retry_after: seconds that Atlas asked us to wait, at most 900.
        unanswered: True where a write may have been carried out all the same.
    """

    becomes: ClassVar[Reason]
    text: ClassVar[str]

    def __init__(
        self,
        operation: Operation,
        what: str,
        *,
        error: ErrorBody | None = None,
        retry_after: float | None = None,
        unanswered: bool = False,
    ) -> None:
        message = self.text.format(task=_TASKS[operation], what=what)
        super().__init__(self.becomes, message, error=error, retry_after=retry_after)
        self.operation = operation
        self.what = what
        self.unanswered = unanswered

    def again(self, operation: Operation | None = None) -> Self:
        """Return the same failure for another asker, who has sent nothing, on behalf of its own operation."""
        if operation is None or self.operation is Operation.TOKEN:
            operation = self.operation
        return type(self)(operation, self.what, error=self.error, retry_after=self.retry_after)


class CredentialsRejected(AtlasFailure):
    """Atlas does not accept the key or the service account."""

    becomes = Reason.CREDENTIALS_REJECTED
    text = "Atlas rejected the credentials ({what}): put a valid API key or service account into the Secret"


class RateLimited(AtlasFailure):
    """Too many calls, or too many invitations; nothing was done."""

    becomes = Reason.RATE_LIMITED
    text = "Atlas limits the rate of calls, so it did not {task} ({what}): the operator tries again by itself"


class AtlasUnavailable(AtlasFailure):
    """There was no answer of Atlas's; where it was a write, it may have been carried out (``unanswered``)."""

    becomes = Reason.ATLAS_UNAVAILABLE
    text = "Atlas could not {task} ({what}): the operator tries again by itself"

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
        """Return the failure of a call of which there is no usable answer; ``sent``: it may have reached Atlas."""
        unanswered = sent and operation not in READS
        return cls(operation, what, error=error, retry_after=wait, unanswered=unanswered)


class Forbidden(AtlasFailure):
    """The credentials are good but may not do this, or not from this address."""

    becomes = Reason.FORBIDDEN
    text = (
        "the credentials may not {task} ({what}): grant them the role Project Owner, and let the operator's address"
        " into their access list"
    )


class ProjectNotFound(AtlasFailure):
    """The project is not there, or not for these credentials."""

    becomes = Reason.PROJECT_NOT_FOUND
    text = "Atlas knows no such project, so it could not {task} ({what}): correct groupId or projectRef"


class Gone(AtlasFailure):
    """One invitation or user is not there (any more)."""

    becomes = Reason.INVITATION_NOT_FOUND
    text = "Atlas could not {task}, for it is not there ({what})"


class Conflict(AtlasFailure):
    """Something is there already; look again."""

    becomes = Reason.CONFLICT
    text = "Atlas could not {task}, for something is there already ({what}): the operator looks again by itself"


class VersionGone(Conflict):
    """The invites API has ended; look again through the users API."""

    text = "Atlas has ended the invites API, so it could not {task} ({what}): the operator goes on with the users API"


class InvalidRequest(AtlasFailure):
    """Atlas refuses what was asked; asking again will not help."""

    becomes = Reason.INVALID_REQUEST
    text = "Atlas refused to {task} ({what}): correct the spec, status.error has Atlas's own words"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the answer table: where every condition that is given holds, the answer is a ``then``."""

    then: type[AtlasFailure]
    status: Collection[int]
    codes: Collection[str] | None = None
    operations: Collection[Operation] | None = None
    coded: bool | None = None

    def matches(self, operation: Operation, status: int, code: str | None) -> bool:
        """Tell whether this row is about such an answer."""
        return (
            status in self.status
            and (self.codes is None or code in self.codes)
            and (self.operations is None or operation in self.operations)
            and (self.coded is None or self.coded == (code is not None))
        )


ANSWERS: tuple[Row, ...] = (
    Row(CredentialsRejected, {400, 401, 403}, operations={Operation.TOKEN}),
    Row(CredentialsRejected, {401}),
    Row(RateLimited, {429}),
    Row(RateLimited, {400}, codes={"INVITATIONS_RATE_LIMITED_IP"}),
    Row(AtlasUnavailable, [*range(300, 400), *range(500, 600)]),
    Row(AtlasUnavailable, range(300, 600), coded=False),
    Row(Forbidden, {403}),
    Row(Forbidden, {404}, codes={"NOT_IN_GROUP"}),
    Row(ProjectNotFound, {404}, codes={"GROUP_NOT_FOUND"}),
    Row(ProjectNotFound, {404}, operations=_OF_THE_PROJECT),
    Row(Gone, {404}),
    Row(Conflict, {409}),
    Row(VersionGone, {410}, codes={"VERSION_GONE"}, operations=INVITES),
    Row(InvalidRequest, range(400, 500)),
)
"""What an answer means; the first row that matches counts."""


def failure_of(operation: Operation, status: int, body: object, headers: Mapping[str, str]) -> AtlasFailure | None:
    """Return what an answer means, or None for a success (2xx).

    Args:
        operation: which call it answers.
        status: the HTTP status, or the envelope's.
        body: the parsed JSON, or None where there is none.
        headers: the HTTP headers, by a mapping that ignores case.
    """
    if status in _SUCCESS:
        return None
    error = _error(operation, body)
    code = error.error_code if error else None
    what = f"{status} {code}" if code else f"HTTP {status}"
    then = next((row.then for row in ANSWERS if row.matches(operation, status, code)), AtlasUnavailable)
    if then is AtlasUnavailable:
        return AtlasUnavailable.of(operation, what, error=error, wait=retry_after(headers))
    return then(operation, what, error=error, retry_after=retry_after(headers))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for (a number, or a date, set against ``Date``), at most 900."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:9]), RETRY_AFTER_MAX)
    until, now = http_date(asked), http_date(headers.get("Date"))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), RETRY_AFTER_MAX)


def http_date(text: str | None) -> datetime | None:
    """Return an HTTP date (RFC 9110; also with one digit for the day, as Atlas writes it), or ``@seconds``, in UTC."""
    if not text:
        return None
    try:
        if text.startswith("@"):
            return datetime.fromtimestamp(int(text[1:]), UTC)
        time = parsedate_to_datetime(text)
    except (ValueError, OverflowError, OSError):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _error(operation: Operation, body: object) -> ErrorBody | None:
    """Return Atlas's error of a body, or None for one that is not Atlas's; unreadable parts of it are left out."""
    if not isinstance(body, dict) or not isinstance(body.get("errorCode"), str) or not body["errorCode"]:
        return None
    known = {name for field in ErrorBody.model_fields.values() if (name := field.alias)} - {"operation"}
    kept = {key: value for key, value in body.items() if key in known}
    while kept:
        try:
            return ErrorBody.model_validate({**kept, "operation": operation})
        except ValidationError as invalid:
            wrong = {str(problem["loc"][0]) for problem in invalid.errors(include_input=False, include_url=False)}
            if not wrong & kept.keys():
                return None
            kept = {key: value for key, value in kept.items() if key not in wrong}
    return None
