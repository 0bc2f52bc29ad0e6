"""The environment: which proxy is used for which URL, and which certificates are accepted."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

import pytest

from atlas_invites.environment import (
    StartupError,
    accept_legacy_certificates,
    check_certificates,
    openssl_reason,
    proxy_for,
)

if TYPE_CHECKING:
    from pathlib import Path

PROXY = "http://proxy.example.com:3128"
ATLAS = "https://cloud.mongodb.com"
CANARY = "canary-5e1a"
NO_CERTIFICATE = "the file contains no certificate in PEM format"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variables", "secure", "plain"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": PROXY}, PROXY, None),
        ({"HTTP_PROXY": PROXY}, None, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY, PROXY),
        ({"ALL_PROXY": "http://all", "HTTPS_PROXY": PROXY}, PROXY, "http://all"),
        ({"all_proxy": "http://all", "https_proxy": PROXY}, PROXY, "http://all"),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://upper"}, PROXY, None),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, None, None),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": PROXY}, PROXY, PROXY),
    ],
)
def test_the_scheme_of_the_url_selects_the_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], secure: str | None, plain: str | None
) -> None:
    """The scheme's own variable has priority over ALL_PROXY, and lower case over upper case, as in httpx and curl."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (proxy_for(ATLAS), proxy_for("http://cloud.mongodb.com")) == (secure, plain)


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("proxy.example.com:3128", PROXY),
        ("proxy", "http://proxy"),
        ("HTTP://Proxy.example.com:3128/", PROXY),
        ("https://proxy.example.com", "https://proxy.example.com"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("http://user@proxy:3128", "http://user@proxy:3128"),
        ("user:word@proxy:3128", "http://user:word@proxy:3128"),
        ("http://user:a%2Fb%40c%25@proxy:3128", "http://user:a%2Fb%40c%25@proxy:3128"),
        ("http://user:a@b:c%zz@proxy:3128", "http://user:a%40b%3Ac%25zz@proxy:3128"),
    ],
)
def test_a_proxy_has_one_form(monkeypatch: pytest.MonkeyPatch, value: str, proxy: str) -> None:
    """All clients understand the result, with or without a scheme in the variable, and with any password."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert proxy_for(ATLAS) == proxy


@pytest.mark.parametrize(
    "value",
    [
        f"ftp://user:{CANARY}@proxy:21",
        f"socks5://user:{CANARY}@proxy:1080",
        f"socks5h://{CANARY}:1080",
        f"http://user:{CANARY}@[::1",
        f"http://user:{CANARY}@proxy:port",
        f"http://user:{CANARY}@proxy:65536",
        f"http://user:{CANARY}@proxy:0",
        f"http://user:{CANARY}/b@proxy:3128",
        f"http://user:1/{CANARY}@proxy:3128",
        f"http://user:1#{CANARY}@proxy:3128",
        f"http://user:1?{CANARY}@proxy:3128",
        f"http://user:{CANARY}\u2100@proxy:3128",
        f"http://user:{CANARY}@",
        f"http://two words/{CANARY}",
        f"http://pr\u00f6xy/?{CANARY}",
        "http://",
        "//",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The operator does not start, and no part of a value that may contain a password is shown."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartupError) as refused:
        proxy_for(ATLAS)
    assert str(refused.value).startswith(f"{variable}: must be the http:// or https:// URL of a proxy, or host:port")
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_proxy_that_is_not_needed_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable for other programs, or for hosts that are exceptions, does not prevent the start."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert proxy_for(ATLAS) == PROXY
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("NO_PROXY", "mongodb.com")
    assert proxy_for(ATLAS) is None


@pytest.mark.parametrize("url", ["https://[::1", "https://host:port", "cluster"])
def test_a_url_without_a_host_has_no_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A kubeconfig may contain such a server; the client that connects to it reports the error."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
    assert proxy_for(url) is None


EXCEPTIONS: list[tuple[str, str, bool]] = [
    ("*", ATLAS, True),
    ("a, * ,b", ATLAS, True),
    ("*", "https://10.0.0.1", True),
    ("cloud.mongodb.com", ATLAS, True),
    ("CLOUD.MongoDB.com.", ATLAS, True),
    ("cloud.mongodb.com", f"{ATLAS}.:443", True),
    ("mongodb.com", ATLAS, True),
    (".mongodb.com", ATLAS, True),
    ("*.mongodb.com", ATLAS, True),
    (".cloud.mongodb.com", ATLAS, False),
    ("loud.mongodb.com", ATLAS, False),
    ("mongodb.com.evil", ATLAS, False),
    ("cloudxmongodb.com", ATLAS, False),
    ("svc,cluster.local", "https://kubernetes.default.svc", True),
    ("localhost 127.0.0.1", "https://127.0.0.1:6443", True),
    ("localhost", "https://localhost:6443", True),
    ("cloud.mongodb.com:443", ATLAS, True),
    ("cloud.mongodb.com:8443", ATLAS, False),
    ("mongodb.com:8443", f"{ATLAS}:8443", True),
    ("10.96.0.1", "https://10.96.0.1:443", True),
    ("10.96.0.1:443", "https://10.96.0.1", True),
    ("10.96.0.1:6443", "https://10.96.0.1", False),
    ("10.96.0.0/12", "https://10.96.0.1:443", True),
    ("10.96.0.1/12", "https://10.100.0.1", True),
    ("10.96.0.0/12", "https://10.1.0.1", False),
    ("10.96.0.0/12", ATLAS, False),
    ("10.96.0.0/12", "https://[fd00::1]", False),
    ("[::1]", "https://[::1]:6443", True),
    ("::1", "https://[::1]:6443", True),
    ("[::1]:6443", "https://[::1]:6443", True),
    ("[::1]:443", "https://[::1]:6443", False),
    ("fd00:10:96::/112", "https://[fd00:10:96::1]", True),
    ("fd00:10:96::/112", "https://[fd00:10:97::1]", False),
    ("[fd00::]/8", "https://[fd00:10:96::1]", True),
    ("[fd00::/8]", "https://[fd00:10:96::1]", True),
    ("FD00::/8", "https://[fd00::1]", True),
]


@pytest.mark.parametrize(("exceptions", "url", "direct"), EXCEPTIONS)
def test_exceptions(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, exceptions: str, url: str, *, direct: bool
) -> None:
    """NO_PROXY takes names, domains, addresses and ranges of either family, each with an optional port."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(url) == (None if direct else PROXY)
    assert not caplog.records


