"""Read the changes of a version from CHANGELOG.md, for release notes and Artifact Hub."""

from __future__ import annotations

import re
from typing import NamedTuple

UNRELEASED = "Unreleased"
_KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
"""The headings of Keep a Changelog, which Artifact Hub uses as kinds of changes."""


class Section(NamedTuple):
    """The section of one version.

    Attributes:
        version: its number, or ``Unreleased``.
        date: the date of the release (YYYY-MM-DD); empty if it was not released.
        body: the text below the heading.
    """

    version: str
    date: str
    body: str


class Change(NamedTuple):
    """One entry of a section, on one line, without its links."""

    kind: str
    description: str


def sections(text: str) -> dict[str, Section]:
    """Return the sections of a changelog by version, in the order of the file."""
    parts = re.split(r"^## (\S+)(?: - (\d{4}-\d{2}-\d{2}))?$", text, flags=re.MULTILINE)[1:]
    found = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {version: Section(version, date or "", body.strip()) for version, date, body in found}


def changes(section: Section) -> list[Change]:
    """Return the entries of a section.

    Raises:
        ValueError: a heading is not one of Keep a Changelog.
    """
    parts = re.split(r"^### (.+)$", section.body, flags=re.MULTILINE)[1:]
    found = []
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        kind = heading.lower()
        if kind not in _KINDS:
            raise ValueError(
                f"CHANGELOG.md: unknown heading {heading!r} below {section.version}: use one of {', '.join(_KINDS)}"
            )
        for entry in re.split(r"^- ", body, flags=re.MULTILINE)[1:]:
            line = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(entry.split()))
            found.append(Change(kind, line))
    return found


def release(text: str, version: str, date: str) -> str:
    """Return the changelog with the unreleased changes as a version of this date.

    Raises:
        ValueError: there are no unreleased changes, or the version exists already.
    """
    known = sections(text)
    if version in known:
        raise ValueError(f"CHANGELOG.md already has a section {version}: choose another version")
    if UNRELEASED not in known or not known[UNRELEASED].body:
        raise ValueError(
            "CHANGELOG.md has no changes below '## Unreleased': there is nothing to release. List the changes there"
        )
    heading = f"## {UNRELEASED}\n"
    return text.replace(heading, f"{heading}\n## {version} - {date}\n", 1)
