"""One project: its records, found by id and by e-mail, and what its lagging lists still show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from atlas_sandbox.model import Ended, Invitation, User, Via, email_key

if TYPE_CHECKING:
    from datetime import datetime

R = TypeVar("R", Invitation, User)

ENDED_KEPT = 100_000
"""How many ended invitations and memberships a project remembers."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far lists lie behind: a change is unseen for `seconds`, and by the next `calls` lists; 0 for not at all."""

    seconds: float = 0.0
    calls: int = 0
    filtered: bool = False
    """Whether a list that asks for one `username` lags too."""

    @property
    def on(self) -> bool:
        """Whether lists lag at all."""
        return self.seconds > 0 or self.calls > 0


@dataclass(slots=True)
class _Change(Generic[R]):
    """What a list that has not caught up shows for one e-mail: the record before the change."""

    at: datetime
    email: str
    before: R | None
    calls: int


class Shelf(Generic[R]):
    """The records of one kind, at most one an e-mail (compared in lower case), with lists that may lag behind."""

    def __init__(self) -> None:
        self.lag = Lag()
        self._by_id: dict[str, R] = {}
        self._by_email: dict[str, R] = {}
        self._changes: deque[_Change[R]] = deque()

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, record_id: str) -> R | None:
        """The record of this id."""
        return self._by_id.get(record_id)

    def of(self, email: str) -> R | None:
        """The record of this e-mail."""
        return self._by_email.get(email_key(email))

    def all(self) -> list[R]:
        """Every record, as it is now."""
        return list(self._by_email.values())

    def put(self, record: R, now: datetime) -> None:
        """Keep a record, in the place of the one that its e-mail had."""
        email = email_key(record.username)
        self._remember(email, now)
        before = self._by_email.get(email)
        if before is not None:
            del self._by_id[before.id]
        self._by_email[email] = self._by_id[record.id] = record

    def drop(self, record: R, now: datetime) -> None:
        """Forget a record."""
        email = email_key(record.username)
        self._remember(email, now)
        del self._by_email[email], self._by_id[record.id]

    def listed(self, now: datetime, email: str | None = None) -> list[R]:
        """What a list shows now (of one e-mail): the records without the changes that it has not caught up with."""
        changes = self._unseen(now) if self._changes and (email is None or self.lag.filtered) else []
        if email is not None:
            record = self.of(email)
            for change in reversed(changes):
                if change.email == email_key(email):
                    record = change.before
            return [] if record is None else [record]
        if not changes:
            return self.all()
        shown = dict(self._by_email)
        for change in reversed(changes):
            if change.before is None:
                shown.pop(change.email, None)
            else:
                shown[change.email] = change.before
        return list(shown.values())

    def _remember(self, email: str, now: datetime) -> None:
        if self.lag.on:
            self._changes.append(_Change(now, email, self._by_email.get(email), self.lag.calls))

    def _unseen(self, now: datetime) -> list[_Change[R]]:
        age = timedelta(seconds=self.lag.seconds)
        unseen = [change for change in self._changes if change.calls > 0 or now - change.at < age]
        self._changes = deque(unseen)
        for change in unseen:
            change.calls -= 1
        return unseen


@dataclass(slots=True)
class Project:
    """One project with all that it holds."""

    id: str
    name: str
    org_id: str
    created: datetime
    invitations: Shelf[Invitation] = field(default_factory=Shelf)
    users: Shelf[User] = field(default_factory=Shelf)
    indirect: dict[str, tuple[User, Via]] = field(default_factory=dict)
    """Who reaches the project without being a user of it, by e-mail in lower case."""
    ended: deque[Ended] = field(default_factory=lambda: deque(maxlen=ENDED_KEPT))

    def lag(self, lag: Lag) -> None:
        """Let both lists lag from now on (or no more)."""
        self.invitations.lag = self.users.lag = lag
