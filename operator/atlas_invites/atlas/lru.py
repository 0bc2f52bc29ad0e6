"""A cache that does not grow without bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """The most recently used values, each made from its key when it is first asked for.

    Args:
        size: how many values are kept.
        make: makes the value of a key.
    """

    def __init__(self, size: int, make: Callable[[K], V]) -> None:
        self._size = size
        self._make = make
        self._values: dict[K, V] = {}

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._values.values()))

    def __getitem__(self, key: K) -> V:
        self._values[key] = value = self._values.pop(key) if key in self._values else self._make(key)
        if len(self._values) > self._size:
            del self._values[next(iter(self._values))]
        return value
