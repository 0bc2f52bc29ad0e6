"""Log lines, as JSON and as text."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientConnectorCertificateError
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from atlas_invites.invitation.resource import Key
from atlas_invites.telemetry.logs import JsonFormatter, TextFormatter, configure

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXY = "http://user:canary%2F'%40canary@proxy:3128"
TIME = 1_787_000_000.25


def record(message: str = "%d objects", args: Any = (3,), **extra: Any) -> logging.LogRecord:  # noqa: ANN401 - logging's
    made = logging.getLogger("x").makeRecord(
        "atlas_invites.app", logging.INFO, "f.py", 1, message, args, extra.pop("exc_info", None), extra=extra
    )
    made.created = TIME
    return made


def boom() -> Any:  # noqa: ANN401 - exc_info
    try:
        int("boom")
    except ValueError:
        return sys.exc_info()
    raise AssertionError


def test_json_is_one_object_per_line() -> None:
    """Time in UTC, level, logger, message; nothing else."""
    line = JsonFormatter().format(record())
    assert json.loads(line) == {
        "time": "2026-08-17T20:53:20.250Z",
        "level": "info",
        "logger": "atlas_invites.app",
        "message": "3 objects",
    }


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_the_password_of_a_proxy_is_not_shown(formatter: logging.Formatter) -> None:
    """Errors of aiohttp, as kopf logs them in full, contain the URL of the proxy with its password."""
    key = ConnectionKey("x", 443, is_ssl=True, ssl=True, proxy=URL(PROXY), proxy_auth=None, proxy_headers_hash=None)
    error = ClientConnectorCertificateError(key, OSError())
    assert "canary" in repr(error)
    trace = (ValueError, ValueError(repr(error)), None)
    line = formatter.format(record("a request failed -> %r", (error,), exc_info=trace))
    assert "canary" not in line
    assert line.count("http://proxy:3128") == 2


def test_json_names_the_object() -> None:
    """A line about an object names it in the form of kubectl."""
    assert json.loads(JsonFormatter().format(record(object=Key("team-a", "jane"))))["object"] == "team-a/jane"


def test_json_keeps_a_line_a_line() -> None:
    """Line breaks, quotes and a traceback stay inside one line."""
    line = JsonFormatter().format(record('two\nlines and a "é"', (), exc_info=boom()))
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["message"] == 'two\nlines and a "é"'
    assert parsed["exception"].startswith("Traceback")
    assert parsed["exception"].endswith("ValueError: invalid literal for int() with base 10: 'boom'")
    assert "é" in line


def test_order_of_the_fields_in_text() -> None:
    """Time, level, logger, object, message."""
    assert TextFormatter().format(record()) == "2026-08-17T20:53:20.250Z INFO atlas_invites.app 3 objects"
    assert TextFormatter().format(record(object=Key("team-a", "jane"))) == (
        "2026-08-17T20:53:20.250Z INFO atlas_invites.app [team-a/jane] 3 objects"
    )


def test_text_shows_a_traceback_below() -> None:
    """The traceback follows on its own lines."""
    lines = TextFormatter().format(record(exc_info=boom())).splitlines()
    assert lines[0].endswith(" 3 objects")
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "ValueError: invalid literal for int() with base 10: 'boom'"


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the logging configuration."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level
        for name in ("httpx", "httpcore", "kopf", "kubernetes", "asyncio", "aiohttp.access")
    }
    # pytest's own handlers would be closed by a configuration that replaces them.
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("log_format", "first"), [("json", '{"time"'), ("text", "20")])
def test_configure(log_format: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines go to stderr in the configured format and from the configured level."""
    configure(log_format, "info")
    logging.getLogger("atlas_invites").info("seen")
    logging.getLogger("atlas_invites").debug("not seen")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(first)
    assert "seen" in err


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("name", ["httpx", "httpcore", "kopf.objects", "kubernetes.client.rest", "aiohttp.access"])
def test_libraries_are_quiet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Their info lines contain what no log may contain (URLs with e-mails), also at level debug; warnings are shown."""
    configure("text", "debug")
    logging.getLogger(name).info("https://cloud.mongodb.com/?username=canary@example.com")
    logging.getLogger(name).warning("a warning")
    err = capsys.readouterr().err
    assert "canary" not in err
    assert "a warning" in err
