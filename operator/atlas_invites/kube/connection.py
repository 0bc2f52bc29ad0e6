"""The client of the API server, and how its errors read."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from atlas_invites.environment import openssl_reason
from atlas_invites.failures import ClusterUnavailable, Stale
from atlas_invites.kube.session import USER_AGENT, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_TIMEOUT = 10.0
"""Seconds for one call to the API server."""

MERGE_PATCH = "application/merge-patch+json"
_INVALID = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError)


def client_of(session: Session) -> ApiClient:
    """Return a client of the cluster that sends its requests by a session."""
    client = ApiClient(Configuration(host=session.server))
    client.user_agent = USER_AGENT
    pool: Any = session
    client.rest_client.pool_manager = pool
    return client


def refusal(error: ApiException) -> str | None:
    """Return the words with which the API server refuses a write for good, or None for every other error.

    An invalid object (400, 413, 422: also what a ValidatingAdmissionPolicy denies) stays invalid. A 403 is one of
    admission if it says ``denied`` (Kubernetes: "Validating Admission Policy", "Dynamic Admission Control"); any other
    403 is about the operator's rights.
    """
    try:
        words = str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, KeyError):
        words = str(error.reason)
    is_denied = error.status == HTTPStatus.FORBIDDEN and "denied" in words
    return words if is_denied or error.status in _INVALID else None


def micro_time() -> str:
    """Return this machine's time, in UTC, as MicroTime wants it: the API server refuses one without a fraction."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def cluster_errors(what: str) -> Iterator[None]:
    """Translate the client's errors about ``what``: changed or gone is ``Stale``, all others ``ClusterUnavailable``.

    So is an answer of 2xx that no API server sends, such as a load balancer's page: what the client or ``Resource``
    makes of it is one of the errors of a value that is not what it should be.
    """
    try:
        yield
    except ApiException as error:
        if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise Stale(f"{what}: it has changed or gone") from None
        raise ClusterUnavailable(f"{what}: HTTP {error.status} {error.reason}{_hint(error)}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = openssl_reason(error)
        raise ClusterUnavailable(f"{what}: {type(error).__name__}{f' ({reason})' if reason else ''}") from None
    except _MALFORMED as error:
        odd = f"the response did not come from a Kubernetes API server ({type(error).__name__})"
        raise ClusterUnavailable(f"{what}: {odd}") from None


def _hint(error: ApiException) -> str:
    """Return what to look at; a namespace that is being deleted may take the operator's rights away first."""
    if error.status != HTTPStatus.FORBIDDEN:
        return ""
    if "NamespaceTerminating" in str(error.body):
        return "; the namespace is being deleted"
    return "; the operator's RBAC lacks this right, or the namespace is being deleted"
