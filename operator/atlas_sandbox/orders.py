"""Convert the JSON of the calls under `/_sandbox/` to faults, overrides, limits and credentials, and back."""

from __future__ import annotations

import re
from datetime import datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, get_args

from atlas_sandbox.credentials import Credential, Kind
from atlas_sandbox.faults import KINDS, Fault
from atlas_sandbox.fields import ControlError, Fields
from atlas_sandbox.limits import Bucket, BucketScope, SendingLimit
from atlas_sandbox.operations import NAMES
from atlas_sandbox.overrides import Override

if TYPE_CHECKING:
    from atlas_sandbox.limits import Limits

Json = dict[str, object]

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


def moment(text: str) -> datetime:
    """Parse a time in ISO 8601, with its zone.

    Raises:
        ControlError: it is not such a time.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ControlError(f"{text} is not a time in ISO 8601") from error


def operations(fields: Fields) -> frozenset[str]:
    """Read the attribute `operations`: names from the table of operations."""
    names = fields.texts("operations", ())
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ControlError(f"unknown operation {unknown[0]}")
    return frozenset(names)


def fault(body: object) -> Fault:
    """Read a fault.

    Raises:
        ControlError: the body is invalid.
    """
    fields = Fields(body)
    count = None if fields.is_null("count") else fields.integer("count", 1, 1)
    seconds = None if fields.is_null("seconds") or "seconds" not in fields else fields.number("seconds", 0.0)
    status = fields.integer("status", 0) or None
    if status is not None and not 200 <= status <= 599:  # noqa: PLR2004 - the statuses of a response
        raise ControlError("status must be from 200 to 599")
    headers = fields.inner("headers")
    ordered = Fault(
        kind=fields.choice("kind", KINDS, "status"),
        operations=operations(fields),
        project=fields.text("project", ""),
        username=fields.text("username", ""),
        when=fields.choice("when", ("before", "after"), "before"),
        count=count,
        skip=fields.integer("skip", 0),
        seconds=seconds,
        status=status,
        error_code=fields.text("errorCode", "UNEXPECTED_ERROR"),
        detail=fields.text("detail", "Unexpected error."),
        parameters=fields.items("parameters"),
        body=fields.text("body") if "body" in fields else None,
        content_type=_header(fields.text("contentType", "application/json")),
        headers={_header_name(name): _header(headers.text(name)) for name in headers.names()},
        challenges=fields.flag("challenges", default=False),
    )
    fields.done()
    return ordered


def show_fault(ordered: Fault) -> Json:
    """Return the JSON of a fault, with how often it struck."""
    return {
        "body": ordered.body,
        "challenges": ordered.challenges,
        "contentType": ordered.content_type,
        "count": ordered.count,
        "detail": ordered.detail,
        "errorCode": ordered.error_code,
        "headers": ordered.headers,
        "id": ordered.id,
        "kind": ordered.kind,
        "operations": sorted(ordered.operations),
        "parameters": ordered.parameters,
        "project": ordered.project,
        "seconds": ordered.seconds,
        "skip": ordered.skip,
        "status": ordered.status,
        "struck": ordered.struck,
        "username": ordered.username,
        "when": ordered.when,
    }


def override(body: object) -> Override:
    """Read an override.

    Raises:
        ControlError: the body is invalid.
    """
    fields = Fields(body)
    ordered = Override(
        username=fields.text("username"),
        attributes=fields.json("attributes"),
        without=frozenset(fields.texts("without", ())),
        operations=operations(fields),
        project=fields.text("project", ""),
    )
    fields.done()
    return ordered


def show_override(ordered: Override) -> Json:
    """Return the JSON of an override."""
    return {
        "attributes": ordered.attributes,
        "id": ordered.id,
        "operations": sorted(ordered.operations),
        "project": ordered.project,
        "username": ordered.username,
        "without": sorted(ordered.without),
    }


def set_limits(limits: Limits, body: object) -> None:
    """Replace all limits by these.

    Raises:
        ControlError: the body is invalid; nothing changed.
    """
    fields = Fields(body)
    buckets = [_bucket(Fields(item)) for item in fields.items("buckets")]
    sending = None
    if "invitations" in fields and not fields.is_null("invitations"):
        inner = fields.inner("invitations")
        sending = SendingLimit(inner.integer("limit", 10), inner.number("minutes", 1.0))
        inner.done()
    fields.done()
    limits.buckets, limits.sending = buckets, sending


def show_limits(limits: Limits) -> Json:
    """Return the JSON of the limits."""
    sending = limits.sending
    return {
        "buckets": [
            {
                "capacity": bucket.capacity,
                "errorCode": bucket.error_code,
                "operations": sorted(bucket.operations),
                "retryAfter": bucket.retry_after,
                "scope": bucket.scope,
                "seconds": bucket.seconds,
            }
            for bucket in limits.buckets
        ],
        "invitations": None if sending is None else {"limit": sending.limit, "minutes": sending.minutes},
    }


def credential(body: object, before: Credential | None = None) -> Credential:
    """Read a credential; attributes that the body does not name are taken from `before`.

    Raises:
        ControlError: the body is invalid.
    """
    fields = Fields(body)
    kind: Kind = fields.choice("kind", get_args(Kind), "apiKey") if before is None else before.kind
    known = None if before is None or before.projects is None else sorted(before.projects)
    networks = None if before is None or before.access_list is None else [str(item) for item in before.access_list]
    projects = fields.optional_texts("projects", known)
    access_list = fields.optional_texts("accessList", networks)
    try:
        allowed = None if access_list is None else tuple(ip_network(item) for item in access_list)
    except ValueError as error:
        raise ControlError(f"accessList: {error}") from error
    made = Credential(
        kind,
        fields.text("id") if before is None else before.id,
        fields.text("secret", None if before is None else before.secret),
        None if projects is None else frozenset(projects),
        project_owner=fields.flag("projectOwner", default=before is None or before.project_owner),
        access_manager=fields.flag("accessManager", default=before is not None and before.access_manager),
        access_list=allowed,
    )
    fields.done()
    return made


def show_credential(known: Credential) -> Json:
    """Return the JSON of a credential, without its secret."""
    return {
        "accessList": None if known.access_list is None else [str(network) for network in known.access_list],
        "id": known.id,
        "kind": known.kind,
        "projectOwner": known.project_owner,
        "accessManager": known.access_manager,
        "projects": None if known.projects is None else sorted(known.projects),
    }


def _header(text: str) -> str:
    if not (text and text.isascii() and text.isprintable() and text == text.strip()):
        raise ControlError("a header must be printable ASCII")
    return text


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text) or text.lower() in {"content-length", "transfer-encoding"}:
        raise ControlError(f"a fault must not set the header {text}")
    return text


def _bucket(fields: Fields) -> Bucket:
    bucket = Bucket(
        operations(fields),
        capacity=fields.integer("capacity", 10, 1),
        seconds=fields.number("seconds", 60.0, 0.001),
        scope=fields.choice("scope", get_args(BucketScope), "project"),
        retry_after=fields.flag("retryAfter", default=True),
        error_code=fields.choice(
            "errorCode", ("RATE_LIMITED_TOKEN_BUCKET", "RATE_LIMITED"), "RATE_LIMITED_TOKEN_BUCKET"
        ),
    )
    fields.done()
    return bucket
