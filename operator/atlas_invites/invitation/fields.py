"""Types of the fields that Atlas fills: whatever it sends, a status with them can be written, and reads back the same.

A whole status stays below the 1.5 MiB that etcd takes.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

TEXT_MAX, DETAIL_MAX, LIST_MAX = 512, 16_384, 50
"""Characters of a text, those of an error's detail and of its parameters, and entries of a list that are kept."""
INT64 = range(-(2**63), 2**63)
"""The integers that Kubernetes holds."""
_EXACT = 2.0**53
"""A whole number of at least this size, written as a float, may come back with other digits."""


def _whole(text: str) -> str:
    """Return a text without halves of a UTF-16 pair, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shortened(text: str, length: int = TEXT_MAX) -> str:
    text = text if text.isascii() else _whole(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _first(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items[:LIST_MAX]


def _in_order(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Sort: Atlas gives no meaning to the order, and a change of order must not look like a change."""
    return _first(tuple(sorted(set(roles))))


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value as the API server gives it back; a number that it cannot hold exactly becomes text."""
    match value:
        case dict():
            return {_whole(name): _storable(item) for name, item in value.items() if item is not None}
        case list() | tuple():
            return [_storable(item) for item in value]
        case float() if not math.isfinite(value) or (value.is_integer() and abs(value) >= _EXACT):
            return str(value)
        case float() if value.is_integer():
            return int(value)
        case int() if value not in INT64:
            return str(value)
        case _:
            return _whole(value) if isinstance(value, str) else value


def _parameters(values: tuple[Any, ...]) -> tuple[Any, ...]:
    kept, size = [], 0
    try:
        storable = list(map(_storable, _first(values)))
    except RecursionError:
        return ()
    for value in storable:
        size += len(json.dumps(value))
        if size > DETAIL_MAX:
            break
        kept.append(value)
    return tuple(kept)


Int64 = Annotated[int, Field(ge=INT64.start, lt=INT64.stop)]
Id = Annotated[str, Field(max_length=TEXT_MAX)]
"""An id is kept whole: half of one is another one's."""
Text = Annotated[str, AfterValidator(_shortened)]
Detail = Annotated[str, AfterValidator(lambda text: _shortened(text, DETAIL_MAX))]
Roles = Annotated[tuple[Text, ...], AfterValidator(_in_order)]
First = AfterValidator(_first)
"""For a list: its first entries are kept."""
Parameters = Annotated[tuple[Any, ...], AfterValidator(_parameters)]
"""``parameters`` of an error: any JSON values, as many as are kept."""
