"""The kopf handlers: events in, nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import kopf

from atlas_invites.invitation.resource import GROUP, PLURAL, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


def register(registry: kopf.OperatorRegistry, sink: Callable[[Resource, bool], None]) -> None:
    """Send every event of the watch to ``sink(resource, deleted)``.

    A handler that raises loses the event (kopf logs it and goes on), so nothing is raised: an object that cannot be
    read is logged; the next complete list finds it.
    """

    async def on_event(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        try:
            sink(Resource.from_body(event["object"]), event["type"] == "DELETED")
        except Exception:
            log.exception("an event was not understood and is left to the next complete list")

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(on_event)
