"""Tests of how a release reads the changelog."""

from __future__ import annotations

import pytest

from release.changelog import Change, Section, changes, release, sections

TEXT = """\
# Changelog

## Unreleased

### Added

- A page [about it](docs/it.md),
  on two lines.

### Fixed

- `this`
- that

## 0.1.0 - 2026-11-24

### Added

- Everything.
"""


def test_sections() -> None:
    """Each version has its date and its text."""
    found = sections(TEXT)
    assert list(found) == ["Unreleased", "0.1.0"]
    assert found["0.1.0"] == Section("0.1.0", "2026-11-24", "### Added\n\n- Everything.")


def test_changes() -> None:
    """An entry is one line, without links."""
    assert changes(sections(TEXT)["Unreleased"]) == [
        Change("added", "A page about it, on two lines."),
        Change("fixed", "`this`"),
        Change("fixed", "that"),
    ]


def test_an_unknown_heading() -> None:
    """A heading that Artifact Hub does not know is an error that names it."""
    with pytest.raises(ValueError, match=r"'News' below 0\.2\.0: use one of added, "):
        changes(Section("0.2.0", "", "### News\n\n- It."))


def test_release() -> None:
    """The unreleased changes become a version, and the section of unreleased changes is empty."""
    found = sections(release(TEXT, "0.2.0", "2026-12-01"))
    assert list(found) == ["Unreleased", "0.2.0", "0.1.0"]
    assert found["Unreleased"].body == ""
    assert found["0.2.0"] == Section("0.2.0", "2026-12-01", sections(TEXT)["Unreleased"].body)
    assert found["0.1.0"] == sections(TEXT)["0.1.0"]


def test_nothing_to_release() -> None:
    """A version that exists already, or no changes, are errors."""
    with pytest.raises(ValueError, match=r"already has a section 0\.1\.0"):
        release(TEXT, "0.1.0", "2026-12-01")
    with pytest.raises(ValueError, match="nothing to release"):
        release(release(TEXT, "0.2.0", "2026-12-01"), "0.3.0", "2026-12-02")
