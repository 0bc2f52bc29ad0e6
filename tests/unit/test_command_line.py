"""The command line: every flag is also a variable, and invalid settings are one line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites import command_line
from atlas_invites.environment import StartupError
from atlas_invites.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlas_invites.export import Export, ExportSettings

CANARY = "canary-7b3c"
ENDS_WITHIN = 60.0
"""Seconds after which a process has certainly ended, but the work that must not delay it has not."""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ATLAS_INVITES_", "MONGODB_ATLAS_")) or name == "KUBERNETES_SERVICE_HOST":
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Run the command line with an operator that only records its settings."""
    given: list[Settings] = []

    async def remember(settings: Settings) -> int:
        given.append(settings)
        return 0

    monkeypatch.setattr("atlas_invites.app.run", remember)
    monkeypatch.setattr("atlas_invites.telemetry.logs.configure", lambda *_: None)
    monkeypatch.setattr(command_line, "end", sys.exit)

    def call(*arguments: str) -> Settings:
        with pytest.raises(SystemExit) as ended:
            command_line.main(["run", *arguments])
        assert ended.value.code == 0
        return given.pop()

    return call


FLAGS: list[tuple[str, str, str, str, Any]] = [
    ("--atlas-url", "ATLAS_INVITES_ATLAS_URL", "https://atlas.example.com", "atlas_url", "https://atlas.example.com"),
    ("--namespace", "ATLAS_INVITES_NAMESPACES", "team-a,team-b", "namespaces", ("team-a", "team-b")),
    ("--resync-interval", "ATLAS_INVITES_RESYNC_INTERVAL", "1h", "resync_interval", 3600.0),
    ("--deletion-grace", "ATLAS_INVITES_DELETION_GRACE", "1m", "deletion_grace", 60.0),
    ("--workers", "ATLAS_INVITES_WORKERS", "7", "workers", 7),
    ("--atlas-api", "ATLAS_INVITES_ATLAS_API", "users", "atlas_api", "users"),
    ("--lease-namespace", "ATLAS_INVITES_LEASE_NAMESPACE", "operators", "lease_namespace", "operators"),
    ("--listen", "ATLAS_INVITES_LISTEN", "off", "listen", "off"),
    ("--log-format", "ATLAS_INVITES_LOG_FORMAT", "json", "log_format", "json"),
    ("--log-level", "ATLAS_INVITES_LOG_LEVEL", "debug", "log_level", "debug"),
]


@pytest.mark.parametrize(("flag", "variable", "text", "name", "value"), FLAGS, ids=[flag for flag, *_ in FLAGS])
def test_every_flag_is_a_variable(  # noqa: PLR0913, PLR0917 - the columns of the table
    run: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    variable: str,
    text: str,
    name: str,
    value: Any,  # noqa: ANN401 - of any type
) -> None:
    """A setting may be given by flag or by variable; other settings keep their defaults."""
    by_flag = run(flag, text)
    assert getattr(by_flag, name) == value
    assert getattr(run(f"{flag}={text}"), name) == value
    monkeypatch.setenv(variable, text)
    assert run() == by_flag
    monkeypatch.delenv(variable)
    assert run().model_copy(update={name: value}) == by_flag


def test_the_envelope_is_a_switch(run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """--atlas-envelope has no value; its variable has one."""
    assert run().atlas_envelope is False
    assert run("--atlas-envelope").atlas_envelope is True
    monkeypatch.setenv("ATLAS_INVITES_ATLAS_ENVELOPE", "true")
    assert run().atlas_envelope is True


@pytest.mark.parametrize(("flag", "variable", "text", "name", "value"), FLAGS, ids=[flag for flag, *_ in FLAGS])
def test_a_flag_goes_before_its_variable(  # noqa: PLR0913, PLR0917 - the columns of the table
    run: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    variable: str,
    text: str,
    name: str,
    value: Any,  # noqa: ANN401 - of any type
) -> None:
    """The command line has priority, also over a variable with an invalid value."""
    monkeypatch.setenv(variable, "@@@")
    assert getattr(run(flag, text), name) == value


def test_leader_election_is_turned_on_and_off(run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """By flag, whatever the variable says; by variable otherwise."""
    assert run("--leader-election").leader_election is True
    monkeypatch.setenv("ATLAS_INVITES_LEADER_ELECTION", "true")
    assert run().leader_election is True
    assert run("--no-leader-election").leader_election is False


def test_namespaces_repeat(run: Callable[..., Settings]) -> None:
    """--namespace may be given several times."""
    assert run("--namespace", "team-a", "--namespace", "team-b").namespaces == ("team-a", "team-b")


def test_every_setting_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """--help names every setting, and formats a percent sign correctly."""
    with pytest.raises(SystemExit) as caught:
        command_line.main(["run", "--help"])
    assert caught.value.code == 0
    shown = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    flags = {f"--{name.replace('_', '-')}" for name in Settings.model_fields} - {"--namespaces"} | {"--namespace"}
    assert flags <= shown


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("--atlas-url", "https://cloud.mongodb.com"),
        ("--resync-interval", "10m"),
        ("--deletion-grace", "5s"),
        ("--workers", "50"),
        ("--atlas-api", "auto"),
        ("--listen", "0.0.0.0:8080"),
        ("--log-level", "info"),
    ],
)
def test_the_help_shows_defaults(capsys: pytest.CaptureFixture[str], flag: str, default: str) -> None:
    """Each flag whose default is the same everywhere shows it, in the form of a value."""
    with pytest.raises(SystemExit):
        command_line.main(["run", "--help"])
    _, _, told = " ".join(capsys.readouterr().out.partition("options:")[2].split()).partition(f" {flag} ")
    assert f"(default: {default})" in told.partition(" --")[0]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version shows the version of the distribution."""
    with pytest.raises(SystemExit) as caught:
        command_line.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == version("atlas-invites")


# Invalid settings.


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line and return the one line that it prints before it exits with 2."""
    try:
        code = command_line.main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert CANARY not in err
    return err.strip()


