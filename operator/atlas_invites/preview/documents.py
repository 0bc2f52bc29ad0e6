"""Reads YAML as kubectl does: from files, directories and standard input, with several documents and with lists."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
"""Suffixes of the files that kubectl reads in a directory."""
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises for a text that is not YAML, and for a value that does not fit its explicit tag."""


class Source(NamedTuple):
    """Where a manifest is: a file, the number of the document in it, and of the item if the document is a list."""

    file: str
    document: int | None = None
    item: int | None = None

    def __str__(self) -> str:
        document = "" if self.document is None else f", document {self.document}"
        return f"{self.file}{document}{'' if self.item is None else f', item {self.item}'}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in a manifest: the field (None: the whole document), and the rule that it breaks."""

    source: Source
    field: str | None
    rule: str

    def __str__(self) -> str:
        return f"{self.source}: {'' if self.field is None else f'{self.field}: '}{self.rule}"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads scalars as kubectl does: without times and numbers such as 1_000 or 12:30. Rejects duplicate keys."""

    def construct_document(self, node: yaml.Node) -> Any:  # noqa: ANN401 - YAML
        """Return a document, after a check for duplicate keys."""
        _check_keys(node)
        return super().construct_document(node)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+|0[0-7]+)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def _check_keys(root: yaml.Node) -> None:
    """Check that no mapping has a duplicate key. kubectl rejects duplicates; PyYAML uses the last one.

    Raises:
        ConstructorError: a key is duplicate.
    """
    nodes, seen = [root], {id(root)}
    while nodes:
        node = nodes.pop()
        below = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            keys = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value}", key.start_mark)
                keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
                below += [key, value]
        nodes += [one for one in below if id(one) not in seen]  # an alias may point back
        seen.update(map(id, below))


def read(paths: Iterable[str]) -> tuple[list[tuple[Source, dict[str, Any]]], list[Fault]]:
    """Return every object with its source, and the faults of what could not be read.

    Args:
        paths: files, directories (without their subdirectories), or ``-``.
    """
    found: list[tuple[Source, dict[str, Any]]] = []
    faults: list[Fault] = []
    known: set[str] = set()
    for path in paths:
        for file, text in _texts(path, faults, known):
            _parse(file, text, found, faults)
    return found, faults


def _texts(path: str, faults: list[Fault], known: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of a path. Skip the files in ``known``, and add the others to it."""
    if path == "-":
        yield "standard input", sys.stdin.buffer.read() if sys.stdin is not None else b""
        return
    try:
        is_directory = Path(path).is_dir()
        files = sorted(f for f in Path(path).iterdir() if f.suffix in _SUFFIXES) if is_directory else [Path(path)]
    except OSError as error:
        faults.append(Fault(Source(path), None, f"cannot be read: {error.strerror}"))
        return
    for file in files:
        if (is_directory and file.is_dir()) or (real := os.path.realpath(file)) in known:
            continue
        known.add(real)
        try:
            yield str(file), file.read_bytes()
        except OSError as error:
            faults.append(Fault(Source(str(file)), None, f"cannot be read: {error.strerror}"))


def _parse(file: str, text: bytes, found: list[tuple[Source, dict[str, Any]]], faults: list[Fault]) -> None:
    """Add the objects of a file. The documents after a syntax error cannot be read."""
    number = 0
    try:
        for number, document in enumerate(yaml.load_all(text, _Loader), start=1):
            found += _objects(Source(file, number), document, faults)
    except _UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" (line {mark.line + 1})"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        rule = f"not valid YAML{line}: {problem}; this document and those after it were not read"
        faults.append(Fault(Source(file, number + 1), None, rule))


def _objects(source: Source, document: Any, faults: list[Fault]) -> Iterator[tuple[Source, dict[str, Any]]]:  # noqa: ANN401 - YAML
    """Yield the objects of a document: the document itself, or the items of a list. An empty document has none."""
    if document is None and source.item is None:
        return
    if not isinstance(document, dict):
        faults.append(Fault(source, None, "must be a Kubernetes object: a mapping with apiVersion and kind"))
        return
    kind, items = document.get("kind"), document.get("items")
    if not isinstance(kind, str) or not kind:
        faults.append(Fault(source, "kind", "Required value"))
    elif kind.endswith("List") and isinstance(items, list):
        for number, item in enumerate(items, start=1):
            yield from _objects(source._replace(item=number), item, faults)
    else:
        yield source, document
