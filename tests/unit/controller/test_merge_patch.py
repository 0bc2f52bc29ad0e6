"""The JSON merge patch of a status: applied as RFC 7386 says, it turns the old status into the new one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_invites.controller.reconciler import merge_patch
from tests.unit.controller.fakes import apply_merge_patch

NAMES = st.sampled_from("abc")
LEAVES = st.integers(0, 2) | st.booleans() | st.text("xy", max_size=2)
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=2) | st.dictionaries(NAMES, v, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)


@settings(derandomize=True, database=None)
@given(old=OBJECTS, new=OBJECTS)
def test_the_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Whatever was there and whatever is wanted (no nulls: Kubernetes stores none)."""
    assert apply_merge_patch(old, merge_patch(old, new)) == new


def test_what_must_go_is_null() -> None:
    """A key that is left out of a merge patch would stay."""
    old = {"state": "Pending", "error": {"error": 500}, "member": {"id": "1", "roles": []}}
    new = {"state": "Accepted", "member": {"id": "1"}}
    assert merge_patch(old, new) == {"state": "Accepted", "error": None, "member": {"id": "1", "roles": None}}


def test_lists_are_replaced_whole() -> None:
    """RFC 7386 has no way to change a part of a list."""
    assert merge_patch({"roles": ["a", "b"]}, {"roles": ["b"]}) == {"roles": ["b"]}
