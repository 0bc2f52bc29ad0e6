"""``python -m tests.site.assemble``: assemble the sources of the documentation site.

The pages keep the paths that they have in the repository, so that their links are valid in both. Other files and
folders that they link to are part of the site: a file unchanged, a folder as a page that shows its files.
"""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING

from tests.deploy.documents import PAGES
from tests.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / ".build" / "docs"
SOURCE, SITE = FOLDER / "source", FOLDER / "site"
CONFIGURATION = ROOT / "docs" / "zensical.toml"
_DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n", re.MULTILINE | re.DOTALL)
"""A diagram that GitHub renders: the site would load the library for it from another host."""
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)((?:#[^)]*)?)\)")


def main() -> int:
    """Remove the folder and write all sources."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for page in PAGES:
        target = SOURCE / page.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = _DIAGRAM.sub("", page.read_text())
        target.write_text(_LINK.sub(lambda match, page=page: _link(match, page), text))  # type: ignore[misc]
    shutil.copy(ROOT / "docs" / "icon.svg", SOURCE / "docs")
    shutil.copy(CONFIGURATION, FOLDER)
    return 0


def _link(match: re.Match[str], page: Path) -> str:
    """Return a link of a page for the site, after writing its target unless that is a page."""
    target, anchor = match.groups()
    linked = (page.parent / target).resolve()
    where = SOURCE / linked.relative_to(ROOT)
    if linked.is_dir():
        where.mkdir(parents=True, exist_ok=True)
        (where / "index.md").write_text(_listing(linked))
        return f"]({target.rstrip('/')}/index.md{anchor})"
    if linked not in PAGES:
        where.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(linked, where)
    return match[0]


def _listing(folder: Path) -> str:
    """Return a page that shows the files of a folder, each with its text."""
    name = folder.relative_to(ROOT).as_posix()
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".lua"})
    parts = [f"# {name}"]
    for path in files:
        parts += [f"## {path.relative_to(folder).as_posix()}", f"```{path.suffix[1:]}\n{path.read_text()}```"]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
