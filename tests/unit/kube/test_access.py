"""How the operator reaches the cluster, and as which user: the same as kubectl with the same files."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import incluster_config, kube_config

from atlas_invites.environment import StartupError
from atlas_invites.kube.access import RELOAD, Access, Kubeconfig, find_cluster

SERVER = "https://cluster.example.com:6443"
PROXY = "http://proxy.example.com:3128"
CERTIFICATES = Path(__file__).parents[2] / "certificates"
PAIR = CERTIFICATES / "first.pem"
CANARY = "canary-71c4"

Object = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a kubeconfig with these fields of its cluster and user."""

    def write(cluster: Object | None = None, user: Object | None = None, name: str = "config") -> Path:
        config = {
            "clusters": [{"name": name, "cluster": {"server": SERVER, **(cluster or {})}}],
            "users": [{"name": name, "user": user or {"token": "token"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        (tmp_path / name).write_text(json.dumps(config))
        return tmp_path / name

    return write


async def load() -> Access:
    return await find_cluster()(None)


# Proxies.


async def test_the_proxy_of_the_environment_is_used_unless_no_proxy_names_the_host(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """HTTPS_PROXY is used outside of a pod, and NO_PROXY names the hosts that are reached without it."""
    write()
    assert (await load()).proxy is None
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert (await load()).proxy == PROXY
    monkeypatch.setenv("NO_PROXY", "localhost,.example.com")
    assert (await load()).proxy is None


async def test_the_proxy_of_a_kubeconfig_goes_first(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """A kubeconfig may name its own proxy."""
    own = "http://own.example.com:8080"
    write({"proxy-url": own})
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert (await load()).proxy == own


# The pod.


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Create what a process finds in a pod: the folder of its ServiceAccount."""
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text((CERTIFICATES / "first-authority.pem").read_text())
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


@pytest.mark.usefixtures("pod")
async def test_a_pod_reaches_its_own_api_server_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no proxy between a pod and its API server, whatever NO_PROXY says."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    access = await load()
    assert (access.server, access.proxy) == ("https://10.96.0.1:443", None)


async def test_a_pod_reads_its_token_and_ca_again(pod: Path) -> None:
    """The kubelet replaces both while the pod runs; the TLS context is kept unless the CA changes."""
    load = find_cluster()
    first = await load(None)
    assert first.headers == (("Authorization", "bearer first"),)
    assert first.lasts == RELOAD
    assert await load(first) == first
    (pod / "token").write_text("second")
    second = await load(first)
    assert second.headers == (("Authorization", "bearer second"),)
    assert second.tls is first.tls
    (pod / "ca.crt").write_text((CERTIFICATES / "second-authority.pem").read_text())
    third = await load(second)
    (trusted,) = third.tls.get_ca_certs()
    assert "second-authority" in str(trusted["subject"])
    (pod / "token").write_text("")
    with pytest.raises(StartupError, match=r"the ServiceAccount of the pod cannot be used: .*empty"):
        await load(third)


async def test_a_ca_file_of_the_pod_that_is_not_text(pod: Path) -> None:
    """The error is one line, not a traceback."""
    (pod / "ca.crt").write_bytes("# Zürich".encode("latin-1"))
    with pytest.raises(StartupError, match=r"the ServiceAccount of the pod cannot be used: .*utf-8"):
        await load()


# Credentials of a kubeconfig.


async def test_no_configuration() -> None:
    """Without a pod and a kubeconfig, the message says where the operator looked for one."""
    with pytest.raises(StartupError, match=r"KUBECONFIG or ~/\.kube/config"):
        find_cluster()


async def test_a_token_file_is_read_again(write: Write, tmp_path: Path) -> None:
    """It goes before a token, and surrounding white space does not count, as with kubectl."""
    file = tmp_path / "token"
    file.write_text("first\n")
    write(user={"tokenFile": "token", "token": CANARY})
    load = find_cluster()
    access = await load(None)
    assert access.headers == (("Authorization", "Bearer first"),)
    file.write_text("second\n")
    assert (await load(access)).headers == (("Authorization", "Bearer second"),)


async def test_impersonation(write: Write) -> None:
    """All impersonation fields become the headers of the Kubernetes documentation."""
    extra = {"example.com/Scopes": ["view", "development"]}
    write(user={"token": "t", "as": "jane", "as-uid": "1", "as-groups": ["a", "b"], "as-user-extra": extra})
    assert (await load()).headers == (
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "1"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.com%2Fscopes", "view"),
        ("Impersonate-Extra-example.com%2Fscopes", "development"),
    )


async def test_private_keys_do_not_stay_in_files(write: Write) -> None:
    """The client library writes keys of a kubeconfig to temporary files, which are removed once they are loaded."""
    data = base64.b64encode(PAIR.read_bytes()).decode()
    write(user={"client-certificate-data": data, "client-key-data": data})
    access = await load()
    assert access.files[1] == access.files[2] == PAIR.read_bytes()
    assert kube_config._temp_files == {}  # noqa: SLF001 - it is shown nowhere else


async def test_the_current_context_is_read_once_from_the_first_file(write: Write) -> None:
    """`kubectl config use-context` does not move a running operator to another cluster."""
    first, second = write(name="first"), write({"server": "https://other.example.com"}, name="second")
    cluster = Kubeconfig(f"{first}:{second}")
    access = await cluster.load(None)
    assert access.server == SERVER
    config = json.loads(first.read_text())
    first.write_text(json.dumps(config | {"current-context": "second"}))
    assert await cluster.load(access) == access
    write({"server": "https://other.example.com"}, name="first")
    with pytest.raises(StartupError, match="another API server"):
        await cluster.load(access)


async def test_relative_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    """The CA is relative to the cluster's file, and a certificate or a token to the user's."""
    for folder in ("cluster", "user"):
        (tmp_path / folder).mkdir()
    authority = CERTIFICATES / "first-authority.pem"
    shutil.copy(authority, tmp_path / "cluster" / "ca.pem")
    shutil.copy(PAIR, tmp_path / "user" / "pair.pem")
    (tmp_path / "user" / "token").write_text("t")
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    cluster = {"name": "c", "cluster": {"server": SERVER, "certificate-authority": "ca.pem"}}
    first, second = tmp_path / "cluster" / "config", tmp_path / "user" / "config"
    first.write_text(json.dumps({"current-context": "c", "contexts": [context], "clusters": [cluster]}))
    files = {"client-certificate": "pair.pem", "client-key": "pair.pem", "tokenFile": "token"}
    about = "import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO']);"
    script = f"{about} print(json.dumps({{**info, 'status': {{'token': 't'}}}}))"
    for user in (files, files | plugin(script, provideClusterInfo=True)):
        second.write_text(json.dumps({"users": [{"name": "u", "user": user}]}))
        access = await Kubeconfig(f"{first}:{second}").load(None)
        assert access.headers == (("Authorization", "Bearer t"),)
        assert access.files[:3] == (authority.read_bytes(), PAIR.read_bytes(), PAIR.read_bytes())


# Certificates.


async def test_certificates_without_key_identifiers_are_trusted(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """Contexts do not verify strictly, which Python does by default since 3.13, but they do verify."""
    make = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:  # noqa: ANN401
        context = make(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    write({"certificate-authority": str(CERTIFICATES / "first-authority.pem")})
    tls = (await load()).tls
    assert not tls.verify_flags & ssl.VERIFY_X509_STRICT
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_ssl_cert_file_is_read_again(monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path) -> None:
    """A cluster without its own CA is verified with this file, which may be replaced."""
    file = tmp_path / "authorities.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    shutil.copy(CERTIFICATES / "first-authority.pem", file)
    write()
    load = find_cluster()
    first = await load(None)
    assert (await load(first)).tls is first.tls
    shutil.copy(CERTIFICATES / "second-authority.pem", file)
    (trusted,) = (await load(first)).tls.get_ca_certs()
    assert "second-authority" in str(trusted["subject"])


async def test_tls_server_name(write: Write) -> None:
    """It is used, and so is the setting not to verify."""
    write({"tls-server-name": "kubernetes.default"})
    assert (await load()).server_name == "kubernetes.default"
    write({"insecure-skip-tls-verify": True})
    assert (await load()).tls.verify_mode == ssl.CERT_NONE


# Credential plugins.


def plugin(script: str, **more: object) -> Object:
    """Return a user whose credentials come from a Python script."""
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": sys.executable, "args": ["-c", script], **more}}


def gives(**status: str) -> str:
    """Return a script that prints this status."""
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(credential)!r})"


async def test_a_plugin_gets_the_cluster_information(write: Write) -> None:
    """It has its own variables, and gets the kubeconfig's cluster entry if it asks for it."""
    script = (
        "import base64, json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO']);"
        "token = base64.b64encode(json.dumps([os.environ['OWN'], info['spec']]).encode()).decode();"
        "print(json.dumps({**info, 'status': {'token': token}}))"
    )
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "it"}}
    authority = CERTIFICATES / "first-authority.pem"
    write(
        {"certificate-authority": str(authority), "extensions": [extension]},
        plugin(script, provideClusterInfo=True, env=[{"name": "OWN", "value": "yes"}]),
    )
    ((_, authorization),) = (await load()).headers
    own, spec = json.loads(base64.b64decode(authorization.removeprefix("Bearer ")))
    assert own == "yes"
    assert spec["interactive"] is False
    assert spec["cluster"] == {
        "server": SERVER,
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
        "config": {"audience": "it"},
    }


async def test_a_plugin_runs_again_before_its_credentials_expire(write: Write) -> None:
    """After four fifths of the lifetime; without an end, only after a rejection; after the end, at once."""
    write(user=plugin(gives(token="t")))
    assert (await load()).lasts == float("inf")
    write(user=plugin(gives(token="t", expirationTimestamp="2999-01-01T00:00:00Z")))
    assert 20e9 < (await load()).lasts < 30e9
    write(user=plugin(gives(token="t", expirationTimestamp="2020-01-01T00:00:00Z")))
    assert (await load()).lasts == 0


async def test_a_plugin_gives_a_certificate(write: Write) -> None:
    """A certificate and its key are used like those of a kubeconfig, with or without a token."""
    certificate = {"clientCertificateData": PAIR.read_text(), "clientKeyData": PAIR.read_text()}
    write(user=plugin(gives(**certificate)))
    access = await load()
    assert access.headers == ()
    assert access.files[1] == access.files[2] == PAIR.read_bytes()


async def test_a_plugin_with_a_relative_path(write: Write, tmp_path: Path) -> None:
    """A command with a folder is resolved from the kubeconfig's folder."""
    program = tmp_path / "plugin"
    program.write_text(f"#!{sys.executable}\n{gives(token='beside')}\n")
    program.chmod(0o700)
    write(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}})
    assert (await load()).headers == (("Authorization", "Bearer beside"),)


# Invalid configurations.

NO_USER = "import sys; sys.exit('please\\nlog in first')"
OIDC = {"auth-provider": {"name": "oidc", "config": {"idp-issuer-url": SERVER, "refresh-token": CANARY}}}


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"proxy-url": f"socks5://user:{CANARY}@proxy.example.com"}, {}, "proxy-url: must be the http:// or https://"),
        ({"certificate-authority": "missing.pem"}, {}, "missing.pem"),
        ({"certificate-authority-data": "bm9uZQ=="}, {}, "its certificates or keys: "),
        ({}, {"client-certificate": str(CERTIFICATES / "first-authority.pem")}, "its certificates or keys: "),
        ({}, {"tokenFile": "missing-token"}, "missing-token"),
        ({}, {"auth-provider": {"name": "azure"}}, "auth-provider azure is not supported; use exec"),
        ({}, OIDC, "auth-provider oidc is not supported; use exec"),
        ({}, plugin("", interactiveMode="Always"), "exec: interactiveMode Always needs a terminal"),
        ({}, plugin(NO_USER), "failed with exit code 1: please log in first"),
        ({}, plugin("print('{')"), "returned neither a token nor a certificate"),
        ({}, plugin(gives(other=CANARY)), "returned neither a token nor a certificate"),
        ({}, plugin(gives(token="")), "returned neither a token nor a certificate"),
        ({}, plugin(gives(clientCertificateData="", clientKeyData="")), "returned neither a token nor a certificate"),
        ({}, plugin(gives(token="t"), apiVersion="client.authentication.k8s.io/v9"), "/v1, not client"),
        ({}, {"exec": {"apiVersion": "v1", "command": "no-such-plugin"}}, "exec: no-such-plugin: No such file"),
    ],
)
async def test_invalid_configurations(write: Write, cluster: Object, user: Object, said: str) -> None:
    """One line says what is wrong and why, and shows no secret."""
    write(cluster, user)
    with pytest.raises(StartupError) as error:
        await load()
    assert said in str(error.value)
    assert str(error.value).startswith("the kubeconfig (KUBECONFIG or ~/.kube/config) cannot be used: ")
    assert CANARY not in str(error.value)
    assert "\n" not in str(error.value)


