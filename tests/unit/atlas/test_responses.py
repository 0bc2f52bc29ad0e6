"""The response table, and what a failure keeps and says."""

from __future__ import annotations

import json
import math
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.atlas.errors import (
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
from atlas_invites.atlas.responses import MEANINGS, failure_of, http_date
from atlas_invites.failures import Failure
from atlas_invites.invitation.model import Operation
from atlas_invites.invitation.outcome import Kind, Reason

WRITES = [
    Operation.CREATE_INVITE,
    Operation.UPDATE_INVITE,
    Operation.CANCEL_INVITE,
    Operation.ADD_USER,
    Operation.REMOVE_USER,
    Operation.ADD_ROLE,
    Operation.REMOVE_ROLE,
]
OF_ONE = [
    Operation.UPDATE_INVITE,
    Operation.READ_INVITE,
    Operation.CANCEL_INVITE,
    Operation.READ_USER,
    Operation.REMOVE_USER,
    Operation.ADD_ROLE,
    Operation.REMOVE_ROLE,
]
OF_INVITES = [
    Operation.LIST_INVITES,
    Operation.CREATE_INVITE,
    Operation.UPDATE_INVITE,
    Operation.READ_INVITE,
    Operation.CANCEL_INVITE,
]
API = [operation for operation in Operation if operation is not Operation.TOKEN]


def body(status: int, code: str = "SOME_CODE") -> dict[str, Any]:
    return {"error": status, "errorCode": code, "reason": "Reason", "detail": "A detail", "parameters": ["p", 1]}


def meant(
    operation: Operation, status: int, json: object = None, headers: dict[str, str] | None = None
) -> AtlasFailure:
    failure = failure_of(operation, status, json, httpx.Headers(headers))
    assert failure is not None
    return failure


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_is_no_failure(operation: Operation, status: int) -> None:
    """Every 2xx is a success, whatever its body."""
    assert failure_of(operation, status, body(400), {}) is None


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("json", [{"error": "invalid_client"}, {"error": "x", "errorCode": "Y"}, None, []])
def test_the_token_endpoint_rejects(status: int, json: object) -> None:
    """400, 401 and 403 of the token endpoint reject the credentials, whatever the body: it is OAuth's, not Atlas's."""
    assert type(meant(Operation.TOKEN, status, json)) is CredentialsRejected


@pytest.mark.parametrize("operation", API)
@pytest.mark.parametrize("json", [body(401, "NOT_ORG_GROUP_CREATOR"), None, "text", {"errorCode": 4}])
def test_401_rejects_the_credentials(operation: Operation, json: object) -> None:
    """A 401 of the API rejects the credentials, whatever its body."""
    assert type(meant(operation, 401, json)) is CredentialsRejected


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("json", [body(429, "RATE_LIMITED"), body(429, "RATE_LIMITED_TOKEN_BUCKET"), None])
def test_429_limits_the_rate(operation: Operation, json: object) -> None:
    """A 429 is a rate limit for every call, with a body or without."""
    assert type(meant(operation, 429, json)) is RateLimited


@pytest.mark.parametrize("operation", [Operation.CREATE_INVITE, Operation.ADD_USER])
def test_the_limit_on_sending_comes_as_a_400(operation: Operation) -> None:
    """400 INVITATIONS_RATE_LIMITED_IP is a rate limit, not a bad request."""
    failure = meant(operation, 400, body(400, "INVITATIONS_RATE_LIMITED_IP"))
    assert type(failure) is RateLimited
    assert not failure.unanswered


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 399, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("json", [body(500, "UNEXPECTED_ERROR"), None])
def test_5xx_and_3xx_mean_unavailable(operation: Operation, status: int, json: object) -> None:
    """A 5xx or 3xx means that Atlas is unavailable; a write may still have been carried out."""
    failure = meant(operation, status, json)
    assert type(failure) is AtlasUnavailable
    assert failure.unanswered == (operation in WRITES)


@pytest.mark.parametrize("operation", API)
@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 409, 410, 418, 451])
@pytest.mark.parametrize("json", [None, [], "<html>", 7, {}, {"error": 404}, {"errorCode": ""}, {"errorCode": None}])
def test_an_error_that_is_not_from_atlas_means_unavailable(operation: Operation, status: int, json: object) -> None:
    """A 4xx without a JSON body with an errorCode is not from Atlas: nothing is concluded, and a 404 is not 'gone'."""
    failure = meant(operation, status, json)
    assert type(failure) is AtlasUnavailable
    assert failure.error is None
    assert failure.unanswered == (operation in WRITES)


