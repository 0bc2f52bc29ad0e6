"""The settings: defaults, bounds, durations, and that plain http goes only to loopback."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from atlas_invites.settings import Settings, in_pod

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_invites.invitation.resource import Key


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("atlas_invites.settings._NAMESPACE_FILE", tmp_path / "absent")
    for name in list(os.environ):
        if name.startswith("ATLAS_INVITES_") or name == "KUBERNETES_SERVICE_HOST":
            monkeypatch.delenv(name)


def settings(**given: Any) -> Settings:  # noqa: ANN401 - whatever a user gives
    return Settings(**given)


def problem(**given: Any) -> str:  # noqa: ANN401 - whatever a user gives
    with pytest.raises(ValidationError) as caught:
        settings(**given)
    (error,) = caught.value.errors()
    return str(error["msg"])


def test_defaults() -> None:
    """The defaults are those in docs/configuration.md."""
    plain = settings()
    assert plain.atlas_url == "https://cloud.mongodb.com"
    assert plain.namespaces == ()
    assert plain.default_secret is None
    assert plain.resync_interval == 600
    assert plain.deletion_grace == 5
    assert plain.workers == 50
    assert plain.atlas_api == "auto"
    assert plain.atlas_envelope is False
    assert plain.listen == "0.0.0.0:8080"
    assert (plain.log_format, plain.log_level) == ("text", "info")
    assert (plain.leader_election, plain.lease_namespace) == (False, "default")


def test_in_a_pod_logs_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets a variable in every container: there logs are JSON, unless configured otherwise."""
    assert not in_pod()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert in_pod()
    assert settings().log_format == "json"
    assert settings(log_format="text").log_format == "text"


def test_in_a_pod_leader_election_is_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a pod the Lease is in the pod's namespace, unless configured otherwise."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    (tmp_path / "namespace").write_text("operators\n")
    monkeypatch.setattr("atlas_invites.settings._NAMESPACE_FILE", tmp_path / "namespace")
    assert (settings().leader_election, settings().lease_namespace) == (True, "operators")
    asked = settings(leader_election=False, lease_namespace="other")
    assert (asked.leader_election, asked.lease_namespace) == (False, "other")


@pytest.mark.parametrize("given", ["", "Team", "a/b", "-a", "a" * 64])
def test_a_lease_has_a_namespace(given: str) -> None:
    """An invalid namespace is rejected."""
    assert problem(lease_namespace=given) == "Value error, must be the name of a namespace"


def test_settings_do_not_change() -> None:
    """Settings cannot be changed while the operator runs."""
    with pytest.raises(ValidationError):
        settings().workers = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("1.5m", 90), ("0.5h", 1800), ("1", 1), (30, 30), (2.5, 2.5)],
)
def test_durations(given: Any, seconds: float) -> None:  # noqa: ANN401 - text or number
    """Seconds, or a number with s, m or h."""
    assert settings(resync_interval=given).resync_interval == seconds


@pytest.mark.parametrize("given", ["", "m", "10 m", "10d", "-1", "1e3", "ten", "inf", "nan", "1h30m", "10M"])
def test_invalid_durations(given: str) -> None:
    """Anything else is rejected with the rule."""
    assert problem(resync_interval=given) == (
        "Value error, must be seconds, or a number with s, m or h, for example 10m"
    )


@pytest.mark.parametrize("given", ["0", "0.5", "0h"])
def test_a_resync_interval_is_a_second_at_least(given: str) -> None:
    """An interval of zero would resync without a pause."""
    assert problem(resync_interval=given) == "Input should be greater than or equal to 1"


@pytest.mark.parametrize("given", ["0", "0s", 0])
def test_a_deletion_need_not_wait(given: Any) -> None:  # noqa: ANN401 - text or number
    """Without a grace period a deletion cancels at once."""
    assert settings(deletion_grace=given).deletion_grace == 0


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("", ()),
        ("team-a", ("team-a",)),
        ("team-a,team-b", ("team-a", "team-b")),
        (" team-a , team-b ,", ("team-a", "team-b")),
        (["team-a", "team-b"], ("team-a", "team-b")),
        (["team-a,team-b", "team-c"], ("team-a", "team-b", "team-c")),
        ([""], ()),
        (["team-a,team-b", "team-a"], ("team-a", "team-b")),
    ],
)
def test_namespaces(given: Any, names: tuple[str, ...]) -> None:  # noqa: ANN401 - text or list
    """Comma-separated, repeated, or both; an empty value is no namespace."""
    assert settings(namespaces=given).namespaces == names


