"""Objects and their CRD, changed while no operator runs or while one runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.api import INVITES, PLURAL
from tests.e2e.faults.conftest import has_roles, send, sent, strip, vanish
from tests.e2e.world import OWNER, READ_ONLY
from tests.stack import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.api import Object
    from tests.e2e.faults.conftest import Start
    from tests.e2e.world import World

CRD = "apis/apiextensions.k8s.io/v1/customresourcedefinitions/atlasprojectinvites.atlasinvites.io"


def test_deleted_while_it_was_down(own: World, start: Start) -> None:
    """A deletion that was requested while no operator ran is carried out by the next process."""
    first = start()
    send(own, "jane")
    own.until("jane", "Invited")
    first.kill()
    own.delete("jane")
    start()
    own.until_gone("jane")
    assert own.atlas["invitations"] == []


def test_deleted_and_recreated_while_it_was_down(own: World, start: Start) -> None:
    """A new object of the same name adopts the old one's invitation: no second invitation, and it is not its own."""
    first = start()
    send(own, "jane")
    old = own.until("jane", "Invited")
    first.kill()
    vanish(own, "jane")
    send(own, "jane", roles=[OWNER])

    start()
    new = own.until_it("jane", "has its roles", has_roles(OWNER))
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["status"]["invitation"]["id"] == old["status"]["invitation"]["id"]
    assert new["status"]["origin"] == "Adopted"
    assert sent(own) == ["CreateInvite 200"]
    own.delete("jane")
    own.until_gone("jane")
    assert len(own.atlas["invitations"]) == 1


def test_deleted_and_recreated_while_it_runs(own: World, start: Start) -> None:
    """The deletion cancels the old invitation, and a new object of the name sends its own."""
    start()
    send(own, "jane")
    own.until("jane", "Invited")
    own.delete("jane")
    own.until_gone("jane")
    send(own, "jane")
    item = own.until("jane", "Invited")
    assert item["status"]["origin"] == "Created"
    assert own.atlas_writes() == ["CreateInvite 200", "CancelInvite 204", "CreateInvite 200"]


def test_its_finalizer_was_removed_while_it_was_down(own: World, start: Start) -> None:
    """The next process adds it again, sends nothing, and a deletion cancels the invitation."""
    first = start()
    send(own, "jane")
    own.until("jane", "Invited")
    first.kill()
    strip(own, "jane")
    own.mark()
    start()
    own.until_it("jane", "has its finalizer", lambda item: bool(item["metadata"].get("finalizers")))
    assert own.atlas_writes() == []
    assert own.writes() == ["object"]
    own.delete("jane")
    own.until_gone("jane")
    assert own.atlas_writes() == ["CancelInvite 204"]
    assert own.atlas["invitations"] == []


def test_the_crd_is_upgraded_while_it_runs(own: World, start: Start) -> None:
    """A newer CRD with additional fields interrupts nothing: settled objects are left, changes are made."""
    operator = start()
    own.adopt("settled")
    for title in crd_with_more_fields(own):
        name = f"under-{title}"
        send(own, name)
        own.until_it(name, "is invited", has_roles(READ_ONLY))
        own.edit(name, roles=[OWNER])
        own.until_it(name, "is changed", has_roles(OWNER))
    assert own.writes("settled") == []
    assert sent(own) == ["CreateInvite 200"] * 2
    assert operator.operator.process.popen.poll() is None


def crd_with_more_fields(own: World) -> Iterator[str]:
    """Upgrade the CRD, then go back to the old one; yield when the API server serves each."""
    api = own.plane.api
    before = api.do("GET", CRD)["spec"]
    newer = json.loads(json.dumps(before))
    properties = newer["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["future"] = {"type": "string", "default": "given", "description": "A field of the next version."}

    def put(spec: Object, served: Callable[[Object], bool]) -> None:
        api.do("PUT", CRD, {**api.do("GET", CRD), "spec": spec})
        path = f"{INVITES}/namespaces/{own.namespace}/{PLURAL}/settled"
        wait_until("the API server serves it", lambda: served(api.do("GET", path)["spec"]))

    put(newer, lambda spec: "future" in spec)
    try:
        yield "newer"
    finally:
        put(before, lambda spec: "future" not in spec)
    yield "older"
