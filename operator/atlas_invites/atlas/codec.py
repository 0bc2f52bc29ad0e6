"""Encodes calls as requests, and decodes responses to results."""

from __future__ import annotations

import logging
from contextlib import suppress
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode

import httpx

from atlas_invites.atlas.errors import AtlasUnavailable, VersionGone

if TYPE_CHECKING:
    from atlas_invites.atlas.calls import Call
    from atlas_invites.atlas.clock import AtlasClock
    from atlas_invites.atlas.sunset import Sunset

log = logging.getLogger(__name__)

T = TypeVar("T")


class Codec:
    """Encodes calls and decodes their results, optionally with an envelope.

    It also learns from responses the time of Atlas, and when the Invites API ends.
    """

    def __init__(self, url: str, time: AtlasClock, sunset: Sunset, *, envelope: bool) -> None:
        self._url = f"{url.rstrip('/')}/api/atlas/v2/groups/"
        self._envelope = envelope
        self._time = time
        self._sunset = sunset
        self._agent = f"atlas-invites/{version('atlas-invites')}"

    def request(self, call: Call[T]) -> httpx.Request:
        """Return the request of a call. Its extensions are documented at ``transport.Transport``.

        Path and query are encoded as aiohttp writes them on the wire. aiohttp decodes what need not be encoded, such as
        the ``@`` of an e-mail, and Atlas rejects a digest that was signed over other bytes than were sent.
        """
        query = urlencode([*call.query, *[("envelope", "true")] * self._envelope], quote_via=quote, safe="!$'()*,:@/?")
        endpoint = call.endpoint
        headers = {"Accept": endpoint.media_type, "Accept-Encoding": "identity", "User-Agent": self._agent}
        if call.body is not None:
            headers["Content-Type"] = endpoint.media_type
        return httpx.Request(
            endpoint.method,
            f"{f'{self._url}{call.path}'.rstrip('/')}{'?' if query else ''}{query}",
            headers=headers,
            json=call.body,
            extensions={"operation": endpoint.operation, "of": call.group_id, "envelope": self._envelope},
        )

    def result(self, call: Call[T], response: httpx.Response) -> T:
        """Return the typed result of a call.

        Raises:
            AtlasFailure: the response is a failure, or cannot be read.
        """
        json, failure = response.extensions["json"], response.extensions["failure"]
        operation = call.endpoint.operation
        log.debug("%s: HTTP %d", operation, response.status_code)
        if failure is None or json is not None:  # else it may come from a proxy
            self._time.learn(response.headers)
            self._sunset.learn(operation, response.headers)
        if isinstance(failure, VersionGone):
            failure = self._sunset.over(call.group_id, failure)
        if failure is not None:
            raise failure
        if json is not None or response.status_code == HTTPStatus.NO_CONTENT:  # a proxy may send an empty 200
            with suppress(ValueError, TypeError, KeyError):  # not shown: the error's text may contain the response
                return call.endpoint.read(json, call.entry_id)
        raise AtlasUnavailable.of(operation, "a response that cannot be read")
