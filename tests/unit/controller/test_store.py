"""The store: the latest version of every object, no deleted objects, and never an older version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_invites.controller.store import Store
from atlas_invites.invitation.resource import Key, Listed
from tests.unit.builders import KEY, resource

if TYPE_CHECKING:
    from atlas_invites.invitation.resource import Resource

JOE = Key("team-a", "joe")


def version(number: int, key: Key = KEY, *, uid: str = "u1", generation: int = 1) -> Resource:
    return resource(key, resourceVersion=str(number), uid=uid, generation=generation)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put(version(10))
    return store


def test_a_new_object_is_work() -> None:
    """An unknown object is stored and causes work."""
    store = Store()
    assert store.put(version(10))
    assert store.get(KEY) == version(10)
    assert len(store) == 1


def test_a_newer_version_replaces_an_older_one(store: Store) -> None:
    """A changed generation is work, a label is not; both are stored."""
    assert store.put(version(11, generation=2))
    assert not store.put(version(12, generation=2))
    assert store.get(KEY) == version(12, generation=2)


@pytest.mark.parametrize("number", [10, 9])
def test_an_older_version_never_wins(store: Store, number: int) -> None:
    """The stored version, or an older one, changes nothing and is no work."""
    assert not store.put(version(number, generation=9))
    assert store.get(KEY) == version(10)


def test_a_new_object_of_the_same_name_is_another_object(store: Store) -> None:
    """A newer object with the same name replaces the old one and is work; the old one does not come back."""
    assert store.put(version(20, uid="u2"))
    assert not store.put(version(15, uid="u1", generation=2))
    assert store.get(KEY) == version(20, uid="u2")


def test_a_deleted_object_is_forgotten(store: Store) -> None:
    """A deletion removes the object it is about, once."""
    assert store.remove(version(11))
    assert store.get(KEY) is None
    assert len(store) == 0
    assert not store.remove(version(11))


def test_a_late_deletion_leaves_the_new_object_alone(store: Store) -> None:
    """The deletion of an object whose name was used again since removes nothing."""
    store.put(version(20, uid="u2"))
    assert not store.remove(version(11, uid="u1"))
    assert store.get(KEY) == version(20, uid="u2")


def test_a_deleted_object_does_not_come_back_with_a_late_response(store: Store) -> None:
    """The response to our own write may arrive after the event of the deletion: the object stays deleted."""
    store.remove(version(12))
    assert not store.put(version(11, generation=2))
    assert store.get(KEY) is None
    assert store.put(version(20, uid="u2"))


def test_remembered_deletions_are_bounded() -> None:
    """The store keeps only a limited number of deleted objects."""
    store = Store()
    for number in range(3000):
        store.put(version(number, uid=f"u{number}"))
        store.remove(version(number, uid=f"u{number}"))
    assert len(store._gone) <= 1024  # noqa: SLF001 - memory shows nowhere else


def test_iteration_survives_changes(store: Store) -> None:
    """A loop over the objects may change the store."""
    store.put(version(11, JOE, uid="u3"))
    for each in store:
        store.remove(each)
    assert list(store) == []


# Complete lists.


def test_a_list_brings_what_no_event_brought(store: Store) -> None:
    """A list returns the keys that are work, and stores newer versions."""
    listing = store.begin_listing()
    listed = [version(12, generation=2), version(11, JOE, uid="u3")]
    assert store.end_listing(listing, Listed(listed)) == ([KEY, JOE], [])
    assert store.get(KEY) == version(12, generation=2)


def test_a_list_of_known_versions_is_no_work(store: Store) -> None:
    """The same versions, or only labels, are no work."""
    for number in (10, 11):
        assert store.end_listing(store.begin_listing(), Listed([version(number)])) == ([], [])


def test_a_ghost_is_dropped(store: Store) -> None:
    """An object that was known before the list began and is not in it has been deleted without an event."""
    assert store.end_listing(store.begin_listing(), Listed([])) == ([], [KEY])
    assert store.get(KEY) is None


def test_nothing_is_dropped_from_namespaces_that_cannot_be_listed(store: Store) -> None:
    """An object of a namespace that could not be listed may still exist."""
    elsewhere = version(11, Key("team-b", "joe"), uid="u4")
    store.put(elsewhere)
    listed = Listed([], frozenset({"team-b"}))
    assert store.end_listing(store.begin_listing(), listed) == ([], [KEY])
    assert list(store) == [elsewhere]


def test_an_object_created_during_the_list_is_no_ghost() -> None:
    """An object that was created after the list was taken is not in it, and stays."""
    store = Store()
    listing = store.begin_listing()
    store.put(version(10))
    assert store.end_listing(listing, Listed([])) == ([], [])
    assert store.get(KEY) == version(10)


def test_an_object_deleted_during_the_list_does_not_come_back() -> None:
    """The list still shows the objects, but events have said that they are gone, however many they are."""
    store = Store()
    everyone = [version(10, Key("team-a", f"p{n}"), uid=f"u{n}") for n in range(3000)]
    for each in everyone:
        store.put(each)
    listing = store.begin_listing()
    for each in everyone:
        store.remove(each)
    assert store.end_listing(listing, Listed(everyone)) == ([], [])
    assert len(store) == 0


def test_an_object_recreated_during_the_list_stays(store: Store) -> None:
    """Ghosts are dropped by uid: the old object was deleted, the new one exists."""
    listing = store.begin_listing()
    store.remove(version(11))
    store.put(version(12, uid="u2"))
    assert store.end_listing(listing, Listed([])) == ([], [])
    assert store.get(KEY) == version(12, uid="u2")


def test_a_new_object_in_the_list_replaces_the_ghost_of_its_name(store: Store) -> None:
    """Deleted and recreated while the watch was cut: the new one is work, and no key is reported as a ghost."""
    assert store.end_listing(store.begin_listing(), Listed([version(12, uid="u2")])) == ([KEY], [])
    assert store.get(KEY) == version(12, uid="u2")


def test_the_list_is_older_than_the_events(store: Store) -> None:
    """A version that an event brought during the list is not replaced by the list's older one."""
    listing = store.begin_listing()
    store.put(version(12, generation=3))
    assert store.end_listing(listing, Listed([version(11, generation=2)])) == ([], [])
    assert store.get(KEY) == version(12, generation=3)


def test_a_list_that_failed_drops_nothing(store: Store) -> None:
    """After a list that failed, the next one is complete again."""
    store.abort_listing(store.begin_listing())
    assert store.get(KEY) == version(10)
    assert store.end_listing(store.begin_listing(), Listed([])) == ([], [KEY])