@pytest.mark.parametrize(
    "unknown",
    ["[::1", "fd00::/129", "10.0.0.0/33", "[fd00::]/x", "10.", "192.168.*", "https://x", "a..b", "a/b", "::::", ":80"],
)
def test_an_unknown_exception_is_ignored_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unknown: str
) -> None:
    """Other programs may understand it: the other entries count, and the warning is not repeated."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("no_proxy", f"{unknown},mongodb.com")
    assert [proxy_for(ATLAS), proxy_for("https://10.0.0.1"), proxy_for(ATLAS)] == [None, PROXY, None]
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.WARNING
    assert message.startswith(f"no_proxy: ignoring the entry '{unknown}'")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "the file cannot be read: No such file or directory"),
        ("", NO_CERTIFICATE),
        ("no PEM\n", NO_CERTIFICATE),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NO_CERTIFICATE),
    ],
)
def test_a_file_without_a_certificate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, why: str
) -> None:
    """SSL_CERT_FILE must name a usable file; the error is not a traceback."""
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    check_certificates()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(StartupError) as refused:
        check_certificates()
    assert str(refused.value) == f"SSL_CERT_FILE: {why}"


def test_certificates_are_verified_but_not_strictly() -> None:
    """The flag that Python 3.13 sets is cleared; names and issuers are verified."""
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert accept_legacy_certificates(context) is context
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_reason_is_openssls() -> None:
    """It is found behind the errors of a client, which have the same types; an error without TLS has none."""
    error = ssl.SSLCertVerificationError()
    error.verify_message = "Missing Authority Key Identifier"
    outer = ssl.SSLCertVerificationError("of the client")
    outer.__cause__ = error
    assert openssl_reason(outer) == "Missing Authority Key Identifier"
    assert openssl_reason(OSError("cannot connect")) is None
