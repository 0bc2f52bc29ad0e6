"""How the cluster is reached."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from kubernetes.aio.config import incluster_config, kube_config

from atlas_invites.app import _login
from atlas_invites.kube.connection import connect, load_configuration

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "https://cluster.example.com:6443"
PROXY = "http://proxy.example.com:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    config = {
        "clusters": [{"name": "it", "cluster": {"server": SERVER}}],
        "users": [{"name": "it", "user": {"token": "token"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))  # it is read at import


async def test_the_proxy_is_looked_up_once_and_not_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session trusts no environment: aiohttp would ask it, and a netrc file, in a thread for each call."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    client = await connect()
    try:
        assert client.rest_client.proxy == PROXY
        session = client.rest_client._create_pool_manager()  # noqa: SLF001 - it is made at the first call
        async with session:
            assert not session.trust_env
    finally:
        await client.close()  # type: ignore[no-untyped-call]


async def test_calls_that_hang_leave_a_connection_for_the_lease() -> None:
    """However many workers there are, none of their calls keeps a renewal of the Lease waiting."""
    client = await connect()
    try:
        async with client.rest_client._create_pool_manager() as session:  # noqa: SLF001 - as above
            assert session.connector is not None
            assert session.connector.limit == 0  # aiohttp: no limit
    finally:
        await client.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a process finds in a pod."""
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("something")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")


async def test_kopf_goes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch uses the proxy that the lists use: a list that works beside a watch that does not would be no help."""
    assert (await _login()).proxy_url is None
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert (await _login()).proxy_url == PROXY == (await load_configuration()).proxy


async def test_the_proxy_of_a_kubeconfig_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kubeconfig may name its own proxy."""
    own = "http://own.example.com:8080"
    config = json.loads((tmp_path / "config").read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = own
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert (await _login()).proxy_url == own == (await load_configuration()).proxy


@pytest.mark.usefixtures("pod")
async def test_a_pod_reaches_its_own_api_server_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy the environment names, and whatever exceptions."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    login = await _login()
    assert (login.server, login.proxy_url) == ("https://10.96.0.1:443", None)
    assert (await load_configuration()).proxy is None
