"""The navigation of the site has every page."""

from __future__ import annotations

import tomllib
from typing import Any

from tests.deploy.documents import PAGES
from tests.site.assemble import CONFIGURATION
from tests.stack import ROOT


def listed(entries: list[Any]) -> list[str]:
    """Return the pages of a navigation, in order."""
    found: list[str] = []
    for entry in entries:
        for value in [entry] if isinstance(entry, str) else entry.values():
            found += [value] if isinstance(value, str) else listed(value)
    return found


def test_every_page_is_in_the_navigation() -> None:
    """Each page of the repository is in the navigation, once."""
    pages = listed(tomllib.loads(CONFIGURATION.read_text())["project"]["nav"])
    assert sorted(pages) == [page.relative_to(ROOT).as_posix() for page in PAGES]