@pytest.mark.parametrize("operation", API)
@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), (403, "USER_UNAUTHORIZED"), (403, "X"), (404, "NOT_IN_GROUP")],
)
def test_someone_must_grant_something(operation: Operation, status: int, code: str) -> None:
    """403 and 404 NOT_IN_GROUP are Forbidden."""
    assert type(meant(operation, status, body(status, code))) is Forbidden


@pytest.mark.parametrize("operation", API)
def test_the_project_is_gone(operation: Operation) -> None:
    """404 GROUP_NOT_FOUND means that the project is gone, whatever the call was."""
    assert type(meant(operation, 404, body(404, "GROUP_NOT_FOUND"))) is ProjectNotFound


@pytest.mark.parametrize("operation", API)
@pytest.mark.parametrize("code", ["INVALID_INVITATION_ID", "RESOURCE_NOT_FOUND", "USER_NOT_FOUND", "NEW_CODE"])
def test_any_other_404(operation: Operation, code: str) -> None:
    """Any other 404 is 'gone' for one invitation or user, and 'no such project' for a list or the project."""
    assert type(meant(operation, 404, body(404, code))) is (Gone if operation in OF_ONE else ProjectNotFound)


@pytest.mark.parametrize("operation", API)
@pytest.mark.parametrize("code", ["USER_ALREADY_IN_GROUP", "X"])
def test_409_asks_for_a_new_read(operation: Operation, code: str) -> None:
    """A 409 is a conflict and a response: the call was not carried out."""
    failure = meant(operation, 409, body(409, code))
    assert type(failure) is Conflict
    assert failure.reason.kind is Kind.RETRYING
    assert not failure.unanswered


@pytest.mark.parametrize("operation", API)
def test_410_version_gone_ends_only_the_invites_api(operation: Operation) -> None:
    """410 VERSION_GONE ends the Invites API; the Users API has no successor."""
    expected = VersionGone if operation in OF_INVITES else InvalidRequest
    assert type(meant(operation, 410, body(410, "VERSION_GONE"))) is expected


@pytest.mark.parametrize("operation", API)
@pytest.mark.parametrize("status", [400, 402, 405, 406, 410, 413, 415, 422, 451])
def test_every_other_4xx_is_an_invalid_request(operation: Operation, status: int) -> None:
    """Every other 4xx from Atlas is an invalid request, and was not carried out."""
    failure = meant(operation, status, body(status, "VALIDATION_ERROR"))
    assert type(failure) is InvalidRequest
    assert not failure.unanswered


def test_the_page_matches_the_table() -> None:
    """Each row of docs/architecture.md is one or two rows of the code, in the same order, and no row is missing."""
    page = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text().partition("\n| response | means |\n")[2]
    rows = [line.split("|")[1:-1] for line in page.partition("\n\n")[0].splitlines()[1:]]
    ours = [(then, list(group)) for then, group in groupby(MEANINGS, lambda row: row.then)]
    for (answer, means), (then, group) in zip(rows, ours, strict=True):
        assert WORDS[then] in means
        for row in group:
            assert all(f"`{code}`" in answer for code in row.codes or ())
            assert all(str(status) in answer for status in row.status if len(row.status) < MANY)


MANY = 50
"""A row with this number of statuses is a class of them, such as 5xx."""

WORDS = {
    CredentialsRejected: "`CredentialsRejected`",
    RateLimited: "`RateLimited`",
    AtlasUnavailable: "`AtlasUnavailable`",
    Forbidden: "`Forbidden`",
    ProjectNotFound: "`ProjectNotFound`",
    Gone: "gone",
    Conflict: "`Conflict`",
    VersionGone: "Users API",
    InvalidRequest: "`InvalidRequest`",
}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
)


