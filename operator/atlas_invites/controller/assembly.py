"""Assembles the controller from its parts and the ports for Atlas and Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from atlas_invites.controller.attempt import Collaborators
from atlas_invites.controller.engine import Engine
from atlas_invites.controller.memory import Memories
from atlas_invites.controller.polled import Polled
from atlas_invites.controller.queue import WorkQueue
from atlas_invites.controller.reconcile import Reconciler
from atlas_invites.controller.resolve import Access, names_project, project_of
from atlas_invites.controller.resync import Resync
from atlas_invites.controller.sends import Sends
from atlas_invites.controller.store import Store, Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.controller.ports import Atlas, Events, Invites, References
    from atlas_invites.invitation.credentials import StoredCredentials
    from atlas_invites.invitation.resource import Key, Resource

SECRET_TTL, PROJECT_TTL = 60.0, 30.0
"""Seconds for which a Secret or AtlasProject that was read is cached for all objects that name it."""

NAMESPACE_TTL = 1.0
"""Seconds for which a namespace that was read is cached for all deletions in it."""

InvitesT = TypeVar("InvitesT", bound="Invites")
EventsT = TypeVar("EventsT", bound="Events")
AtlasT = TypeVar("AtlasT", bound="Atlas")


class Controller(Generic[InvitesT, EventsT, AtlasT]):
    """The parts of the controller.

    ``workers`` is the number of concurrent reconciles, ``resync_interval`` the seconds between two resyncs of a
    project, and ``deletion_grace`` the seconds that a deletion waits before it removes something in Atlas. ``clock``
    returns monotonic seconds, ``wall`` the local time in UTC, and ``jitter`` the back-off factors of the work queue.
    ``default_secret`` is the Secret of objects that name none, if there is one.
    """

    def __init__(  # noqa: PLR0913 - what the controller needs
        self,
        *,
        invites: InvitesT,
        references: References,
        events: EventsT,
        atlas: AtlasT,
        workers: int,
        resync_interval: float,
        deletion_grace: float,
        clock: Callable[[], float],
        wall: Callable[[], datetime],
        jitter: Callable[[], float] | None = None,
        store: Store | None = None,
        default_secret: Key | None = None,
    ) -> None:
        self.invites, self.events, self.atlas = invites, events, atlas
        self.store = store = Store() if store is None else store
        self.queue: WorkQueue[Key] = WorkQueue(
            clock, jitter, workers=workers, group=lambda key: project_of(store.get(key))
        )

        def wake(wanted: Callable[[Resource], bool]) -> None:
            self.engine.wake([resource.key for resource in store if wanted(resource)])

        credentials: Polled[Key, StoredCredentials] = Polled(
            references.credentials, SECRET_TTL, clock, lambda secret: wake(access.names_secret(secret))
        )
        group_ids: Polled[Key, str] = Polled(
            references.group_id, PROJECT_TTL, clock, lambda project: wake(names_project(project))
        )
        endings: Polled[str, bool] = Polled(references.is_ending, NAMESPACE_TTL, clock, lambda _: None)
        access = Access(credentials, group_ids, endings, clock, default_secret)
        writer = Writer(store, invites)
        self.collaborators = Collaborators(
            store,
            writer,
            access,
            atlas,
            events,
            Memories(),
            Sends(atlas, clock),
            clock,
            wall,
            deletion_grace,
        )
        self.reconciler = Reconciler(self.collaborators)
        self.engine = Engine(store, self.queue, invites, self.reconciler, writer, workers=workers, clock=clock)
        self.resync = Resync(store, self.queue, access, atlas, events, resync_interval, wall=wall, clock=clock)
