"""Read a log while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.control_plane.audit import AuditLog

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_is_read_once_it_is_complete(tmp_path: Path) -> None:
    """Neither a mark nor a read cuts a line that is being written."""
    log = AuditLog(tmp_path / "audit.log")
    log.path.write_text('{"a":1}\n{"b":{"c":2}')
    mark = log.mark()
    assert log.requests() == [{"a": 1}]
    assert log.requests(mark) == []
    with log.path.open("a") as file:
        file.write('}\n{"d":3}\n')
    assert log.requests(mark) == [{"b": {"c": 2}}, {"d": 3}]
