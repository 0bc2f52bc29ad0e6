"""Overrides: responses show the entry of one e-mail differently from the stored record.

An entry is an invitation or a user, also in a list. The stored record does not change: a call finds it by its true id
and e-mail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from atlas_sandbox.model import email_key


@dataclass(slots=True)
class Override:
    """One override; empty `operations` and `project` match all."""

    username: str
    """The true e-mail of the entry."""
    attributes: dict[str, object] = field(default_factory=dict)
    """Values of any JSON type, shown instead of the true attributes."""
    without: frozenset[str] = frozenset()
    """The attributes that are left out."""
    operations: frozenset[str] = frozenset()
    project: str = ""
    id: str = ""

    def matches(self, operation: str, project: str) -> bool:
        """Return whether the override applies to the response of this call."""
        return (not self.operations or operation in self.operations) and self.project in {"", project}


class Overrides:
    """The active overrides."""

    def __init__(self) -> None:
        self._overrides: dict[str, Override] = {}
        self._numbers = count(1)

    def add(self, override: Override) -> Override:
        """Add an override, and give it an id."""
        override.id = f"override-{next(self._numbers)}"
        self._overrides[override.id] = override
        return override

    def all(self) -> list[Override]:
        """Return every override."""
        return list(self._overrides.values())

    def remove(self, override_id: str) -> bool:
        """Remove an override, and return whether it existed."""
        return self._overrides.pop(override_id, None) is not None

    def clear(self) -> None:
        """Remove every override."""
        self._overrides.clear()

    def shown(self, operation: str, project: str, content: object) -> object:
        """Return the content of a response with the overrides applied."""
        found = [override for override in self._overrides.values() if override.matches(operation, project)]
        if not found:
            return content
        if isinstance(content, list):
            return [_shown(found, entry) for entry in content]
        if isinstance(content, dict) and isinstance(content.get("results"), list):
            return content | {"results": [_shown(found, entry) for entry in content["results"]]}
        return _shown(found, content)


def _shown(overrides: list[Override], entry: object) -> object:
    if not isinstance(entry, dict) or not isinstance(entry.get("username"), str):
        return entry
    shown = dict(entry)
    for override in overrides:
        if email_key(override.username) == email_key(entry["username"]):
            shown |= override.attributes
            shown = {name: value for name, value in shown.items() if name not in override.without}
    return shown
