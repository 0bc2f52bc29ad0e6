"""Project roles that Atlas has and the CRD does not list, on the real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cluster.life import OWNER, READ_ONLY
from tests.cluster.test_old_objects import restore_crd, until
from tests.cluster.test_table_a import JANE
from tests.conftest import CRDS
from tests.deploy.manifests import EXTRA_ROLE, kustomized_with
from tests.unit.specs import invite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cluster.conftest import Apply
    from tests.cluster.life import Life
    from tests.control_plane.control_plane import ControlPlane


@pytest.fixture
def extra_roles(control_plane: ControlPlane, crds: None, apply: Apply, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """The CRD with the component extra-roles; returns a function that installs the CRD without it."""
    del crds

    def is_known() -> bool:
        manifest = invite({"roles": [EXTRA_ROLE]}, name="probe")
        return apply(manifest, options=["--dry-run=server"]).returncode == 0

    def remove() -> None:
        restore_crd(control_plane)
        until(lambda: not is_known())

    (crd,) = kustomized_with(CRDS, "extra-roles", scratch=tmp_path)
    try:
        control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(crd))
        until(is_known)
        yield remove
    finally:
        remove()


async def test_an_extra_role_is_granted(extra_roles: Callable[[], None], life: Life) -> None:
    """The operator sends it unchanged; if the CRD no longer lists it, the object stays usable and deletable."""
    await life.create("jane", username=JANE, roles=[EXTRA_ROLE, READ_ONLY])
    await life.reaches("jane", "Invited", rolesSummary=f"{READ_ONLY},{EXTRA_ROLE}")
    assert await life.roles_of(JANE) == [READ_ONLY, EXTRA_ROLE]
    extra_roles()
    await life.edit("jane", memberPolicy="Manage")
    await life.reaches("jane", "Invited")
    await life.people("accept", JANE)
    await life.resync()
    await life.reaches("jane", "Accepted")
    await life.edit("jane", roles=[OWNER])
    await life.reaches("jane", "Accepted")
    assert await life.roles_of(JANE) == [OWNER]
    await life.delete("jane")
    await life.gone("jane")
