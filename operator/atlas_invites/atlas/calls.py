"""One call to the Atlas Admin API as data: what is sent, and how the response is read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_invites.invitation.model import Invitation, Operation, User

T = TypeVar("T")
E = TypeVar("E", bound="Invitation | User")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call for one project.

    ``parse`` takes the JSON of the response (None if there is none) and raises ValueError, KeyError or TypeError if it
    cannot read it. ``media_type`` is the versioned one that the operation is documented with.
    """

    operation: Operation
    method: str
    group_id: str
    path: str
    media_type: str
    parse: Callable[[object], T]
    query: Sequence[tuple[str, str]] = ()
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entries(Generic[E]):
    """What could be read of a list. ``complete``: the id and the e-mail of each entry could."""

    read: tuple[E, ...]
    complete: bool = True


def entries(json: object, read: Callable[[object], E]) -> Entries[E]:
    """Return the entries of a JSON list; ``read`` reads one, and raises as ``Call.parse`` does.

    Raises:
        TypeError: it is no list.
    """
    if not isinstance(json, list):
        raise TypeError("not a list")
    found = []
    for entry in json:
        with suppress(ValueError, TypeError):
            found.append(read(entry))
    return Entries(tuple(found), complete=len(found) == len(json) and all(entry.username for entry in found))


@lru_cache(maxsize=1024)
def segment(text: str) -> str:
    """Return one segment of a path; ids are 24 hex digits, but one of another form must not become another path."""
    return quote(text, safe="!$'()*,:@+;=")


def given(json: object, entry_id: str | None = None) -> dict[str, Any]:
    """Return the fields of a JSON object that are not null; ``entry_id`` stands for an id that it does not show.

    Raises:
        TypeError: it is not an object.
    """
    if not isinstance(json, dict):
        raise TypeError("not an object")
    fields = {key: value for key, value in json.items() if value is not None}
    if entry_id is not None and not isinstance(fields.get("id"), str):
        fields["id"] = entry_id
    return fields
