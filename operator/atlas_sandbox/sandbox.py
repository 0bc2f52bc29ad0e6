"""The sandbox: the state machine, its clock, the credentials, and the ordered faults."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal

from atlas_sandbox.auth import Authenticator
from atlas_sandbox.calls import Calls
from atlas_sandbox.clock import Clock
from atlas_sandbox.credentials import Credential, Credentials
from atlas_sandbox.faults import Faults
from atlas_sandbox.ids import ObjectIds
from atlas_sandbox.limits import Limits
from atlas_sandbox.overrides import Overrides
from atlas_sandbox.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT_ID = "32b6e34b3d91647abb20e7b8"
"""The project that exists at the start. The examples of Atlas's documentation use this id."""
PUBLIC_KEY = "sandbox"
PRIVATE_KEY = "sandbox-private-key"
CLIENT_ID = "mdb_sa_id_sandbox"
CLIENT_SECRET = "mdb_sa_sk_sandbox"  # noqa: S105 - it opens nothing but the sandbox

SUNSET = date(2027, 7, 1)
"""The day on which the Invites API ends (its `Sunset` header)."""


@dataclass(slots=True)
class Sunset:
    """Whether the deprecated versions still work: always (`off`), never (410, `on`), or until the day (`clock`)."""

    mode: Literal["off", "on", "clock"] = "off"
    day: date = SUNSET

    def gone(self, now: datetime) -> bool:
        """Return whether the deprecated versions are gone."""
        begins = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return self.mode == "on" or (self.mode == "clock" and now >= begins)


class Sandbox:
    """One sandbox; `new_id` returns ids of 24 hex digits (made from the clock by default)."""

    def __init__(
        self, clock: Clock | None = None, new_id: Callable[[], str] | None = None, *, latency: float = 0.0
    ) -> None:
        self.clock = clock or Clock()
        self.new_id = new_id or ObjectIds(self.clock)
        self._initial_latency = latency
        self.reset()

    def reset(self) -> None:
        """Restore the initial state: one empty project, one key, one service account, no faults; the clock stays."""
        self.state = State(self.clock, self.new_id)
        self.credentials = Credentials()
        self.auth = Authenticator.of(self.credentials, self.clock)
        self.limits = Limits(self.clock)
        self.faults = Faults()
        self.overrides = Overrides()
        self.calls = Calls()
        self.sunset = Sunset()
        self.latency = self._initial_latency
        """The seconds by which every call of the API is delayed."""
        self.envelope_keeps_status = False
        """Whether an enveloped response keeps its HTTP status; otherwise it is 200 (a 401 always keeps it)."""
        self.state.add_project(PROJECT_ID, "sandbox")
        self.credentials.add(Credential("apiKey", PUBLIC_KEY, PRIVATE_KEY))
        self.credentials.add(Credential("serviceAccount", CLIENT_ID, CLIENT_SECRET))
