"""The error responses of the API, with Atlas's codes, texts and parameters.

The shape is the `ApiError` of the published OpenAPI document. Texts that were seen in real responses are copied exactly
(`GROUP_NOT_FOUND`, `NOT_IN_GROUP`, `INVALID_ENUM_VALUE`, `INVALID_ATTRIBUTE`, `USER_UNAUTHORIZED`,
`INVALID_VERSION_DATE`, `VERSION_GONE`). The others imitate their style.
"""

from __future__ import annotations

from http import HTTPStatus

CODES: dict[str, tuple[int, str]] = {
    "VALIDATION_ERROR": (400, "{0}"),
    "MALFORMED_JSON": (400, "Received JSON is malformed."),
    "INVALID_JSON_ATTRIBUTE": (400, "Received JSON for the {0} attribute does not match expected format."),
    "INVALID_ATTRIBUTE": (400, "Invalid attribute {0} specified."),
    "MISSING_ATTRIBUTE": (400, "The required attribute {0} was not specified."),
    "INVALID_ENUM_VALUE": (400, "An invalid enumeration value {0} was specified."),
    "INVALID_EMAIL_ADDRESS": (400, "An invalid email address {0} was specified."),
    "INVALID_GROUP_ID": (400, "An invalid group ID {0} was specified."),
    "INVALID_USER_ID": (400, "An invalid user ID {0} was specified."),
    "INVITATION_ALREADY_EXISTS": (400, "An invitation for {0} to group {1} is already pending."),
    "INVITATIONS_RATE_LIMITED_IP": (400, "The rate limit of {0} invitations per {1} minutes for this IP was exceeded."),
    "UNAUTHORIZED": (401, "You are not authorized for this resource."),
    "USER_UNAUTHORIZED": (403, "Current user is not authorized to perform this action."),
    "IP_ADDRESS_NOT_ON_ACCESS_LIST": (403, "IP address {0} is not allowed to access this resource."),
    "GROUP_NOT_FOUND": (404, "No group with ID {0} exists."),
    "NOT_IN_GROUP": (404, "The current user is not in the group, or there is no group with ID {0}."),
    "INVALID_INVITATION_ID": (404, "An invalid invitation ID {0} was specified."),
    "USER_NOT_FOUND": (404, "No user with ID {0} exists in group {1}."),
    "RESOURCE_NOT_FOUND": (404, "Cannot find resource {0}."),
    "METHOD_NOT_ALLOWED": (405, "Method {0} is not allowed on {1}."),
    "INVALID_VERSION_DATE": (406, "Invalid accept header or version date."),
    "USER_ALREADY_IN_GROUP": (409, "User {0} is already in group {1}."),
    "USER_ALREADY_INVITED": (409, "User {0} has a pending invitation to group {1}."),
    "USERNAME_IN_USE": (409, "The username {0} is already in use."),
    "CANNOT_REMOVE_LAST_ROLE": (409, "User {0} must have at least one role in group {1}."),
    "VERSION_GONE": (410, "Version {0} of {1} is no longer available."),
    "PAYLOAD_TOO_LARGE": (413, "The request body is larger than {0} bytes."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Content type {0} is not supported."),
    "RATE_LIMITED": (429, "Resource {0} is limited to {1} requests every {2} seconds."),
    "RATE_LIMITED_TOKEN_BUCKET": (429, "Resource {0} is limited to {1} requests every {2} seconds."),
    "UNEXPECTED_ERROR": (500, "Unexpected error."),
}


def reason_of(status: int) -> str:
    """Return the reason phrase of an HTTP status, empty if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class AtlasError(Exception):
    """An error response: a code of `CODES`, its parameters, and its headers."""

    def __init__(
        self,
        code: str,
        *parameters: object,
        headers: tuple[tuple[str, str], ...] = (),
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.code = code
        self.status, text = CODES[code]
        self.detail = text.format(*parameters)
        self.parameters = list(parameters)
        self.headers = headers
        self.fields = fields
        super().__init__(f"{self.status} {code}: {self.detail}")

    def body(self) -> dict[str, object]:
        """Return the JSON body, with `badRequestDetail` if single fields of the request body are invalid."""
        body: dict[str, object] = {}
        if self.fields:
            fields = [{"description": text, "field": field} for field, text in self.fields]
            body["badRequestDetail"] = {"fields": fields}
        return body | {
            "detail": self.detail,
            "error": self.status,
            "errorCode": self.code,
            "parameters": self.parameters,
            "reason": reason_of(self.status),
        }
