"""The command line: ``atlas-invites run``, ``atlas-invites plan`` and ``atlas-invites export``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import re
import sys
from difflib import get_close_matches
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from atlas_invites.environment import StartupError, check_certificates
from atlas_invites.export import ExportError, ExportSettings, credentials_of, export
from atlas_invites.preview.settings import PlanSettings
from atlas_invites.settings import NAMESPACE_VARIABLES, Settings, namespaces_of
from atlas_invites.stopping import FAILED, end
from atlas_invites.terminal import print_error, show, show_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo

BAD_SETTINGS, INCOMPLETE = 2, 3
CHANGES = 2
"""Exit code of ``plan --detailed-exitcode`` if something would change."""
PLAN = "plan"
log = logging.getLogger(__name__)

_REPEATED = {"namespaces": "--namespace", "files": "--file"}
"""The flags that may be repeated, by the name of their setting."""

_VARIABLES = "Each flag is also an environment variable, for example"
_CREDENTIALS = (
    "The credentials of Atlas come from MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY (an API key), "
    "or from MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET (a service account)."
)
_EPILOGS = {
    "run": f"{_VARIABLES} ATLAS_INVITES_LOG_LEVEL.",
    PLAN: f"{_VARIABLES} ATLAS_INVITES_OUTPUT. {_CREDENTIALS}",
    "export": f"{_VARIABLES} ATLAS_INVITES_GROUP_ID. {_CREDENTIALS}",
}
"""What the help of each command says after its flags."""

_SHOWN = (str, int, float)
"""Types of the defaults that the help shows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0: success (``run``: stopped by a signal). 1: failure. 2: bad settings; for ``plan`` with ``--detailed-exitcode``,
    something would change. 3: an export that left something out. 141: the reader of the output has closed it.
    """
    parsed, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # Show only the names of flags: a value may contain a password.
        flags = ", ".join(word.partition("=")[0] for word in unknown if word.startswith("--"))
        words = f"unknown option {flags}; see --help" if flags else "unexpected argument; see --help"
        return _bad_settings(words, parsed.command)
    given = vars(parsed)
    command = given.pop("command")
    try:
        _check_variables(os.environ)
        if command == PLAN:
            return _plan(given)
        if "namespaces" not in given and (namespaces := namespaces_of(os.environ)) is not None:
            given["namespaces"] = namespaces
        return _export(given) if command == "export" else _run(given)
    except ValidationError as error:
        return _bad_settings(_one_line(error), command)
    except StartupError as error:
        return _bad_settings(str(error), command)


def _run(given: dict[str, Any]) -> int:
    settings = Settings(**given)
    check_certificates()

    import uvloop  # noqa: PLC0415 - keeps --help and errors in settings fast

    from atlas_invites import app  # noqa: PLC0415
    from atlas_invites.telemetry import logs  # noqa: PLC0415

    logs.configure(settings.log_format, settings.log_level)

    async def serve() -> NoReturn:
        try:
            code = await app.run(settings)
        except StartupError as error:
            code = _bad_settings(str(error))
        except Exception:
            log.exception("the operator failed unexpectedly")
            code = FAILED
        end(code)

    return uvloop.run(serve())


def _export(given: dict[str, Any]) -> int:
    settings = ExportSettings(**given)
    credentials = credentials_of(os.environ)
    check_certificates()
    try:
        found = asyncio.run(export(settings, credentials, show_progress))
        if settings.output_directory is not None:
            settings.output_directory.mkdir(parents=True, exist_ok=True)
            for one in found:
                if one.failure is None:
                    (settings.output_directory / f"{one.group_id}.yaml").write_text(one.text, encoding="utf-8")
    except ExportError as error:
        print_error(str(error))
        return FAILED
    except OSError as error:
        why = "it is not a directory" if isinstance(error, FileExistsError) else error.strerror
        print_error(f"cannot write to {settings.output_directory}: {why}")
        return FAILED
    if settings.output_directory is None:
        show("".join(one.text for one in found))
    for one in found:
        if one.failure is not None:
            kept = "" if settings.output_directory is None else f" {one.group_id}.yaml was not written."
            print_error(f"{one.failure if len(found) == 1 else f'project {one.group_id}: {one.failure}'}{kept}")
    if any(one.failure for one in found):
        return FAILED
    return 0 if all(one.complete for one in found) else INCOMPLETE


def _plan(given: dict[str, Any]) -> int:
    settings = PlanSettings(**given)
    credentials = credentials_of(os.environ)
    check_certificates()

    from atlas_invites.preview import lines as rendering  # noqa: PLC0415 - keeps --help and errors in settings fast
    from atlas_invites.preview.plan import PlanError, is_changing, plan  # noqa: PLC0415

    gc.disable()  # the process is short, and each collection would scan every manifest again
    logging.getLogger("atlas_invites").setLevel(logging.ERROR)  # the lines of the plan say what a warning would say
    try:
        lines, faults, warnings, compared = asyncio.run(plan(settings, credentials, show_progress))
    except PlanError as error:
        print_error(str(error))
        return FAILED
    for problem in (*warnings, *faults):
        print_error(str(problem))
    if faults:
        return FAILED
    color = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    is_json = settings.output == "json"
    show(
        rendering.as_json(lines, compared=compared)
        if is_json
        else rendering.as_text(lines, color=color, compared=compared)
    )
    if any(line.failed for line in lines):
        return FAILED
    return CHANGES if settings.detailed_exitcode and is_changing(lines) else 0


def _check_variables(environment: Mapping[str, str]) -> None:
    """Check that a command reads each ``ATLAS_INVITES_`` variable, so that a typo is not ignored.

    Kubernetes gives a Pod variables for each Service in its namespace, such as ``ATLAS_INVITES_PORT``. They are ignored
    if the Service also has a variable ``..._SERVICE_HOST``.

    Raises:
        StartupError: a variable is unknown. The message has the nearest known name.
    """
    fields = [*Settings.model_fields, *ExportSettings.model_fields, *PlanSettings.model_fields]
    known = sorted({variable for name in fields for variable in _variables(name)})
    services = [name.removesuffix("HOST") for name in environment if name.endswith("_SERVICE_HOST")]
    links = (*services, *(f"{service.removesuffix('SERVICE_')}PORT" for service in services))
    unknown = [
        f"unknown variable {name}; the nearest name is {get_close_matches(name.upper(), known, 1, 0)[0]}"
        for name in sorted(environment)
        if name.upper().startswith("ATLAS_INVITES_") and name.upper() not in known and not name.startswith(links)
    ]
    if unknown:
        raise StartupError("; ".join(unknown))


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit as for bad settings. Remove the value that argparse shows for a switch: it may be a secret."""
        words = re.sub(r"ignored explicit argument .*", "takes no value", message, flags=re.DOTALL)
        sys.exit(_bad_settings(words, self.prog.rpartition(" ")[2]))

    def _print_message(self, message: str, file: object = None) -> None:
        """Print the help or the version."""
        del file
        show(message)