async def test_an_invalid_entry(write: Write) -> None:
    """The client library's message contains the whole entry, with its secrets: the operator shows only the type."""
    file = write()
    config = json.loads(file.read_text()) | {"users": [{"name": "config", "token": CANARY}]}
    file.write_text(json.dumps(config))
    with pytest.raises(StartupError, match=r"cannot be used: it is not a valid kubeconfig \(ConfigException\)$"):
        await load()


def has_ended(reader: int) -> bool:
    """Return whether every process that had opened a FIFO for writing has ended."""
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


@pytest.mark.parametrize("script", ["sleep 1000; :", "sleep 1000 &"])
async def test_a_plugin_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path, script: str
) -> None:
    """The operator kills the plugin and its children, and treats the plugin as failed."""
    monkeypatch.setattr("atlas_invites.kube.plugin.PLUGIN_TIMEOUT", 0.5)
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    version = "client.authentication.k8s.io/v1"
    write(user={"exec": {"apiVersion": version, "command": "sh", "args": ["-c", f"exec 9>{alive}; {script}"]}})
    async with asyncio.timeout(30):
        with pytest.raises(StartupError, match="did not end within"):
            await load()
        while not has_ended(reader):  # noqa: ASYNC110 - a process of another process has no event
            await asyncio.sleep(0.01)
    os.close(reader)
