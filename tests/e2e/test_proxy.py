"""The operator in a company's network: Atlas is behind a proxy that requires a password and intercepts TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.kstatus import condition
from tests.forward_proxy import ForwardProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import StartOperator
    from tests.e2e.world import World

ATLAS = ("--atlas-url", "https://atlas.example.com")
"""A host that only the proxy reaches."""
LEGACY = Path(__file__).parent.parent / "unit" / "atlas" / "legacy.pem"
PASSWORD, ENCODED = "canary-4d7c/@:%", "canary-4d7c%2F%40%3A%25"


@pytest.fixture
def proxy(own: World) -> Iterator[ForwardProxy]:
    """The proxy, with a certificate of a CA without key identifiers."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(LEGACY)
    with ForwardProxy(own.sandbox.url, f"user:{PASSWORD}", tls) as proxy:
        yield proxy


def variables(proxy: ForwardProxy) -> dict[str, str]:
    return {
        "HTTPS_PROXY": f"http://user:{ENCODED}@{proxy.address}",
        "NO_PROXY": "fd00:10:96::/112,[::1],[fd00::]/8,127.0.0.0/8,.svc,[::1",
    }


def test_atlas_behind_a_proxy(own: World, start_operator: StartOperator, proxy: ForwardProxy) -> None:
    """Atlas is reached through it, the API server directly by ``NO_PROXY``, and no line has the password."""
    environment = variables(proxy) | {"SSL_CERT_FILE": str(LEGACY.with_name("legacy_ca.pem"))}
    operator = start_operator(*ATLAS, variables=environment)
    own.adopt()
    assert set(proxy.asked) == {"CONNECT atlas.example.com:443 HTTP/1.1"}
    assert operator.log.count("NO_PROXY: ignoring the entry '[::1'") == 1
    assert "canary-4d7c" not in operator.log


def test_a_ca_that_is_not_trusted(own: World, start_operator: StartOperator, proxy: ForwardProxy) -> None:
    """Status and log give OpenSSL's reason, once."""
    operator = start_operator(*ATLAS, variables=variables(proxy))
    own.create("jane", own.invite()["id"])
    item = own.until("jane", "AtlasUnavailable")
    ready = condition(item, "Ready")
    assert ready is not None
    assert "no connection: unable to get local issuer certificate" in ready["message"]
    assert operator.log.count("no TLS connection to Atlas, or to the proxy: unable to get local issuer") == 1
    assert "canary-4d7c" not in operator.log