def _parser() -> argparse.ArgumentParser:
    """Return the parser. It has one flag for each setting; the settings validate the values."""
    parser = _Parser(prog="atlas-invites", allow_abbrev=False, description=sys.modules["atlas_invites"].__doc__)
    parser.add_argument("--version", action="version", version=version("atlas-invites"))
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text, fields in (
        ("run", "run the operator", Settings.model_fields),
        (PLAN, "show what the operator would do for manifests, without changing anything", PlanSettings.model_fields),
        (
            "export",
            "print the pending invitations of projects, and optionally their members, as manifests",
            ExportSettings.model_fields,
        ),
    ):
        options: dict[str, Any] = {"argument_default": argparse.SUPPRESS, "allow_abbrev": False}
        options |= {"description": text, "epilog": _EPILOGS[command]}
        _add_flags(commands.add_parser(command, help=text, **options), fields)
    return parser


def _add_flags(command: argparse.ArgumentParser, fields: Mapping[str, FieldInfo]) -> None:
    """Add one flag for each setting of a command."""
    for name, field in fields.items():
        default = f" (default: {_shown(field.default)})" if isinstance(field.default, _SHOWN) and field.default else ""
        options: dict[str, Any] = {"metavar": name.rpartition("_")[2].upper()}
        flags = [_flag(name)]
        if name == "namespaces":
            options = {"metavar": "NAME", "action": "append"}
        elif name == "files":
            options, flags = {"metavar": "FILE", "action": "append"}, ["-f", *flags]
        elif name == "group_id":
            options = {"metavar": "ID", "action": "append"}
        elif name == "leader_election":
            options = {"action": argparse.BooleanOptionalAction}
        elif field.annotation is bool:
            options = {"action": "store_true"}
        text = f"{field.description}{default}".replace("%", "%%")
        command.add_argument(*flags, dest=name, help=text, **options)


def _shown(default: object) -> str:
    """Return a default as a user writes it: a time in whole hours or minutes if possible."""
    if not isinstance(default, float):
        return str(default)
    for seconds, unit in ((3600, "h"), (60, "m")):
        if default % seconds == 0:
            return f"{default / seconds:.0f}{unit}"
    return f"{default:g}s"


def _one_line(error: ValidationError) -> str:
    """Return which settings are wrong and why, without their values: a value may contain a password."""
    found = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else problem["type"]
        rule = problem["msg"].removeprefix("Value error, ")
        found.append(f"{_flag(name)} ({' or '.join(_variables(name))}): {rule}")
    return "; ".join(found)


def _flag(name: str) -> str:
    return _REPEATED.get(name) or f"--{name.replace('_', '-')}"


def _variables(name: str) -> tuple[str, ...]:
    return NAMESPACE_VARIABLES if name == "namespaces" else (f"ATLAS_INVITES_{name.upper()}",)


def _bad_settings(message: str, command: str = "run") -> int:
    """Print the error and return the exit code: not 2 for ``plan``, where 2 means that something would change."""
    print_error(message)
    return FAILED if command == PLAN else BAD_SETTINGS
