"""Read a JSON object attribute by attribute, by type; reject attributes that were not read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

MOST = 1_000_000_000
"""The largest number that is accepted: 31 years in seconds."""


class ControlError(ValueError):
    """The body of a call of the control API is invalid; the text says why."""


def parse(raw: bytes) -> object:
    """Parse a JSON document; an empty body is an empty object.

    Raises:
        ControlError: it is not JSON.
    """
    try:
        return json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ControlError("the body is not JSON") from error


class Fields:
    """One JSON object; readers raise ControlError for a wrong type, and return the default for a missing attribute."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise ControlError("the body is not a JSON object")
        self._left: dict[str, object] = dict(body)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def names(self) -> list[str]:
        """Return the names of the attributes that were not read yet."""
        return list(self._left)

    def done(self) -> None:
        """Check that every attribute was read.

        Raises:
            ControlError: an attribute is left.
        """
        if self._left:
            raise ControlError(f"unknown attribute {next(iter(self._left))}")

    def text(self, name: str, default: str | None = None) -> str:
        """Read a string; without a default, it is required."""
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise ControlError(f"{name} must be a string")
        return value

    def choice(self, name: str, choices: Sequence[T], default: T) -> T:
        """Read one of these strings."""
        value = self._left.pop(name, default)
        if value not in choices:
            raise ControlError(f"{name} must be one of {', '.join(map(str, choices))}")
        return choices[choices.index(value)]

    def texts(self, name: str, default: Sequence[str] | None = None) -> list[str]:
        """Read a list of strings."""
        value = self._left.pop(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ControlError(f"{name} must be a list of strings")
        return list(value)

    def optional_texts(self, name: str, default: Sequence[str] | None) -> list[str] | None:
        """Read a list of strings, or null."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return self.texts(name, default) if name in self._left or default is not None else None

    def number(self, name: str, default: float, least: float = 0.0) -> float:
        """Read a number from `least` to `MOST`."""
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= MOST:
            raise ControlError(f"{name} must be a number from {least:g} to {MOST}")
        return float(value)

    def integer(self, name: str, default: int, least: int = 0) -> int:
        """Read a whole number from `least` to `MOST`."""
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise ControlError(f"{name} must be a whole number from {least} to {MOST}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise ControlError(f"{name} must be true or false")
        return value

    def is_null(self, name: str) -> bool:
        """Return whether the attribute is present and null; if it is, mark it as read."""
        null = name in self._left and self._left[name] is None
        if null:
            del self._left[name]
        return null

    def inner(self, name: str) -> Fields:
        """Read an object; empty if it is missing."""
        return Fields(self._left.pop(name, {}))

    def json(self, name: str) -> dict[str, object]:
        """Read an object of any content, unchanged; empty if it is missing."""
        value = self._left.pop(name, {})
        if not isinstance(value, dict):
            raise ControlError(f"{name} must be an object")
        return value

    def items(self, name: str) -> list[object]:
        """Read a list; empty if it is missing."""
        value = self._left.pop(name, [])
        if not isinstance(value, list):
            raise ControlError(f"{name} must be a list")
        return value