@given(
    operation=st.sampled_from(Operation),
    status=st.integers(100, 999),
    json=JSON | st.dictionaries(st.sampled_from(["error", "errorCode", "reason", "detail", "parameters"]), JSON),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date"]), st.text(max_size=12)),
)
def test_any_response_has_a_meaning(operation: Operation, status: int, json: object, headers: dict[str, str]) -> None:
    """No status, body or header makes the table fail, and only a 2xx is a success."""
    failure = failure_of(operation, status, json, headers)
    assert (failure is None) == (200 <= status < 300)
    assert failure is None or isinstance(failure, Failure)


def test_atlass_error_is_kept_in_full() -> None:
    """Every field of the seed's error is kept, with the operation that got it."""
    given_ = body(400, "VALIDATION_ERROR") | {
        "badRequestDetail": {"fields": [{"field": "roles", "description": "unknown role"}]},
        "newField": 1,
    }
    error = meant(Operation.CREATE_INVITE, 400, given_).error
    assert error is not None
    assert error.to_wire() == {k: v for k, v in given_.items() if k != "newField"} | {"operation": "CreateInvite"}


def test_an_error_needs_only_its_two_required_fields() -> None:
    """Only error and errorCode are certain to be there."""
    error = meant(Operation.READ_INVITE, 400, {"error": 400, "errorCode": "X"}).error
    assert error is not None
    assert error.to_wire() == {"error": 400, "errorCode": "X", "operation": "ReadInvite"}


def test_a_part_of_an_error_that_cannot_be_read_is_left_out() -> None:
    """A detail of an unexpected type does not hide the other fields."""
    error = meant(
        Operation.READ_INVITE, 400, {"error": 400, "errorCode": "X", "detail": {"odd": 1}, "reason": "R"}
    ).error
    assert error is not None
    assert (error.reason, error.detail) == ("R", None)


REPEATS_THE_DETAIL = {(Operation.CREATE_INVITE, 403), (Operation.ADD_USER, 403)}


@pytest.mark.parametrize("operation", [operation for operation, _ in sorted(REPEATS_THE_DETAIL)])
@pytest.mark.parametrize("detail", ["jane@x.de may not be invited.", "jane@x.de may not be invited", None])
def test_a_rejected_send_is_about_the_invitee(operation: Operation, detail: str | None) -> None:
    """The project could be read: Atlas's message gives the reason, and neither role nor access list is blamed."""
    message = meant(operation, 403, body(403) | {"detail": detail}).message
    assert ("Atlas says: jane@x.de may not be invited. Correct" in message) is (detail is not None)
    assert "invitee" in message
    assert "Project Owner" not in message
    assert "access list" not in message
    assert "None" not in message


@pytest.mark.parametrize("detail", ["An invalid enumeration value GROUP_X was specified.", "No {role}", None])
def test_an_invalid_request_quotes_atlas(detail: str | None) -> None:
    """Only Atlas knows what is wrong with the spec."""
    message = meant(Operation.UPDATE_INVITE, 400, body(400, "INVALID_ENUM_VALUE") | {"detail": detail}).message
    said = f" Atlas says: {detail.rstrip('.')}." if detail else ""
    assert message == (
        f"Atlas rejected the request to update the invitation (400 INVALID_ENUM_VALUE).{said} Correct the spec; "
        "status.error has the full error."
    )


@pytest.mark.parametrize("operation", [operation for operation in API if (operation, 403) not in REPEATS_THE_DETAIL])
def test_the_role_that_a_call_needs(operation: Operation) -> None:
    """The Invites API needs Project Owner; for users, Project Access Manager is enough (x-rolesRequirements)."""
    message = meant(operation, 403, body(403)).message
    is_of_users = operation.endswith(("User", "Users", "Role"))
    assert ("Grant them Project Owner or Project Access Manager and" in message) is is_of_users
    assert ("Grant them Project Owner and" in message) is not is_of_users


