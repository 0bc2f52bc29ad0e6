"""``atlas-invites export`` as a process: its output, and its connection to Atlas through a proxy."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from atlas_sandbox.sandbox import PROJECT_ID
from tests.contract.conftest import CANARY, KEY
from tests.forward_proxy import ForwardProxy

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator

    from tests.contract.conftest import Bench

ATLAS = "https://atlas.example.com"
"""A host that only the proxy reaches."""
LEGACY = Path(__file__).parent.parent / "unit" / "atlas" / "legacy.pem"
LEGACY_CA = LEGACY.with_name("legacy_ca.pem")
PASSWORD, ENCODED = f"{CANARY}/@:%", f"{CANARY}%2F%40%3A%25"
NAME = "jané@example.com"


class Done(NamedTuple):
    """How the command ended."""

    code: int | None
    out: bytes
    err: str


@asynccontextmanager
async def started(
    command: tuple[str, ...], variables: dict[str, str], *, redirect: str = "", out: int = asyncio.subprocess.PIPE
) -> AsyncIterator[Process]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_INVITES_", "MONGODB_", "KUBE", "PYTHONU"))}
    credentials = {"MONGODB_ATLAS_PUBLIC_API_KEY": KEY.public_key, "MONGODB_ATLAS_PRIVATE_API_KEY": KEY.private_key}
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        f'exec "$0" -m atlas_invites "$@" {redirect}',
        sys.executable,
        *command,
        env=clean | credentials | variables,
        stdout=out,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def done(
    *command: str, variables: dict[str, str] | None = None, redirect: str = "", out: int = asyncio.subprocess.PIPE
) -> Done:
    """Run a command to its end, and check that its output contains no password and no traceback."""
    async with started(command, variables or {}, redirect=redirect, out=out) as process:
        said, complained = await process.communicate()
    err = complained.decode()
    assert CANARY not in err + (said or b"").decode()
    assert "Traceback" not in err
    return Done(process.returncode, said, err)


def export(url: str) -> tuple[str, ...]:
    return ("export", "--group-id", PROJECT_ID, "--atlas-url", url)


@pytest.fixture
def invited(bench: Bench) -> Bench:
    """A project with a pending invitation whose e-mail is not ASCII."""
    state = bench.sandbox.state
    state.invite(state.project(PROJECT_ID), NAME, ("GROUP_OWNER",), "inviter")
    return bench


# The output.


@pytest.mark.parametrize(
    ("redirect", "why"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")], ids=["full", "closed"]
)
@pytest.mark.parametrize("command", ["export", "help"])
async def test_an_output_that_cannot_be_written(invited: Bench, command: str, redirect: str, why: str) -> None:
    """A full disk or a closed output is one line and exit code 1."""
    code, _, err = await done(*(export(invited.url) if command == "export" else ("--help",)), redirect=redirect)
    assert (code, err) == (1, f"atlas-invites: cannot write to standard output: {why}\n")


async def test_a_reader_that_stops_reading(invited: Bench) -> None:
    """Into ``head`` the command ends without a message, as if by the signal SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, _, err = await done(*export(invited.url), out=writer)
    finally:
        os.close(writer)
    assert (code, err) == (141, "")


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
async def test_errors_that_cannot_be_written(redirect: str) -> None:
    """They do not change the exit code, and do not go to standard output instead."""
    assert (await done("export", redirect=redirect))[:2] == (2, b"")


@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}]
)
async def test_the_output_is_utf_8(invited: Bench, variables: dict[str, str]) -> None:
    """Kubernetes reads UTF-8, so the locale does not matter."""
    code, out, err = await done(*export(invited.url), variables=variables)
    assert (code, err) == (0, "")
    assert f'  username: "{NAME}"\n'.encode() in out


async def test_ctrl_c_ends_it_without_a_traceback() -> None:
    """While Atlas does not respond, the command ends like one without a handler."""
    arrived, end = asyncio.Event(), asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await end.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with started(export(f"http://{host}:{port}"), {}) as process:
        await arrived.wait()
        process.send_signal(2)
        out, err = await process.communicate()
    end.set()
    server.close()
    assert (process.returncode, out, err) == (130, b"", b"")