BAD = [
    ("--atlas-url", "ATLAS_INVITES_ATLAS_URL", f"http://{CANARY}.example.com", "must be https"),
    ("--atlas-url", "ATLAS_INVITES_ATLAS_URL", f"https://user:{CANARY}@host", "must name a host only"),
    ("--atlas-url", "ATLAS_INVITES_ATLAS_URL", f"https://[{CANARY}]", "must be an https:// URL"),
    ("--resync-interval", "ATLAS_INVITES_RESYNC_INTERVAL", CANARY, "must be seconds"),
    ("--deletion-grace", "ATLAS_INVITES_DELETION_GRACE", CANARY, "must be seconds"),
    ("--workers", "ATLAS_INVITES_WORKERS", CANARY, "valid integer"),
    ("--atlas-api", "ATLAS_INVITES_ATLAS_API", CANARY, "'auto', 'invites' or 'users'"),
    ("--lease-namespace", "ATLAS_INVITES_LEASE_NAMESPACE", f"{CANARY}/x", "must be the name of a namespace"),
    ("--listen", "ATLAS_INVITES_LISTEN", CANARY, "must be host:port, or off"),
    ("--log-format", "ATLAS_INVITES_LOG_FORMAT", CANARY, "'json' or 'text'"),
    ("--log-level", "ATLAS_INVITES_LOG_LEVEL", CANARY, "'debug', 'info', 'warning' or 'error'"),
]


@pytest.mark.parametrize(("flag", "variable", "text", "rule"), BAD)
def test_an_invalid_setting_is_one_line(  # noqa: PLR0913, PLR0917 - the columns of the table
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    variable: str,
    text: str,
    rule: str,
) -> None:
    """It names the flag, the variable and the rule, and never shows the value, whichever way it came."""
    by_flag = refusal(capsys, "run", f"{flag}={text}")
    assert by_flag.startswith(f"atlas-invites: {flag} ({variable}): ")
    assert rule in by_flag
    monkeypatch.setenv(variable, text)
    assert refusal(capsys, "run") == by_flag


NAMESPACE_VARIABLES = ["ATLAS_INVITES_NAMESPACE", "ATLAS_INVITES_NAMESPACES"]
GROUP = ["--group-id", "32b6e34b3d91647abb20e7b8"]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ExportSettings]:
    """Run the command line with an export that only records its settings."""
    given: list[ExportSettings] = []

    async def export(settings: ExportSettings, *_: object) -> list[Export]:
        given.append(settings)
        return []

    monkeypatch.setattr(command_line, "export", export)
    monkeypatch.setenv("MONGODB_ATLAS_PUBLIC_API_KEY", "public")
    monkeypatch.setenv("MONGODB_ATLAS_PRIVATE_API_KEY", "private")

    def call(*arguments: str) -> ExportSettings:
        assert command_line.main(["export", *GROUP, *arguments]) == 0
        return given.pop()

    return call


