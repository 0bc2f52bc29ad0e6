"""Generated files are up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deploy import generated
from tests.deploy.argocd import ACTIONS, SCRIPTS
from tests.deploy.manifests import CHART
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILES = generated.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_file_is_up_to_date(path: Path) -> None:
    """A generated file has the content of its source; ``make generate`` writes it."""
    assert path.read_text() == FILES[path]


@pytest.mark.parametrize("folder", [CHART / "files", SCRIPTS / "testdata", ACTIONS / "testdata"], ids=str)
def test_nothing_is_left_over(folder: Path) -> None:
    """A folder of generated files contains no others."""
    assert set(folder.iterdir()) == {path for path in FILES if path.parent == folder}
