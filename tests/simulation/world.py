"""One simulation: a loop with virtual time, a cluster, Atlas, the network, and the operator's process."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from atlas_invites.failures import Failure
from atlas_invites.invitation.credentials import ApiKey, Credentials, ServiceAccount
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import FORCE_DELETE, RECONCILE_REQUESTED_AT, Key, Resource
from atlas_sandbox.clock import Clock
from atlas_sandbox.project import Lag
from atlas_sandbox.sandbox import CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY, PUBLIC_KEY, Sandbox
from tests.simulation.cluster import Cluster, Trouble
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.process import RESYNC_INTERVAL, Process
from tests.simulation.safety import Safety
from tests.unit.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.atlas.sunset import Mode

OTHER_PROJECT = "a" * 24
NAMESPACES = ("team-a", "team-b")
SECRET, OTHER_SECRET, PROJECT_REF = "atlas-credentials", "second-credentials", "my-project"
API_KEY: Credentials = ApiKey(PUBLIC_KEY, PRIVATE_KEY)
ACCOUNT: Credentials = ServiceAccount(CLIENT_ID, CLIENT_SECRET)
WRITES = frozenset({"CreateInvite", "AddUser", "UpdateInvite", "CancelInvite", "RemoveUser", "AddRole", "RemoveRole"})
UNTIL_RENEWED = 3700.0
"""The seconds after which status shows the latest error of a failure that repeats."""
UNTIL_RESYNCED = 700.0
"""The seconds within which a resync has observed the result of the last writes."""
UNTIL_RETRIED = 900.0 + 2 * UNTIL_RESYNCED
"""The seconds after which all held calls were tried again and observed: ``Retry-After`` is at most 900."""
STRANGER = "joe@example.com"
"""A person whom no object invites."""
LINES = 60
"""The number of lines in the story of a failure."""
NEAR = 200.0
"""A rest is not judged within these seconds of the end of an invitation, or of the first day after it was sent."""


class VirtualTime(VirtualTimeLoop):
    """Virtual time that can also jump, as on a machine that slept: then every timer in between is due at once."""

    def jump(self, seconds: float) -> None:
        """Let time pass in which nothing runs."""
        self._now += seconds


class Log(logging.Handler):
    """Keep the log of the operator."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        line = self.format(record)
        self.lines.append(line)
        if record.levelno >= logging.ERROR:
            self.errors.append(line)


