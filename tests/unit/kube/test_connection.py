"""How the cluster is reached."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from kubernetes.aio.config import kube_config

from atlas_invites.kube.connection import connect, proxy_for

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "https://cluster.example.com:6443"


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


def test_the_proxy_of_the_environment_is_used_unless_the_host_is_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY is for https alone, and NO_PROXY names the hosts that are reached without it."""
    assert proxy_for(SERVER) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    assert proxy_for(SERVER) == "http://proxy.example.com:3128"
    assert proxy_for("http://cluster.example.com") is None
    monkeypatch.setenv("NO_PROXY", "localhost,.example.com")
    assert proxy_for(SERVER) is None


async def test_the_proxy_is_looked_up_once_and_not_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session trusts no environment: aiohttp would ask it, and a netrc file, in a thread for each call."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    client = await connect()
    try:
        assert client.rest_client.proxy == "http://proxy.example.com:3128"
        session = client.rest_client._create_pool_manager()  # noqa: SLF001 - it is made at the first call
        async with session:
            assert not session.trust_env
    finally:
        await client.close()  # type: ignore[no-untyped-call]
