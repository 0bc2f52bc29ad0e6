"""The JSON merge patch of a status: by RFC 7386, it turns the old status into the new one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.kube.invites import Invites, merge_patch
from tests.unit.builders import body, resource

NAMES = st.sampled_from("abc")
LEAVES = st.integers(0, 2) | st.booleans() | st.text("xy", max_size=2)
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=2) | st.dictionaries(NAMES, v, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)


def apply_merge_patch(target: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """Apply a JSON merge patch as an API server does, by the text of RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


@given(old=OBJECTS, new=OBJECTS)
def test_the_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    """For any old and any wanted status (without nulls: Kubernetes stores none)."""
    assert apply_merge_patch(old, merge_patch(old, new)) == new


def test_a_removed_key_is_null() -> None:
    """A key that is left out of a merge patch would stay."""
    old = {"state": "Pending", "error": {"error": 500}, "member": {"id": "1", "roles": []}}
    new = {"state": "Accepted", "member": {"id": "1"}}
    assert merge_patch(old, new) == {"state": "Accepted", "error": None, "member": {"id": "1", "roles": None}}


def test_lists_are_replaced_as_a_whole() -> None:
    """RFC 7386 cannot change a part of a list."""
    assert merge_patch({"roles": ["a", "b"]}, {"roles": ["b"]}) == {"roles": ["b"]}


class StatusApi:
    """Replace the connection, and record what is written."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    async def patch_namespaced_custom_object_status(self, *arguments: Any, **_: object) -> dict[str, Any]:  # noqa: ANN401
        self.bodies.append(arguments[-1])
        return body()


async def test_a_status_is_written_as_a_patch() -> None:
    """Fields that the object has and the new status has not are removed, and the write is only for this version."""
    client: Any = StatusApi()
    invites = Invites(client)
    invites._api = client  # noqa: SLF001 - in place of the generated client
    known = resource(status={"state": "Pending", "member": {"id": "1"}})
    await invites.write_status(known, {"state": "Accepted"})
    metadata = {"resourceVersion": known.resource_version}
    assert client.bodies == [{"metadata": metadata, "status": {"state": "Accepted", "member": None}}]
