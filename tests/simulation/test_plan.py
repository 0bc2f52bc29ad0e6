"""What ``atlas-invites plan --cluster`` says of a random world is what the operator then does, call for call."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from atlas_invites.atlas import client
from atlas_invites.invitation.resource import RESEND_REQUESTED_AT, Key
from atlas_invites.preview.documents import Source
from atlas_invites.preview.forecast import Rehearsal
from atlas_invites.preview.imagined import FromEnvironment
from atlas_invites.preview.manifests import Manifest
from atlas_invites.preview.plan import rehearse
from atlas_invites.preview.rules import with_defaults
from tests.simulation.machine import KEYS, Life, LifeAfterSunset, LifeOfUsers, policies, roles, specs
from tests.simulation.process import URL
from tests.simulation.world import API_KEY, NAMESPACES, OTHER_SECRET, SECRET, UNTIL_RESYNCED, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.preview.lines import Line
    from atlas_invites.preview.rehearsal import Write
    from tests.simulation.network import Exchange
    from tests.simulation.world import World

pytestmark = pytest.mark.timeout(900)  # hundreds of sequences are one test

BETWEEN = 2.0
"""Seconds between two objects that are applied, so that they have other ages."""
PLANNED = Source("manifests.yaml")
REFUSED_FROM = 300

fixed = settings(
    derandomize=True,
    database=None,
    deadline=None,
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)

edits = st.fixed_dictionaries(
    {"fate": st.sampled_from(["keep", "keep", "edit", "drop", "resend"])},
    optional={"roles": roles, **policies},
)


class _Plans:
    """The end of each life: at rest, a change of the manifests is planned, then applied, and both are compared."""

    world: World
    failed: bool
    change: Callable[[], None] | None = None

    @initialize(
        changes=st.lists(edits, min_size=4, max_size=4),
        new=st.lists(specs, max_size=2),
        prune=st.booleans(),
        restarts=st.booleans(),
    )
    def draw(self, changes: list[dict[str, Any]], new: list[dict[str, Any]], prune: bool, restarts: bool) -> None:  # noqa: FBT001
        """Draw the change that is planned at the end."""
        self.change = partial(self._plan, changes, new, prune=prune, restarts=restarts)

    def teardown(self) -> None:
        """Plan and apply the change, and judge the rest."""
        try:
            if not self.failed and self.change is not None:
                with self._telling():  # type: ignore[attr-defined]
                    self.change()
        finally:
            super().teardown()  # type: ignore[misc]

    def _plan(self, changes: list[dict[str, Any]], new: list[dict[str, Any]], *, prune: bool, restarts: bool) -> None:
        world, cluster = self.world, self.world.cluster
        rules = world.sandbox.state.rules
        rules.dropped_roles, rules.added_roles = frozenset(), ()
        for namespace in NAMESPACES:
            for secret in (SECRET, OTHER_SECRET):
                cluster.secrets[Key(namespace, secret)] = API_KEY
        world.rest()
        world.sandbox.clock.freeze(frozen=True)
        if restarts:
            world.kill()
        wanted, acts = self._wanted(changes, new, prune=prune)
        lines = world.loop.run_until_complete(plan(world, wanted, prune=prune))
        said = Counter(told(write) for line in lines for write in line.writes)
        before = len(world.safety.exchanges)
        world.start()
        for act in acts:
            world.run(BETWEEN, act)
        world.run(UNTIL_RESYNCED)
        done = Counter(carried_out(e) for e in world.safety.exchanges[before:] if is_write(e))
        world.sandbox.clock.freeze(frozen=False)
        assert said == done, [line.text(0, color=False) for line in lines]

    def _wanted(
        self, changes: list[dict[str, Any]], new: list[dict[str, Any]], *, prune: bool
    ) -> tuple[list[Manifest], list[Any]]:
        """Return the manifests, and what applies them to the cluster: deletions come last."""
        cluster = self.world.cluster
        wanted, acts, deletions = [], [], []
        for key, change in zip(sorted(cluster.objects), changes, strict=False):
            spec, fields = cluster.objects[key]["spec"], dict(change)
            fate, resend = fields.pop("fate"), None
            if fate == "drop":
                deletions.append(partial(cluster.delete, key))
                continue
            if fate == "edit":
                if "username" not in spec:
                    fields.pop("reinvitePolicy", None)
                spec = {name: value for name, value in (spec | fields).items() if value is not None}
                acts.append(partial(cluster.edit, key, fields))
            if fate == "resend":
                resend = f"{self.world.loop.time():.6f}"
                acts.append(partial(cluster.annotate, key, RESEND_REQUESTED_AT, resend))
            wanted.append(Manifest(PLANNED, key, with_defaults(spec), None, resend))
        free = [key for key in KEYS if key not in cluster.objects]
        for number, (key, drawn) in enumerate(zip(free, new, strict=False)):
            spec = self._wire(drawn, number)  # type: ignore[attr-defined]
            wanted.append(Manifest(PLANNED, key, with_defaults(spec), None, None))
            acts.append(partial(cluster.create, key, spec))
        namespaces = {manifest.key.namespace for manifest in wanted}
        kept = {manifest.key for manifest in wanted}
        pruned = [key for key in cluster.objects if key not in kept and key.namespace in namespaces]
        return wanted, [*acts, *(partial(cluster.delete, key) for key in pruned if prune)]


class Plans(_Plans, Life):
    """Through the Invites API."""


class PlansAfterSunset(_Plans, LifeAfterSunset):
    """The Invites API ends on the way."""


class PlansOfUsers(_Plans, LifeOfUsers):
    """Through the Users API."""


TestPlans = Plans.TestCase
TestPlans.settings = settings(fixed, max_examples=40)
TestPlansAfterSunset = PlansAfterSunset.TestCase
TestPlansAfterSunset.settings = settings(fixed, max_examples=40)
TestPlansOfUsers = PlansOfUsers.TestCase
TestPlansOfUsers.settings = settings(fixed, max_examples=40)


async def plan(world: World, wanted: list[Manifest], *, prune: bool) -> list[Line]:
    """Return the plan of manifests for a world as it is."""
    with patch.object(client, "HttpClient", world.network.client):
        atlas = client.Atlas(URL, api=world.api, clock=world.cluster.time)
    atlas.stop_sending()
    rehearsal = Rehearsal(atlas, FromEnvironment(API_KEY, world.cluster), API_KEY, world.cluster.time)
    live = {key: resource for key in world.cluster.objects if (resource := world.cluster.resource(key)) is not None}
    try:
        return await rehearse(rehearsal, wanted, live, prune=prune)
    finally:
        await atlas.aclose()


def told(write: Write) -> tuple[str, str, str]:
    """Return a write of a plan in the form in which the network shows it."""
    changed = write.roles ^ write.before if write.operation in {"AddRole", "RemoveRole"} else write.roles
    return write.operation, write.entry.lower(), json.dumps(sorted(changed))


def carried_out(exchange: Exchange) -> tuple[str, str, str]:
    """Return a write that the operator made."""
    body = exchange.body
    changed = [body["groupRole"]] if "groupRole" in body else body.get("roles", [])
    return exchange.operation, exchange.username or exchange.record_id, json.dumps(sorted(changed))


def is_write(exchange: Exchange) -> bool:
    """Return whether a call has changed something in Atlas."""
    return exchange.operation in WRITES and 0 < exchange.status < REFUSED_FROM
