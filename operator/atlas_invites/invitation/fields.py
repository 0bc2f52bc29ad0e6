"""Types of the fields that Atlas fills. Whatever Atlas sends, the status can be written and is read back unchanged.

The whole status stays below the limit of etcd, 1.5 MiB.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

TEXT_MAX, DETAIL_MAX, LIST_MAX = 512, 16_384, 50
"""How much is kept: characters of a text, characters of an error's detail or parameters, and entries of a list."""
INT64 = range(-(2**63), 2**63)
"""The integers that Kubernetes can store."""
_EXACT = 2.0**53
"""A whole number of at least this size that is written as a float may be read back with other digits."""


def _whole(text: str) -> str:
    """Return a text without unpaired UTF-16 surrogates, which JSON can contain and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shortened(text: str, length: int = TEXT_MAX) -> str:
    text = text if text.isascii() else _whole(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _first(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items[:LIST_MAX]


def _in_order(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Sort the roles: their order is not significant in Atlas, and another order must not count as a change."""
    return _first(tuple(sorted(set(roles))))


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value as the API server returns it. A number that it cannot store exactly becomes text."""
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
"""An id is never shortened, because a shortened id may be that of something else."""
Text = Annotated[str, AfterValidator(_shortened)]
Detail = Annotated[str, AfterValidator(lambda text: _shortened(text, DETAIL_MAX))]
Roles = Annotated[tuple[Text, ...], AfterValidator(_in_order)]
First = AfterValidator(_first)
"""For a list: only its first entries are kept."""
Parameters = Annotated[tuple[Any, ...], AfterValidator(_parameters)]
"""``parameters`` of an error: JSON values of any type, as many as fit."""