@pytest.mark.parametrize("variable", NAMESPACE_VARIABLES)
def test_both_commands_read_the_namespace_from_either_variable(
    run: Callable[..., Settings],
    exported: Callable[..., ExportSettings],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """A user who sets the other command's variable does not watch all namespaces by mistake; a flag has priority."""
    monkeypatch.setenv(variable, "team-a")
    assert run().namespaces == ("team-a",)
    assert exported().namespace == "team-a"
    assert run("--namespace", "team-b").namespaces == ("team-b",)
    assert exported("--namespace", "team-b").namespace == "team-b"
    monkeypatch.setenv(variable, "")
    assert run().namespaces == ()
    assert exported().namespace is None


def test_both_variables_may_have_the_same_namespaces(
    run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spaces and repetitions do not matter; if there is a flag, it decides."""
    monkeypatch.setenv("ATLAS_INVITES_NAMESPACE", "team-a, team-b")
    monkeypatch.setenv("ATLAS_INVITES_NAMESPACES", "team-a,team-b,team-a")
    assert run().namespaces == ("team-a", "team-b")
    monkeypatch.setenv("ATLAS_INVITES_NAMESPACE", "team-c")
    assert run("--namespace", "team-d").namespaces == ("team-d",)


@pytest.mark.parametrize("command", [["run"], ["export", *GROUP]])
def test_namespaces_that_differ_are_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """It is not known which of the two variables is meant."""
    monkeypatch.setenv("ATLAS_INVITES_NAMESPACE", "team-a")
    monkeypatch.setenv("ATLAS_INVITES_NAMESPACES", "team-a,team-b")
    assert refusal(capsys, *command) == (
        "atlas-invites: ATLAS_INVITES_NAMESPACES and ATLAS_INVITES_NAMESPACE differ: set only one of them"
    )


@pytest.mark.parametrize(
    "given", [["--namespace", "team-a", "--namespace", "team-b"], ["--namespace", "team-a,team-b"]]
)
def test_an_export_is_for_one_namespace(capsys: pytest.CaptureFixture[str], given: list[str]) -> None:
    """Several are rejected: the first or the last one would be a guess."""
    assert refusal(capsys, "export", *GROUP, *given) == (
        "atlas-invites: --namespace (ATLAS_INVITES_NAMESPACES or ATLAS_INVITES_NAMESPACE):"
        " must be a single namespace: all manifests have the same one"
    )


@pytest.mark.parametrize("command", [["run"], ["export", *GROUP]])
@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("ATLAS_INVITES_NAMESAPCES", "ATLAS_INVITES_NAMESPACES"),
        ("ATLAS_INVITES_WORKER", "ATLAS_INVITES_WORKERS"),
        ("ATLAS_INVITES_RESYNC_INTERVAL_SECONDS", "ATLAS_INVITES_RESYNC_INTERVAL"),
        ("ATLAS_INVITES_URL", "ATLAS_INVITES_ATLAS_URL"),
        ("ATLAS_INVITES_PORT", "ATLAS_INVITES_PRUNE"),
        ("atlas_invites_log", "ATLAS_INVITES_LOG_LEVEL"),
    ],
)
def test_an_unknown_variable_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    unknown: str,
    nearest: str,
) -> None:
    """A typo would leave the default in place; the line has the nearest name, and never the value."""
    monkeypatch.setenv(unknown, CANARY)
    assert refusal(capsys, *command) == f"atlas-invites: unknown variable {unknown}; the nearest name is {nearest}"


def test_the_variables_of_a_service_are_known(run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes gives each Pod variables for the Services of its namespace, also for one with the operator's name."""
    for service in ("ATLAS_INVITES", "ATLAS_INVITES_METRICS"):
        for name, value in {
            "SERVICE_HOST": "10.0.0.1",
            "SERVICE_PORT": "8080",
            "SERVICE_PORT_METRICS": "8080",
            "PORT": "tcp://10.0.0.1:8080",
            "PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "PORT_8080_TCP_PROTO": "tcp",
            "PORT_8080_TCP_PORT": "8080",
            "PORT_8080_TCP_ADDR": "10.0.0.1",
        }.items():
            monkeypatch.setenv(f"{service}_{name}", value)
    monkeypatch.setenv("ATLAS_INVITES_GROUP_ID", "of the other command")
    run()


@pytest.mark.parametrize("command", [["run"], ["export", *GROUP]])
def test_a_file_of_certificates_that_is_missing_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """The file is checked before anything connects."""
    monkeypatch.setenv("MONGODB_ATLAS_CLIENT_ID", "id")
    monkeypatch.setenv("MONGODB_ATLAS_CLIENT_SECRET", "secret")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    assert refusal(capsys, *command) == (
        "atlas-invites: SSL_CERT_FILE: the file cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ([], "set either this or --all-projects, not both"),
        (["--all-projects", *GROUP], "set either this or --all-projects, not both"),
        (["--group-id="], "must be the id of an Atlas project, 24 lower-case hex digits"),
        (["--group-id", f"{CANARY}"], "must be the id of an Atlas project, 24 lower-case hex digits"),
        (["--group-id", "32B6E34B3D91647ABB20E7B8"], "must be the id of an Atlas project, 24 lower-case hex digits"),
    ],
)
def test_a_project_is_named_by_its_id(capsys: pytest.CaptureFixture[str], given: list[str], rule: str) -> None:
    """Without an id, or with other text, the line says what it must be."""
    assert refusal(capsys, "export", *given) == f"atlas-invites: --group-id (ATLAS_INVITES_GROUP_ID): {rule}"


def test_many_invalid_settings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """All errors are reported together."""
    said = refusal(capsys, "run", "--workers", CANARY, "--listen", CANARY, "--namespace", "team-a")
    assert "--workers (ATLAS_INVITES_WORKERS): " in said
    assert "--listen (ATLAS_INVITES_LISTEN): " in said
    assert "--namespace" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "command"),
        (["fly"], "'fly'"),
        (["run", "--workers"], "--workers"),
        (["run", f"--atlas_url=https://u:{CANARY}@h"], "--atlas_url"),
        (["run", "--work", CANARY], "--work"),
        (["run", f"--atlas-envelope={CANARY}"], "--atlas-envelope"),
        (["run", CANARY], "unexpected argument; see --help"),
        (["run", f"--wokers={CANARY}", "--x", CANARY], "unknown option --wokers, --x; see --help"),
    ],
)
def test_an_invalid_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """An unknown argument is exit code 2 and one line too; a value is not shown."""
    assert said in refusal(capsys, *arguments)


