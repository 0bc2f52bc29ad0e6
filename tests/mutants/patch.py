"""Read and apply a mutant: a small patch with a header. Line numbers are ignored; only the lines count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = re.compile(r"(Law|Breaks|Test): (.+)")
_HUNK = re.compile(r"@@ .*@@.*")


class PatchError(Exception):
    """A patch cannot be read, or does not apply; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of one file, before and after."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One deliberate bug.

    Attributes:
        name: of its file, without the suffix.
        law: the law that it breaks.
        breaks: what it does, in one sentence.
        test: pytest's node id of the test that must fail.
        hunks: the change.
    """

    name: str
    law: str
    breaks: str
    test: str
    hunks: tuple[Hunk, ...]

    @classmethod
    def read(cls, path: Path) -> Mutant:
        """Read a patch file.

        Raises:
            PatchError: a header is missing, or the patch has no hunk.
        """
        header, _, diff = path.read_text().partition("--- ")
        given = {m[1]: m[2] for line in header.splitlines() if (m := _HEADER.fullmatch(line))}
        if missing := [name for name in ("Law", "Breaks", "Test") if name not in given]:
            raise PatchError(f"has no line '{missing[0]}: ...'")
        hunks = tuple(_hunks(f"--- {diff}"))
        if not hunks:
            raise PatchError("has no hunk")
        return cls(path.stem, given["Law"], given["Breaks"], given["Test"], hunks)

    def apply(self, root: Path) -> None:
        """Change the files below a folder.

        Raises:
            PatchError: the lines that a hunk replaces are not in the file exactly once.
        """
        for hunk in self.hunks:
            file = root / hunk.path
            text = file.read_text() if file.is_file() else ""
            if (found := text.count(hunk.old)) != 1:
                raise PatchError(
                    f"does not apply: {hunk.path} has the lines to replace {found} times: update the patch"
                )
            file.write_text(text.replace(hunk.old, hunk.new))


def _hunks(diff: str) -> list[Hunk]:
    """Return the hunks of a unified diff, each with its old and its new lines."""
    hunks: list[Hunk] = []
    path = ""
    old: list[str] = []
    new: list[str] = []

    def end() -> None:
        if old or new:
            hunks.append(Hunk(path, "".join(old), "".join(new)))
        old.clear()
        new.clear()

    for line in diff.splitlines(keepends=True):
        if line.startswith("+++ "):
            end()
            path = line[4:].split("\t")[0].strip().removeprefix("b/")
        elif line.startswith("--- ") or _HUNK.match(line):
            end()
        else:
            if line[0] in " -\n":
                old.append(line[1:] or "\n")
            if line[0] in " +\n":
                new.append(line[1:] or "\n")
    end()
    return hunks