# The network.


@pytest.fixture
def proxy(invited: Bench) -> Iterator[ForwardProxy]:
    """A proxy that requires credentials and intercepts TLS, with a certificate of an old CA."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(LEGACY)
    with ForwardProxy(invited.url, f"user:{PASSWORD}", tls) as proxy:
        yield proxy


EXCEPTIONS = "fd00:10:96::/112,[::1],[fd00::]/8,10.96.0.0/12,.svc,127.0.0.1:1"


@pytest.mark.parametrize(("variable", "scheme"), [("HTTPS_PROXY", "http://"), ("all_proxy", "")])
async def test_through_a_proxy(proxy: ForwardProxy, variable: str, scheme: str) -> None:
    """With credentials, any characters in the password, and any NO_PROXY; its CA comes from SSL_CERT_FILE."""
    code, out, err = await done(
        *export(ATLAS),
        variables={
            variable: f"{scheme}user:{ENCODED}@{proxy.address}",
            "NO_PROXY": EXCEPTIONS,
            "SSL_CERT_FILE": str(LEGACY_CA),
        },
    )
    assert (code, err) == (0, "")
    assert out.count(b"---") == 1
    assert set(proxy.asked) == {"CONNECT atlas.example.com:443 HTTP/1.1"}


async def test_an_unknown_exception(proxy: ForwardProxy) -> None:
    """It is one line on standard error; the other exceptions count."""
    url = f"http://user:{ENCODED}@{proxy.address}"
    code, _, err = await done(
        *export(ATLAS),
        variables={"HTTPS_PROXY": url, "NO_PROXY": f"[::1,{EXCEPTIONS}", "SSL_CERT_FILE": str(LEGACY_CA)},
    )
    assert code == 0
    assert err == "NO_PROXY: ignoring the entry '[::1': it is not a name, domain, address or range\n"


@pytest.mark.parametrize("credentials", ["", f"user:{CANARY}@"])
async def test_a_proxy_that_rejects_the_credentials(proxy: ForwardProxy, credentials: str) -> None:
    """The message says that the proxy rejected them, not Atlas."""
    code, _, err = await done(*export(ATLAS), variables={"HTTPS_PROXY": f"http://{credentials}{proxy.address}"})
    assert code == 1
    assert err.startswith("atlas-invites: Atlas is unavailable (ListInvites: no connection: the proxy responded with")
    assert err.count("\n") == 1
    assert (proxy.asked, proxy.refused > 0) == ([], True)


async def test_a_ca_that_is_not_trusted(proxy: ForwardProxy) -> None:
    """The message has OpenSSL's reason."""
    code, _, err = await done(*export(ATLAS), variables={"HTTPS_PROXY": f"http://user:{ENCODED}@{proxy.address}"})
    assert code == 1
    assert "(ListInvites: no connection: unable to get local issuer certificate)" in err


@pytest.mark.parametrize("command", ["export", "run"])
@pytest.mark.parametrize(
    "value",
    [
        f"socks5://{ENCODED}@127.0.0.1:1080",
        f"http://user:{PASSWORD}@127.0.0.1:3128",
        f"http://user:{ENCODED}@[::1",
    ],
)
async def test_a_proxy_that_cannot_be_used(tmp_path: Path, command: str, value: str) -> None:
    """Both commands end with exit code 2 and one line that names the variable and shows nothing of its value."""
    config = {
        "clusters": [{"name": "it", "cluster": {"server": "https://cluster.example.com"}}],
        "users": [{"name": "it", "user": {"token": CANARY}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(config))
    arguments = export(ATLAS) if command == "export" else ("run", "--listen", "off")
    code, out, err = await done(*arguments, variables={"HTTPS_PROXY": value, "KUBECONFIG": str(kubeconfig)})
    assert (code, out) == (2, b"")
    assert err.startswith("atlas-invites: HTTPS_PROXY: must be the http:// or https:// URL of a proxy, or host:port")
    assert err.count("\n") == 1
