"""Whether Atlas rejects one set of credentials, entirely or for one project. Pure: no network, the clock is given.

A 401 need not mean that the credentials are invalid: Atlas also sends it if a key may not do something in a project.
The table shows what a 401 is about; the first row that matches counts:

====================================================================================  ===================
it is from the token endpoint (which also rejects with 400 and 403)                   the credentials
a newly signed request got another challenge: Atlas does not know the key             the credentials
it was a write, and Atlas accepted the project's last read                            the project's writes
the credentials are rejected already, and no project has been accepted since          the credentials
another project was newly rejected recently, and none has been accepted since         the credentials
otherwise                                                                             the project
====================================================================================  ===================

A call is not sent if the credentials are rejected for it; reads continue while only writes are rejected. One exception:
while the credentials are rejected entirely, the calls for a project whose last call Atlas accepted are still sent if
there is a token, and their responses count.

Rejected credentials are tried again once a minute; all other calls share the failure. Credentials that are rejected
entirely are tried for the project whose last attempt is the oldest. So a project that Atlas accepts again is found,
however many others stay rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited
from atlas_invites.coalesce import Coalesced
from atlas_invites.invitation.model import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

PROBE_EVERY = 60.0
"""Seconds for which rejected credentials are not tried; then one call tries them for all."""
RECENTLY = 2 * PROBE_EVERY
"""Seconds for which a rejected project is evidence. A project in use is tried again in less time."""
PROJECTS = 10_000
"""The maximum number of cached projects for one set of credentials. The least recently used are dropped."""


@dataclass(slots=True, eq=False)
class Scope:
    """A scope for which Atlas accepts or rejects the credentials.

    Attributes:
        accepted: whether Atlas accepts them; None if that is unknown.
        failure: the failure of the last call; None if it was accepted.
        at: when the last call ended, in monotonic seconds.
        turns: the calls that try the credentials, one at a time.
    """

    accepted: bool | None = None
    failure: AtlasFailure | None = None
    at: float = float("-inf")
    turns: Coalesced[httpx.Response] = field(default_factory=Coalesced)

    def learn(self, failure: AtlasFailure | None, began: float, now: float, *, accepted: bool | None) -> None:
        """Record the outcome of a call that began at ``began``, unless a rejection is newer."""
        if self.accepted is not False or began > self.at:
            # A copy: the raised failure keeps its stack frames and their objects alive.
            self.accepted, self.failure, self.at = accepted, failure and failure.again(), now

    def shares(self, asked: float, now: float) -> bool:
        """Return whether a call that was requested at ``asked`` shares the failure. A rejection lasts a minute."""
        if isinstance(self.failure, CredentialsRejected):
            return now < self.at + PROBE_EVERY
        return self.failure is not None and self.at >= asked


@dataclass(slots=True, eq=False)
class ProjectScope(Scope):
    """One project. Its ``writes`` may be rejected while reads are accepted."""

    writes: Scope = field(default_factory=Scope)

    def rejects(self, operation: Operation) -> bool:
        """Return whether Atlas rejected the credentials for the last such call, so that the next one is a probe."""
        return self.accepted is False or (self.writes.accepted is False and not operation.is_read)

    def scopes(self, operation: Operation) -> tuple[Scope, ...]:
        """Return the scopes of a call for the project: the project and, for a write, its writes."""
        return (self,) if operation.is_read else (self, self.writes)


class Rejections:
    """The responses of Atlas to one set of credentials, and what they mean for the next call.

    ``project(of)`` is the scope of a project, ``credentials`` the scope of the credentials as a whole.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.credentials = Scope()
        self.project = lru_cache(PROJECTS)(lambda _: ProjectScope())
        self._clock = clock
        self._evidence: Scope | None = None
        self._next: Scope | None = None

    def is_open(self, project: ProjectScope, operation: Operation) -> bool:
        """Return whether such calls for a project may be sent concurrently, because Atlas accepts the credentials."""
        return bool(project.accepted or self.credentials.accepted) and not project.rejects(operation)

    def scope_of(self, project: ProjectScope, operation: Operation) -> Scope:
        """Return the scope whose turn such a call must wait for, if it may not be sent concurrently."""
        if not self.credentials.accepted:
            return self.credentials
        return next((scope for scope in project.scopes(operation) if scope.accepted is False), project)

    def failure_for(self, project: ProjectScope, operation: Operation, asked: float) -> AtlasFailure | None:
        """Return the failure that a call for a project shares instead of being sent, or None if it may be sent.

        It shares an outage only if another call met it after this call was requested (``asked``).
        """
        whole, now = self.credentials, self._clock()
        for scope in project.scopes(operation):
            if scope.shares(asked, now):
                return scope.failure
        if not isinstance(whole.failure, CredentialsRejected) or whole.failure.operation is Operation.TOKEN:
            return whole.failure if whole.shares(asked, now) else None
        return None if project.accepted or self._is_turn_of(project, now) else whole.failure

    def learn(
        self,
        project: ProjectScope,
        operation: Operation,
        began: float,
        failure: AtlasFailure | None,
        *,
        unknown_key: bool = False,
    ) -> AtlasFailure | None:
        """Record the outcome of a call that began at ``began``, and return what it means by the table above.

        ``failure`` is the meaning of the response, or of its absence, without this history. ``unknown_key``: a newly
        signed request got another challenge.
        """
        now = self._clock()
        if isinstance(failure, RateLimited | AtlasUnavailable):
            scope = self.credentials if failure.operation is Operation.TOKEN else project
            scope.learn(failure, began, now, accepted=scope.accepted)
        elif not isinstance(failure, CredentialsRejected):
            self._evidence = None
            for scope in (self.credentials, *project.scopes(operation)):
                if not scope.accepted or scope.failure is not None:
                    scope.learn(None, began, now, accepted=True)
        elif failure.operation is Operation.TOKEN:
            self._reject_whole(failure, began, now)
        elif not operation.is_read and project.accepted and not unknown_key:
            failure = failure.for_project()
            project.writes.learn(failure, began, now, accepted=False)
        else:
            if unknown_key or self.credentials.accepted is False or self._is_agreed(project, now):
                self._reject_whole(failure, began, now)
            else:
                failure = failure.for_project()
            if project.accepted is not False:
                self._evidence = project
            project.learn(failure, began, now, accepted=False)
        return failure

    def _reject_whole(self, failure: CredentialsRejected, began: float, now: float) -> None:
        self.credentials.learn(failure, began, now, accepted=False)
        self._next = None

    def _is_agreed(self, project: Scope, now: float) -> bool:
        """Return whether a newly rejected project is the second one, without an acceptance in between.

        A project that stays rejected while others are accepted is no longer evidence.
        """
        other = self._evidence
        is_new = project.accepted is not False and other is not project
        return is_new and other is not None and now < other.at + RECENTLY

    def _is_turn_of(self, project: Scope, now: float) -> bool:
        """Return whether rejected credentials are tried for this project: its last attempt is the oldest.

        Only projects that ask count. If the one whose turn it is does not ask for a minute, every other one may try.
        """
        if self._next is None or project.at <= self._next.at:
            self._next = project
        waited = now - self.credentials.at
        return waited >= 2 * PROBE_EVERY or (waited >= PROBE_EVERY and self._next is project)