@pytest.mark.parametrize("given", ["team-*", "!team-a", "a/b", "Team A", "team-a,team_b", "-a", "a" * 64])
def test_a_namespace_is_a_name(given: str) -> None:
    """A pattern, which kopf would accept, or an invalid name is rejected."""
    assert problem(namespaces=given) == "Value error, must be the name of a namespace"


@pytest.mark.parametrize(
    ("given", "key"), [("platform/atlas", ("platform", "atlas")), ("p/a.b-c", ("p", "a.b-c")), (None, None)]
)
def test_default_secret(given: str | None, key: Key | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespace and name of a Secret, by flag or variable; there is no default."""
    assert settings(default_secret=given).default_secret == key
    if given is not None:
        monkeypatch.setenv("ATLAS_INVITES_DEFAULT_SECRET", given)
        assert settings().default_secret == key


@pytest.mark.parametrize(
    "given",
    [
        "",
        "/",
        "atlas",
        "platform/",
        "/atlas",
        "a/b/c",
        "A/b",
        "a/B",
        "a.b/c",
        "a /b",
        "-a/b",
        "a" * 64 + "/b",
        "a/" + "b" * 254,
    ],
)
def test_a_default_secret_has_a_namespace_and_a_name(given: str) -> None:
    """An invalid Secret reference is rejected."""
    assert problem(default_secret=given) == "Value error, must be NAMESPACE/NAME of a Secret"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://cloud.mongodb.com", "https://cloud.mongodb.com"),
        ("https://cloud.mongodb.com/", "https://cloud.mongodb.com"),
        ("HTTPS://Cloud.MongoDB.com", "https://Cloud.MongoDB.com"),
        ("https://atlas.internal:8443", "https://atlas.internal:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8081", "http://localhost:8081"),
        ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_valid_urls(given: str, kept: str) -> None:
    """Any https URL is valid, and plain http to loopback."""
    assert settings(atlas_url=given).atlas_url == kept


HTTPS = "Value error, must be https: plain http is allowed only for loopback addresses"
URL = "Value error, must be an https:// URL"
HOST = "Value error, must name a host only, without user, path or query"


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("http://cloud.mongodb.com", HTTPS),
        ("http://localhost.example.com", HTTPS),
        ("http://127.0.0.1.example.com", HTTPS),
        ("http://10.0.0.1", HTTPS),
        ("http://0.0.0.0", HTTPS),
        ("http://[::]", HTTPS),
        ("cloud.mongodb.com", URL),
        ("ftp://cloud.mongodb.com", URL),
        ("https://", URL),
        ("https:///path", URL),
        ("", URL),
        ("https://host:port", URL),
        ("https://host:99999", URL),
        ("https://[::1", URL),
        ("https://[canary]", URL),
        ("https://user:canary℀@host", URL),
        ("https://two words", URL),
        ("https://user:canary@host", HOST),
        ("https://@host", HOST),
        ("https://host/api/atlas/v2", HOST),
        ("https://host?a=b", HOST),
        ("https://host?", HOST),
        ("https://host#", HOST),
    ],
)
def test_invalid_urls(given: str, rule: str) -> None:
    """Each is rejected with its rule, which never shows the value: it may contain a password."""
    assert problem(atlas_url=given) == rule


@pytest.mark.parametrize("given", ["off", "0.0.0.0:8080", "127.0.0.1:0", "[::]:9090", "localhost:65535"])
def test_valid_addresses(given: str) -> None:
    """host:port, or off."""
    assert settings(listen=given).listen == given


@pytest.mark.parametrize("given", ["", "8080", ":8080", "host:", "host:x", "host:65536", "host:-1", "on"])
def test_invalid_addresses(given: str) -> None:
    """Anything else is rejected with the rule."""
    assert problem(listen=given) == "Value error, must be host:port, or off"


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"workers": "0"}, "Input should be greater than or equal to 1"),
        ({"workers": "1001"}, "Input should be less than or equal to 1000"),
        ({"workers": "many"}, "Input should be a valid integer, unable to parse string as an integer"),
        ({"atlas_api": "soap"}, "Input should be 'auto', 'invites' or 'users'"),
        ({"atlas_envelope": "perhaps"}, "Input should be a valid boolean, unable to interpret input"),
        ({"log_format": "xml"}, "Input should be 'json' or 'text'"),
        ({"log_level": "loud"}, "Input should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_bounds_and_choices(given: dict[str, Any], rule: str) -> None:
    """A value out of bounds, or not among the choices, is rejected with the valid values."""
    assert problem(**given) == rule
