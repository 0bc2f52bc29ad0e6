"""Reads a JSON object attribute by attribute, by type; what nobody read is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

MOST = 1_000_000_000
"""No number is above it: it is 31 years in seconds."""


class OrderError(ValueError):
    """An order to the sandbox that cannot be understood; the text says what is wrong."""


def parse(raw: bytes) -> object:
    """A JSON document; an empty body is an empty object.

    Raises:
        OrderError: it is no JSON.
    """
    try:
        return json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError) as error:
        raise OrderError("the body is not JSON") from error


class Fields:
    """One JSON object; every reader raises OrderError for a wrong type and gives the default for what is not there."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise OrderError("the body is not a JSON object")
        self._left: dict[str, object] = dict(body)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def names(self) -> list[str]:
        """What is left to be read."""
        return list(self._left)

    def done(self) -> None:
        """Nothing more is read.

        Raises:
            OrderError: something is left.
        """
        if self._left:
            raise OrderError(f"unknown attribute {next(iter(self._left))}")

    def text(self, name: str, default: str | None = None) -> str:
        """A string; no default: it must be there."""
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise OrderError(f"{name} must be a string")
        return value

    def choice(self, name: str, choices: Sequence[T], default: T) -> T:
        """One of a few strings."""
        value = self._left.pop(name, default)
        if value not in choices:
            raise OrderError(f"{name} must be one of {', '.join(map(str, choices))}")
        return choices[choices.index(value)]

    def texts(self, name: str, default: Sequence[str] | None = None) -> list[str]:
        """A list of strings."""
        value = self._left.pop(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise OrderError(f"{name} must be a list of strings")
        return list(value)

    def optional_texts(self, name: str, default: Sequence[str] | None) -> list[str] | None:
        """A list of strings, or null."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return self.texts(name, default) if name in self._left or default is not None else None

    def number(self, name: str, default: float, least: float = 0.0) -> float:
        """A number from `least` to `MOST`."""
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= MOST:
            raise OrderError(f"{name} must be a number from {least:g} to {MOST}")
        return float(value)

    def integer(self, name: str, default: int, least: int = 0) -> int:
        """A whole number from `least` to `MOST`."""
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise OrderError(f"{name} must be a whole number from {least} to {MOST}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise OrderError(f"{name} must be true or false")
        return value

    def is_null(self, name: str) -> bool:
        """Whether the attribute is there and null; it counts as read then."""
        null = name in self._left and self._left[name] is None
        if null:
            del self._left[name]
        return null

    def inner(self, name: str) -> Fields:
        """An object; empty if it is not there."""
        return Fields(self._left.pop(name, {}))

    def json(self, name: str) -> dict[str, object]:
        """An object of any content, as it is; empty if it is not there."""
        value = self._left.pop(name, {})
        if not isinstance(value, dict):
            raise OrderError(f"{name} must be an object")
        return value

    def items(self, name: str) -> list[object]:
        """A list; empty if it is not there."""
        value = self._left.pop(name, [])
        if not isinstance(value, list):
            raise OrderError(f"{name} must be a list")
        return value