class World:
    """One simulation. ``run`` lets time pass; between the runs, tests change the world.

    Args:
        api: the setting ``--atlas-api``.
    """

    def __init__(self, api: Mode = "auto") -> None:
        self.loop = VirtualTime()
        self.api: Mode = api
        self.cluster = Cluster(self.loop.time)
        numbers = count(1)
        self.sandbox = Sandbox(Clock(self.cluster.now), lambda: f"{next(numbers):024x}")
        self.sandbox.state.add_project(OTHER_PROJECT, "other")
        self.safety = Safety(self.cluster, self.sandbox, frozenset({PUBLIC_KEY, CLIENT_ID}))
        self.network = Network(
            self.sandbox,
            self.loop.time,
            before=self.safety.before,
            arriving=self.safety.arriving,
            done=self.safety.done,
            after=self.safety.after,
        )
        for namespace in NAMESPACES:
            self.cluster.secrets[Key(namespace, SECRET)] = API_KEY
            self.cluster.secrets[Key(namespace, OTHER_SECRET)] = ACCOUNT
        self.cluster.finalized = self.safety.finalized
        self.wall_ahead = 0.0
        self.process: Process | None = None
        self.log = Log()
        logging.getLogger("atlas_invites").addHandler(self.log)
        self.start()

    # Time.

    def run(self, seconds: float, act: Callable[[], object] = lambda: None) -> None:
        """Call ``act``, let time pass, and check that no law was broken."""

        async def passing() -> None:
            act()
            await asyncio.sleep(seconds)

        self.loop.run_until_complete(passing())
        self.check()

    def check(self) -> None:
        """Raise if a law was broken, an error was logged, or the process has ended."""
        self.safety.check_told()
        assert not self.safety.broken, "\n".join(self.safety.broken)
        assert not self.log.errors, "\n".join(self.log.errors)
        if self.process is not None:
            self.process.check()

    def close(self) -> None:
        """End everything."""
        logging.getLogger("atlas_invites").removeHandler(self.log)
        self.kill()
        left = asyncio.all_tasks(self.loop)

        async def ending() -> None:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.loop.run_until_complete(ending())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    # The operator.

    def start(self) -> None:
        """Start the operator, if it is not running."""

        async def starting() -> None:
            self.safety.started = self.loop.time()
            self.cluster.failing.clear()
            self.process = Process(self.cluster, self.network, self.api, self.safety.told, self.wall)

        if self.process is None:
            self.loop.run_until_complete(starting())

    def wall(self) -> datetime:
        """Return the time by the clock of the operator's node."""
        return self.cluster.now() + timedelta(seconds=self.wall_ahead)

    def kill(self) -> None:
        """Kill the operator, if it is running."""
        if self.process is not None:
            self.loop.run_until_complete(self.process.kill())
            self.process = None

    # Users.

    def request(self, key: Key, annotation: str = RECONCILE_REQUESTED_AT) -> None:
        """Request a reconcile, or what another annotation requests."""
        value = "true" if annotation == FORCE_DELETE else f"{self.loop.time():.6f}"
        self.cluster.annotate(key, annotation, value)

    def spoil_secret(self, secret: Key, *, missing: bool) -> None:
        """Delete a Secret, or make it invalid."""
        self.cluster.secrets.pop(secret, None)
        if not missing:
            self.cluster.secrets[secret] = Failure(Reason.SECRET_INVALID, f"The Secret {secret.name} is empty.")

    # Rest.

    def rest(self) -> None:
        """End every fault, let time pass until everything is at rest, and judge it."""
        self.sandbox.faults.clear()
        self.sandbox.state.set_lag(Lag())
        for override in self.sandbox.overrides.all():
            if override.username != STRANGER:
                self.sandbox.overrides.remove(override.id)
        self.network.down = False
        self.cluster.trouble = Trouble()
        self.cluster.watch.twice, self.cluster.watch.lag = False, 0.001
        self.start()
        self.run(1, self.cluster.mend)
        self.run(UNTIL_RETRIED)
        withheld = list(self._oracle().withheld())
        for key in withheld:
            self.run(0, partial(self.request, key))
        if withheld:
            self.run(UNTIL_RESYNCED)
        while self._is_near():
            self.run(NEAR)
        if any(Resource.from_body(body).status.error is not None for body in self.cluster.objects.values()):
            self.run(UNTIL_RENEWED)
        problems = list(self._oracle().problems())
        assert not problems, "\n".join(problems)
        self._check_secrets()

    def stay_quiet(self, resyncs: int) -> None:
        """Check that nothing is written any more, to Atlas or to the cluster, during some resyncs.

        Atlas's clock is frozen, so that nothing expires meanwhile.
        """
        self.sandbox.clock.freeze(frozen=True)
        writes, calls = len(self.cluster.writes), self._atlas_writes()
        self.run(resyncs * RESYNC_INTERVAL * 1.1)
        assert self._atlas_writes() == calls, "law 5: the operator wrote to Atlas, although nothing had changed"
        written = self.cluster.writes[writes:]
        assert not written, f"law 5: the operator wrote to the cluster, although nothing had changed: {written}"
        self.sandbox.clock.freeze(frozen=False)

    def story(self) -> str:
        """Return what happened: calls, writes, the objects, and the log."""
        calls = [
            f"{x.began:14.3f} {x.operation:13} {x.group_id[:3]} {x.record_id or x.username} "
            f"{'refused' if x.refused else x.status or 'no response'} {x.code} {x.body.get('roles', '')}"
            for x in self.safety.exchanges
        ]
        writes = [f"{w.at:14.3f} {w.kind:13} {w.key} {w.what}" for w in self.cluster.writes]
        objects = [json.dumps(o) for o in self.cluster.objects.values()]
        return "\n".join([*sorted([*calls, *writes])[-LINES:], *objects, *self.log.lines[-LINES:]])

    def _atlas_writes(self) -> int:
        """Return how many writes Atlas has authenticated: the next call, whatever it is, tries a rejected key."""
        return sum(
            number
            for name, number in self.sandbox.calls.by_status.items()
            if name.split()[0] in WRITES and not name.endswith(" 401")
        )

    def reason(self, key: Key) -> str:
        """Return the reason of an object's condition Ready."""
        ready = Resource.from_body(self.cluster.objects[key]).status.condition("Ready")
        return ready.reason if ready else ""

    def _is_near(self) -> bool:
        """Return whether an invitation has just ended or is about to, so that the operator may not have observed it."""
        now, near = self.sandbox.clock(), timedelta(seconds=NEAR)
        statuses = (Resource.from_body(o).status for o in self.cluster.objects.values())
        known = [status.invitation for status in statuses if status.invitation is not None]
        ends = [time for i in known for time in (i.expires, i.created and i.created + timedelta(days=1)) if time]
        return any(abs(end - now) < near for end in ends)

    def _oracle(self) -> Oracle:
        now, sunset = self.sandbox.clock(), self.sandbox.sunset
        over = sunset.gone(now) or now.date() >= sunset.day
        accepted = {API_KEY, ACCOUNT} & {
            ApiKey(c.id, c.secret) if c.kind == "apiKey" else ServiceAccount(c.id, c.secret)
            for c in self.sandbox.credentials.all()
        }
        return Oracle(self.cluster, self.sandbox, self.api == "users" or over, frozenset(accepted), self.safety)

    def _check_secrets(self) -> None:
        """Check law 9, and that no e-mail was logged."""
        said = "\n".join(self.log.lines)
        shown = "\n".join([said, *(n.note for _, n in self.cluster.notices), *map(str, self.cluster.objects.values())])
        for secret in (PRIVATE_KEY, CLIENT_SECRET):
            assert secret not in shown, "law 9: a secret was shown"
        assert "@" not in said, "an e-mail was logged"
