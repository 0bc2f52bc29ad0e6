"""The meaning of Atlas responses: the table in docs/architecture.md, as data. Pure: no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import ValidationError

from atlas_invites.atlas.errors import (
    INVITES,
    AtlasFailure,
    AtlasUnavailable,
    Conflict,
    CredentialsRejected,
    Forbidden,
    Gone,
    InvalidRequest,
    ProjectNotFound,
    RateLimited,
    VersionGone,
)
from atlas_invites.invitation.fields import INT64
from atlas_invites.invitation.model import ErrorBody, Operation
from atlas_invites.invitation.outcome import RETRY_AFTER_AT_MOST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SUCCESS = range(200, 300)
_OF_THE_PROJECT = frozenset(
    {Operation.LIST_INVITES, Operation.CREATE_INVITE, Operation.LIST_USERS, Operation.ADD_USER, Operation.READ_PROJECT}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a response that meets every given condition means ``then``."""

    then: type[AtlasFailure]
    status: Collection[int]
    codes: Collection[str] | None = None
    operations: Collection[Operation] | None = None
    coded: bool | None = None

    def matches(self, operation: Operation, status: int, code: str | None) -> bool:
        """Return whether a response meets the conditions of this row."""
        return (
            status in self.status
            and (self.codes is None or code in self.codes)
            and (self.operations is None or operation in self.operations)
            and (self.coded is None or self.coded == (code is not None))
        )


MEANINGS: tuple[Row, ...] = (
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
"""The meaning of a response; the first row that matches counts."""


def failure_of(operation: Operation, status: int, body: object, headers: Mapping[str, str]) -> AtlasFailure | None:
    """Return the failure that a response means, or None for a success (2xx).

    Args:
        operation: the call that it responds to.
        status: the HTTP status, or that of the envelope.
        body: the parsed JSON, or None if there is none.
        headers: the HTTP headers, in a mapping that ignores case.
    """
    if status in _SUCCESS:
        return None
    error = _error(operation, status, body)
    code = error.error_code if error else None
    what = f"{status} {code}" if code else f"HTTP {status}"
    then = next((row.then for row in MEANINGS if row.matches(operation, status, code)), AtlasUnavailable)
    if then is AtlasUnavailable:
        return AtlasUnavailable.of(operation, what, error=error, wait=retry_after(headers))
    return then(operation, what, error=error, retry_after=retry_after(headers))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After`` (a number, or a date relative to ``Date``), at most 900."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:9]), RETRY_AFTER_AT_MOST)
    until, now = http_date(asked), http_date(headers.get("Date"))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), RETRY_AFTER_AT_MOST)


@lru_cache(maxsize=32)
def http_date(text: str | None) -> datetime | None:
    """Return an HTTP date (RFC 9110; also with a one-digit day, as Atlas writes it), or ``@seconds``, in UTC.

    Return None for other text, and for a date in the last year that Python supports: it has no date a month later.
    """
    if not text:
        return None
    try:
        if text.startswith("@"):
            return datetime.fromtimestamp(int(text[1:]), UTC)
        given = parsedate_to_datetime(text)
        time = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.year < MAXYEAR else None


def _error(operation: Operation, status: int, body: object) -> ErrorBody | None:
    """Return the Atlas error in a body, or None if the body has none. Parts that cannot be read are left out.

    If ``error`` is a number that the CRD does not allow, the HTTP status replaces it.
    """
    if not isinstance(body, dict) or not body.get("errorCode"):
        return None
    number = body.get("error")
    fields = {**body, "operation": operation}
    if isinstance(number, float) or (isinstance(number, int) and number not in INT64):
        fields["error"] = status
    try:
        return ErrorBody.read(fields)
    except ValidationError:
        return None
