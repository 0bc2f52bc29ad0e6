"""Log lines, as JSON or text. They name objects, but contain no e-mail addresses or secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUIET = ("httpx", "httpcore", "aiohttp.access", "kubernetes", "asyncio", "kopf")
"""Loggers of libraries whose info lines are noise, or have e-mail addresses (httpx: in URLs)."""

_subject: ContextVar[object | None] = ContextVar("subject", default=None)


@contextmanager
def about(subject: object) -> Iterator[None]:
    """Make ``subject`` return this object inside the context, and in tasks that are started there."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def subject() -> object | None:
    """Return the object that this task reconciles, or None, so that parts that know no objects can log it."""
    return _subject.get()


class TextFormatter(logging.Formatter):
    """``2026-11-24T10:00:00Z INFO atlas_invites.app [team-a/jane] message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A traceback follows on separate lines."""
        about = f" [{record.object}]" if hasattr(record, "object") else ""
        line = f"{_time(record)} {record.levelname} {record.name}{about} {record.getMessage()}"
        return _without_passwords(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message; object, exception and ``fields`` if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if hasattr(record, "object"):
            line["object"] = str(record.object)
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _without_passwords(json.dumps(line, ensure_ascii=False))


def configure(log_format: str, log_level: str) -> None:
    """Write all logs to stderr.

    Args:
        log_format: ``json`` or ``text``.
        log_level: the least severe level that is logged, in lower case.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_without_tracebacks_of_kopf)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_tracebacks_of_kopf(record: logging.LogRecord) -> bool:
    """Remove the traceback of kopf's errors, which helps nobody: the watch restarts. The line stays."""
    if record.name.startswith("kopf"):
        record.exc_info = record.exc_text = None
    return True


def _without_passwords(line: str) -> str:
    """Return a line without user names and passwords in URLs: aiohttp's errors show those of the proxy."""
    return re.sub(r"(?<=://)[^\s/@\"]+@", "", line)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
