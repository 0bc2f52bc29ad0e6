"""One project: its records, found by id or e-mail, and what its lagging lists still show."""

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
"""How many ended invitations and memberships a project keeps."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far lists lag: they do not show a change for `seconds`, and for the next `calls` lists; 0 for no lag."""

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
    """A change that lagging lists do not show yet: they show the record before it."""

    at: datetime
    email: str
    before: R | None
    calls: int


class Shelf(Generic[R]):
    """The records of one kind, at most one for each e-mail (compared in lower case), with lists that may lag."""

    def __init__(self) -> None:
        self.lag = Lag()
        self._by_id: dict[str, R] = {}
        self._by_email: dict[str, R] = {}
        self._changes: deque[_Change[R]] = deque()

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, record_id: str) -> R | None:
        """Return the record with this id."""
        return self._by_id.get(record_id)

    def of(self, email: str) -> R | None:
        """Return the record with this e-mail."""
        return self._by_email.get(email_key(email))

    def all(self) -> list[R]:
        """Return every record, without lag."""
        return list(self._by_email.values())

    def put(self, record: R, now: datetime) -> None:
        """Store a record, and replace the one with the same e-mail."""
        email = email_key(record.username)
        self._remember(email, now)
        before = self._by_email.get(email)
        if before is not None:
            del self._by_id[before.id]
        self._by_email[email] = self._by_id[record.id] = record

    def drop(self, record: R, now: datetime) -> None:
        """Delete a record."""
        email = email_key(record.username)
        self._remember(email, now)
        del self._by_email[email], self._by_id[record.id]

    def listed(self, now: datetime, email: str | None = None) -> list[R]:
        """Return what a list shows now (of one e-mail): the records without the changes that lag hides."""
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
    """One project with all its records."""

    id: str
    name: str
    org_id: str
    created: datetime
    invitations: Shelf[Invitation] = field(default_factory=Shelf)
    users: Shelf[User] = field(default_factory=Shelf)
    indirect: dict[str, tuple[User, Via]] = field(default_factory=dict)
    """The people who have access to the project without being a user of it, by e-mail in lower case."""
    ended: deque[Ended] = field(default_factory=lambda: deque(maxlen=ENDED_KEPT))

    def lag(self, lag: Lag) -> None:
        """Set the lag of both lists."""
        self.invitations.lag = self.users.lag = lag
