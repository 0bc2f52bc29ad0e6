"""The settings of the operator: each has a flag, an environment variable, a default and a help text."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from atlas_invites.environment import StartupError
from atlas_invites.invitation.resource import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
NAMESPACE_VARIABLES = ("ATLAS_INVITES_NAMESPACES", "ATLAS_INVITES_NAMESPACE")
_NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SECRET = rf"{_NAMESPACE}/[a-z0-9]([-.a-z0-9]{{0,251}}[a-z0-9])?"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def in_pod() -> bool:
    """Return whether this process runs in a pod: Kubernetes sets the variable in every container."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def pod_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in, or None outside a pod."""
    try:
        return _NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None


def _seconds(value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
    """Return seconds for ``90``, ``90s``, ``10m``, ``1h``."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value)
    if match is None:
        raise ValueError("must be seconds, or a number with s, m or h, for example 10m")
    return float(match[1]) * _UNITS[match[2]]


def _names(value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
    """Return the names of one or several comma-separated lists, without repetitions."""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    if not isinstance(text, str):
        return value
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _namespace(name: str) -> str:
    """Return the name of a namespace, not a pattern: kopf would watch all matches, but our own client lists none."""
    if re.fullmatch(_NAMESPACE, name) is None:
        raise ValueError("must be the name of a namespace")
    return name


def _secret(value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
    """Return the key of a Secret for ``NAMESPACE/NAME``."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(_SECRET, value) is None:
        raise ValueError("must be NAMESPACE/NAME of a Secret")
    return Key(*value.split("/"))


def _host(url: str) -> str:
    """Return the URL of a host, without a trailing slash."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be an https:// URL") from None  # the error's own text shows the value
    if parts.scheme not in {"http", "https"} or host is None or not re.fullmatch(r"[\w.:-]+", host):
        raise ValueError("must be an https:// URL")
    if "@" in parts.netloc or parts.path.strip("/") or re.search(r"[?#]", url):
        raise ValueError("must name a host only, without user, path or query")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must be https: plain http is allowed only for loopback addresses")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def namespaces_of(environment: Mapping[str, str]) -> str | None:
    """Return the value of ``ATLAS_INVITES_NAMESPACES`` or ``ATLAS_INVITES_NAMESPACE``, or None if neither is set.

    Raises:
        StartupError: both are set, and have different values.
    """
    values = [environment[name] for name in NAMESPACE_VARIABLES if name in environment]
    if len({_names(value) for value in values}) > 1:
        raise StartupError(f"{' and '.join(NAMESPACE_VARIABLES)} differ: set only one of them")
    return values[0] if values else None


Seconds = Annotated[float, BeforeValidator(_seconds)]
AtlasUrl = Annotated[str, AfterValidator(_host)]
Namespace = Annotated[str, AfterValidator(_namespace)]
Namespaces = Annotated[tuple[Namespace, ...], NoDecode, BeforeValidator(_names)]


class Settings(BaseSettings):
    """The settings of ``atlas-invites run``. Each is also the environment variable ``ATLAS_INVITES_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="ATLAS_INVITES_", frozen=True)

    atlas_url: AtlasUrl = Field("https://cloud.mongodb.com", description="URL of the Atlas API and its token endpoint")
    namespaces: Namespaces = Field((), description="watch only this namespace (repeatable); default: all namespaces")
    default_secret: Annotated[Key | None, NoDecode, BeforeValidator(_secret)] = Field(
        None, description="NAMESPACE/NAME of the Secret for invitations without connectionSecretRef; default: none"
    )
    resync_interval: Seconds = Field(
        600.0,
        ge=1,
        description="time between two comparisons of every invitation with Atlas: seconds, or for example 10m or 1h",
    )
    deletion_grace: Seconds = Field(
        5.0,
        ge=0,
        description="how long the operator waits after the deletion of an object, before it cancels the invitation or "
        "removes the member; another object for the same person can take over meanwhile; 0: no wait",
    )
    workers: int = Field(50, ge=1, le=1000, description="maximum number of concurrent reconciles")
    atlas_api: Literal["auto", "invites", "users"] = Field(
        "auto", description="auto, invites or users; auto uses the Invites API until it has ended, then the Users API"
    )
    atlas_envelope: bool = Field(
        default=False,
        description="ask Atlas to repeat the HTTP status in the response body (an envelope), for proxies that change "
        "HTTP statuses",
    )
    leader_election: bool = Field(
        default_factory=in_pod, description="elect a leader with a Lease; default: on in a pod, off outside"
    )
    lease_namespace: Namespace = Field(
        default_factory=lambda: pod_namespace() or "default",
        description='namespace of the Lease; default: that of the pod, or "default" outside a pod',
    )
    listen: str = Field("0.0.0.0:8080", description="address that serves /metrics, /healthz and /readyz, or off")
    log_format: Literal["json", "text"] = Field(
        default_factory=lambda: "json" if in_pod() else "text",
        description="json or text; default: json in a pod, text outside",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")

    @field_validator("listen")
    @classmethod
    def _is_address(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        if listen != "off" and not (host and port.isdecimal() and int(port) < 2**16):
            raise ValueError("must be host:port, or off")
        return listen
