"""The command line: ``atlas-invites run`` and ``atlas-invites export``."""

# ruff: noqa: T201 - this is the module that speaks to a terminal

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from atlas_invites.environment import StartupError
from atlas_invites.export import ExportSettings, credentials_of, export
from atlas_invites.invitation.outcome import Failure
from atlas_invites.settings import Settings
from atlas_invites.stopping import FAILED, end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo

BAD_SETTINGS, INCOMPLETE = 2, 3
log = logging.getLogger(__name__)

_SHOWN = (str, int, float)
"""Types of a default that the help shows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0 when all is done (``run``: after SIGTERM), 1 for a failure, 2 for bad settings, 3 for an export that left
    something out.
    """
    parsed, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # Only the names of flags: a value may hold a password.
        flags = ", ".join(word.partition("=")[0] for word in unknown if word.startswith("--"))
        return _bad_settings(f"unknown option {flags}; see --help" if flags else "unexpected argument; see --help")
    given = vars(parsed)
    return _export(given) if given.pop("command") == "export" else _run(given)


def _run(given: dict[str, Any]) -> int:
    try:
        settings = Settings(**given)
    except ValidationError as error:
        return _bad_settings(_one_line(error))

    import uvloop  # noqa: PLC0415 - help and bad settings answer at once

    from atlas_invites.app import App  # noqa: PLC0415
    from atlas_invites.telemetry import logs  # noqa: PLC0415

    logs.configure(settings.log_format, settings.log_level)

    async def serve() -> NoReturn:
        try:
            code = await App(settings).run()
        except StartupError as error:
            code = _bad_settings(str(error))
        except Exception:
            log.exception("the operator has ended in an unexpected way")
            code = FAILED
        end(code)

    return uvloop.run(serve())


def _export(given: dict[str, Any]) -> int:
    try:
        settings = ExportSettings(**given)
        credentials = credentials_of(os.environ)
    except ValidationError as error:
        return _bad_settings(_one_line(error))
    except ValueError as error:
        return _bad_settings(str(error))
    try:
        done = asyncio.run(export(settings, credentials))
    except Failure as failure:
        detail = f" ({failure.error.detail})" if failure.error and failure.error.detail else ""
        print(f"atlas-invites: {failure.message}{detail}", file=sys.stderr)
        return FAILED
    sys.stdout.write(done.text)
    return 0 if done.complete else INCOMPLETE


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit as for bad settings; argparse shows the value of a switch that takes none."""
        sys.exit(_bad_settings(re.sub(r"ignored explicit argument .*", "takes no value", message, flags=re.DOTALL)))


def _parser() -> argparse.ArgumentParser:
    """Return the parser: one flag for each setting, whose values the settings themselves judge."""
    parser = _Parser(prog="atlas-invites", allow_abbrev=False, description=sys.modules["atlas_invites"].__doc__)
    parser.add_argument("--version", action="version", version=version("atlas-invites"))
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text, fields in (
        ("run", "run the operator", Settings.model_fields),
        ("export", "print a project's pending invitations as manifests", ExportSettings.model_fields),
    ):
        _add_flags(
            commands.add_parser(
                command, help=text, description=text, argument_default=argparse.SUPPRESS, allow_abbrev=False
            ),
            fields,
        )
    return parser


def _add_flags(command: argparse.ArgumentParser, fields: Mapping[str, FieldInfo]) -> None:
    """Add one flag for each setting of a command."""
    for name, field in fields.items():
        flag = f"--{name.replace('_', '-')}"
        default = f" (default: {_shown(field.default)})" if isinstance(field.default, _SHOWN) and field.default else ""
        options: dict[str, Any] = {"help": f"{field.description}{default}".replace("%", "%%")}
        if name == "namespaces":
            command.add_argument("--namespace", dest=name, action="append", metavar="NAME", **options)
        elif name == "leader_election":
            command.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, **options)
        elif field.annotation is bool:
            command.add_argument(flag, dest=name, action="store_true", **options)
        else:
            command.add_argument(flag, dest=name, metavar=name.rpartition("_")[2].upper(), **options)


def _shown(default: object) -> str:
    """Return a default as one would write it: a time in minutes or hours where it is so many."""
    if not isinstance(default, float):
        return str(default)
    for seconds, unit in ((3600, "h"), (60, "m")):
        if default % seconds == 0:
            return f"{default / seconds:.0f}{unit}"
    return f"{default:g}s"


def _one_line(error: ValidationError) -> str:
    """Return which settings are wrong and why, without their values: one may hold a password."""
    return "; ".join(
        f"{_flag(str(e['loc'][0]))} ({_variable(str(e['loc'][0]))}): {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_input=False, include_url=False)
    )


def _flag(name: str) -> str:
    return "--namespace" if name == "namespaces" else f"--{name.replace('_', '-')}"


def _variable(name: str) -> str:
    return f"ATLAS_INVITES_{name.upper()}"


def _bad_settings(message: str) -> int:
    print(f"atlas-invites: {' '.join(message.split())}", file=sys.stderr)
    return BAD_SETTINGS
