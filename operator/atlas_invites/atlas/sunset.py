"""Decides which API is in use for a project, and tracks what Atlas says about the end of the Invites API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from atlas_invites.atlas.errors import INVITES, AtlasFailure, InvalidRequest, VersionGone
from atlas_invites.atlas.responses import http_date
from atlas_invites.invitation.model import Api, AtlasInfo, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

Mode = Literal["auto", "invites", "users"]


class Sunset:
    """Decides for each project: ``users`` and ``invites`` never switch; ``auto`` begins with the Invites API.

    ``now`` returns the time of Atlas, UTC.
    """

    def __init__(self, mode: Mode, now: Callable[[], datetime]) -> None:
        self._mode = mode
        self._now = now
        self._gone: set[str] = set()
        self._deprecated_since: datetime | None = None
        self.ends_at: datetime | None = None
        """When the Invites API ends, by the responses of Atlas; None if they did not say it."""

    def api(self, group_id: str) -> Api:
        """Return the API that is in use for a project."""
        if self._mode == "auto":
            over = self.ends_at is not None and self._now() >= self.ends_at
            return Api.USERS if over or group_id in self._gone else Api.INVITES
        return Api.USERS if self._mode == "users" else Api.INVITES

    def info(self, group_id: str) -> AtlasInfo:
        """Return the API in use and, if it is the Invites API, what Atlas says about its end (RFC 3339 times)."""
        api = self.api(group_id)
        if api is Api.USERS:
            return AtlasInfo(api=api)
        return AtlasInfo(api=api, deprecated_since=_text(self._deprecated_since), sunset=_text(self.ends_at))

    def learn(self, operation: Operation, headers: Mapping[str, str]) -> None:
        """Record ``Deprecation`` and ``Sunset`` (RFC 9745, RFC 8594) from a response of the Invites API."""
        if operation in INVITES:
            self._deprecated_since = http_date(headers.get("Deprecation")) or self._deprecated_since
            self.ends_at = http_date(headers.get("Sunset")) or self.ends_at

    def over(self, group_id: str, failure: VersionGone) -> AtlasFailure:
        """Switch a project to the Users API, and return the failure that the call is to raise."""
        if self._mode != "auto":
            return InvalidRequest(failure.operation, failure.what, error=failure.error)
        self._gone.add(group_id)
        return failure


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")