@pytest.mark.parametrize("text", ["no cluster: it cannot be used", "no cluster:\n it\ncannot be   used"])
def test_no_cluster_is_one_line(
    run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """A missing prerequisite is reported like an invalid setting, however many lines its cause has."""
    run()

    async def no_cluster(_: Settings) -> int:
        raise StartupError(text)

    monkeypatch.setattr("atlas_invites.app.run", no_cluster)
    assert refusal(capsys, "run") == f"atlas-invites: {' '.join(text.split())}"


@pytest.mark.parametrize("bug", [ValueError("a bug"), json.JSONDecodeError("a bug", "{", 1), TypeError("a bug")])
def test_a_later_failure_is_no_invalid_setting(
    run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bug: Exception
) -> None:
    """Only a missing prerequisite is exit code 2; any other failure is 1, and logged in full."""
    run()

    async def go_wrong(_: Settings) -> int:
        raise bug

    monkeypatch.setattr("atlas_invites.app.run", go_wrong)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["run"])
    assert ended.value.code == 1
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [bug]


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_operators(
    run: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """0 after a signal, 1 if a part ended unexpectedly."""
    run()

    async def end(_: Settings) -> int:
        return code

    monkeypatch.setattr("atlas_invites.app.run", end)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["run"])
    assert ended.value.code == code


def test_the_end_waits_for_no_thread() -> None:
    """A thread or a DNS look-up that hangs, and that cannot be ended, does not delay the end of the process."""
    hung = """
        async def run(settings):
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
            await asyncio.sleep(0)
            return 0

        app.run = run
        main()
    """
    with python("import asyncio, time", "from atlas_invites import app", hung) as process:
        assert process.wait(ENDS_WITHIN) == 0


@pytest.mark.parametrize("module", ["atlas_invites.command_line", "pydantic", "atlas_invites.app"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_during_the_start_ends_it(number: signal.Signals, module: str) -> None:
    """A handler is installed before any import: without one, the first process of a container would go on."""
    slow = """
        class Slow:
            def find_spec(self, name, path, target=None):
                if name == MODULE:
                    print("importing", flush=True)
                    time.sleep(600)

        sys.meta_path.insert(0, Slow())
        main()
    """
    with python("import time", f"MODULE = {module!r}", slow) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        assert process.wait(ENDS_WITHIN) == 0


@contextmanager
def python(*parts: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that has the entry point as ``main``, and kill it at the end."""
    before = (
        "import sys; sys.argv = ['atlas-invites', 'run', '--listen', 'off']",
        "from atlas_invites.__main__ import main",
    )
    program = "\n".join([*before, *(textwrap.dedent(part) for part in parts)])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


def test_invalid_settings_are_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator's parts are not even imported."""
    monkeypatch.delitem(sys.modules, "atlas_invites.app", raising=False)
    refusal(capsys, "run", "--workers", "0")
    assert "atlas_invites.app" not in sys.modules
