"""The client of the API server, and the translation of its errors."""

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
    """Return a client of the cluster that sends its requests through a session."""
    client = ApiClient(Configuration(host=session.server))
    client.user_agent = USER_AGENT
    pool: Any = session
    client.rest_client.pool_manager = pool
    return client


def refusal(error: ApiException) -> str | None:
    """Return the message with which the API server rejects a write permanently, or None for every other error.

    An invalid object (400, 413, 422; a ValidatingAdmissionPolicy also responds with these) stays invalid. A 403 comes
    from admission if its message says ``denied`` (Kubernetes: "Validating Admission Policy", "Dynamic Admission
    Control"); any other 403 is about the operator's rights.
    """
    try:
        words = str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, KeyError):
        words = str(error.reason)
    is_denied = error.status == HTTPStatus.FORBIDDEN and "denied" in words
    return words if is_denied or error.status in _INVALID else None


def micro_time() -> str:
    """Return the local time in UTC as a MicroTime. The API server rejects one without fractional seconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def cluster_errors(what: str) -> Iterator[None]:
    """Translate the errors of a call: ``Stale`` if the object has changed or is gone, else ``ClusterUnavailable``.

    A 2xx response that does not come from an API server, such as the page of a load balancer, makes the client or
    ``Resource`` raise one of ``_MALFORMED``; it becomes ``ClusterUnavailable`` too. ``what`` names the call.
    """
    try:
        yield
    except ApiException as error:
        if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise Stale(f"{what}: the object has changed or is gone") from None
        raise ClusterUnavailable(f"{what}: HTTP {error.status} {error.reason}{_hint(error)}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = openssl_reason(error)
        raise ClusterUnavailable(f"{what}: {type(error).__name__}{f' ({reason})' if reason else ''}") from None
    except _MALFORMED as error:
        odd = f"the response did not come from a Kubernetes API server ({type(error).__name__})"
        raise ClusterUnavailable(f"{what}: {odd}") from None


def _hint(error: ApiException) -> str:
    """Return a hint for a 403. The deletion of a namespace may remove the operator's rights first."""
    if error.status != HTTPStatus.FORBIDDEN:
        return ""
    if "NamespaceTerminating" in str(error.body):
        return "; the namespace is being deleted"
    return "; the operator's RBAC lacks this right, or the namespace is being deleted"
