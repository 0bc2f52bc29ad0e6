"""Idleness: if nothing changes, nothing is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.e2e.api import INVITES, PLURAL
from tests.e2e.world import CLUSTER, OWNER
from tests.gitops.scenario import scenario
from tests.gitops.stage import PATIENCE
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.gitops.stage import Stage

PEOPLE = 200
QUIET_SECONDS = 180.0


@scenario()
def idle(stage: Stage) -> None:
    """For three minutes, nothing writes to 200 invitations or to Atlas, and the tool sees no difference."""
    people = {f"person-{number:03}": stage.invitation(f"person-{number:03}") for number in range(PEOPLE)}
    stage.commit("Invite everybody", people)
    stage.sync()
    stage.measure(f"application with {PEOPLE} invitations created to Healthy", lambda: stage.until(seconds=600))
    stage.mark()
    before = _versions(stage)
    assert len(before) == PEOPLE
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        stage.tool.refresh(stage.name)
        time.sleep(30)
        state = stage.tool.state(stage.name)
        assert state.done, state
    assert stage.world.writes() == []
    assert stage.world.atlas_writes() == []
    changed = [name for name, version in _versions(stage).items() if before[name] != version]
    assert not changed, changed
    dry = [one for one in stage.requests("patch", "update") if one.name]
    stage.note(f"writes to {PEOPLE} invitations in {QUIET_SECONDS:.0f} s: 0; server-side dry runs: {len(dry)}")


@scenario("argocd")
def without_server_side_diff(stage: Stage) -> None:
    """Without the server-side diff of ``ServerSideApply=true``, changes and hand edits have the same result."""
    stage.commit("Invite Jane", {"jane": stage.invitation()})
    stage.sync(annotations={"argocd.argoproj.io/compare-options": "ServerSideDiff=false"})
    stage.until()
    stage.until_reason("jane", "Invited")
    stage.mark()
    stage.commit("Let Jane manage clusters", {"jane": stage.invitation(roles=[CLUSTER])})
    stage.measure("role committed to Healthy", stage.until)
    stage.until_reason("jane", "Invited")
    assert stage.world.atlas_writes() == ["UpdateInvite 200"]
    stage.world.edit("jane", roles=[CLUSTER, OWNER])
    stage.measure(
        "hand edit to restored",
        lambda: stage.until_object("jane", "is restored", lambda item: item["spec"]["roles"] == [CLUSTER]),
    )
    stage.until()
    wait_until("Atlas has the role", lambda: stage.world.atlas["invitations"][0]["roles"] == [CLUSTER], PATIENCE)
    stage.mark()
    versions = _versions(stage)
    for _ in range(5):
        stage.tool.refresh(stage.name)
        time.sleep(2)
        assert stage.tool.state(stage.name).done
    assert _versions(stage) == versions


@scenario("argocd")
def wrong_role_without_server_side_diff(stage: Stage) -> None:
    """Without server-side diff a typo fails the sync, which is retried; the corrected role waits for the next retry."""
    stage.commit("Misspell a role", {"jane": stage.invitation(roles=["GROUP_READ_ONY"])})
    stage.sync(annotations={"argocd.argoproj.io/compare-options": "ServerSideDiff=false"})
    said = stage.until_says("GROUP_READ_ONY")
    stage.note(f"the application says: {' '.join(said.message.split())[:400]}")
    stage.commit("Spell it right", {"jane": stage.invitation()})
    stage.measure("right role committed to Healthy", lambda: stage.until(seconds=300))
    stage.until_reason("jane", "Invited")
    assert stage.world.atlas_writes() == ["CreateInvite 200"]


def _versions(stage: Stage) -> dict[str, str]:
    path = f"{INVITES}/namespaces/{stage.world.namespace}/{PLURAL}"
    items = stage.rig.plane.api.do("GET", path)["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