@pytest.mark.parametrize("number", [10**30, -(10**30), 2**63, 1e30, 400.5, math.inf])
def test_a_number_that_the_crd_rejects_is_replaced_by_the_http_status(number: float) -> None:
    """The error is still from Atlas, and the status can be written."""
    failure = meant(Operation.UPDATE_INVITE, 400, body(400, "X") | {"error": number})
    assert type(failure) is InvalidRequest
    assert failure.error is not None
    assert failure.error.error == 400


def test_an_error_without_a_number_is_not_from_atlas() -> None:
    """Text, or digits that exceed every number of the CRD, means that the response is not from Atlas."""
    for odd in ("not found", "9" * 30, None, [404]):
        assert meant(Operation.READ_INVITE, 404, {"error": odd, "errorCode": "X"}).error is None


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 410, 429, 500, 503])
def test_a_message_is_stable_and_names_nobody(operation: Operation, status: int) -> None:
    """A message says what failed and what to do. It contains nothing of the detail, so that it stays the same."""
    if (operation, status) in REPEATS_THE_DETAIL or type(meant(operation, status, body(status))) is InvalidRequest:
        return
    one, two = (
        meant(operation, status, body(status) | {"detail": detail, "parameters": [detail]}, {"Retry-After": wait})
        for detail, wait in (("jane@example.com, request 1", "3"), ("john@example.com, request 2", "7"))
    )
    assert one.message == two.message == str(one)
    assert "example.com" not in one.message
    assert str(status) in one.message
    assert f"({one.what})" in one.message
    assert one.message[0].isupper()
    assert one.message.endswith(".")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "5"}, 5.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "86400"}, 900.0),
        ({"Retry-After": "9" * 400}, 900.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(headers: dict[str, str], seconds: float | None, status: int) -> None:
    """Retry-After is read as seconds or as a date, at most 15 minutes, and ignored if it is neither."""
    assert failure_of(Operation.READ_INVITE, status, None, _encodable(headers)).retry_after == seconds  # type: ignore[union-attr]


def _encodable(headers: dict[str, str]) -> httpx.Headers:
    return httpx.Headers([(name.encode(), value.encode()) for name, value in headers.items()], encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("Wed, 4 Oct 2023 00:00:00 GMT", "2023-10-04T00:00:00+00:00"),
        ("Thu, 01 Jul 2027 00:00:00 GMT", "2027-07-01T00:00:00+00:00"),
        ("@1688169599", "2023-06-30T23:59:59+00:00"),
        ("Thu, 01 Jul 2027 02:00:00 +0200", "2027-07-01T00:00:00+00:00"),
        ("Thu, 01 Jul 2027 00:00:00", "2027-07-01T00:00:00+00:00"),
        ("true", None),
        ("@", None),
        ("@" + "9" * 30, None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_http_dates(text: str | None, iso: str | None) -> None:
    """Atlas's dates, those of the RFCs, and broken ones."""
    date = http_date(text)
    assert (date.isoformat() if date else None) == iso


def test_a_shared_failure_names_the_operation_of_each_caller() -> None:
    """A caller that shares a failure has sent nothing.

    It gets the same text about its own operation, and no doubt about a write.
    """
    failure = meant(Operation.UPDATE_INVITE, 503, body(503, "X"), {"Retry-After": "4"})
    shared = failure.again(Operation.CREATE_INVITE)
    assert failure.unanswered
    assert not shared.unanswered
    assert shared.message == meant(Operation.CREATE_INVITE, 503, body(503, "X")).message
    assert (shared.error, shared.retry_after, shared.reason) == (failure.error, 4.0, Reason.ATLAS_UNAVAILABLE)


def test_a_failure_of_the_token_endpoint_stays_one() -> None:
    """For every caller that shares it, the token could not be fetched."""
    failure = meant(Operation.TOKEN, 500)
    assert failure.again(Operation.CREATE_INVITE).message == failure.message


def test_the_body_may_be_any_json() -> None:
    """The transport passes on any JSON value."""
    assert meant(Operation.READ_INVITE, 400, json.loads('{"error": 400, "errorCode": "X", "parameters": null}')).error
