"""The credential plugin of a kubeconfig (``exec``), which gives short-lived tokens to an operator outside of a pod.

The client library can run a plugin too. But it passes no cluster information, does not report why the plugin failed,
and waits for it without limit.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubernetes.aio.config import ConfigException

if TYPE_CHECKING:
    from collections.abc import Mapping

PLUGIN_TIMEOUT = 30.0
"""Seconds that a plugin may take."""

RENEWED_AT = 0.8
"""The part of a token's lifetime after which the plugin runs again."""

_CLUSTER = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
)
_SAID = 300
_KILLED_IN = 1.0
_EXTENSION = "client.authentication.k8s.io/exec"


class AccessError(ConfigException):
    """The access cannot be used. Unlike messages of the client library, this message has no secrets."""


async def ask_plugin(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path
) -> tuple[dict[str, str], float]:
    """Run a credential plugin, as client-go does.

    Args:
        plugin: the field ``exec`` of a kubeconfig's user.
        cluster: the cluster that the kubeconfig names, with absolute paths.
        folder: the directory of the kubeconfig.

    Returns:
        Fields of a kubeconfig's user, and for how many seconds they are valid.

    Raises:
        AccessError: it cannot be run, fails, or returns no credentials.
    """
    if plugin.get("interactiveMode") == "Always":
        raise AccessError("exec: interactiveMode Always needs a terminal, and the operator has none")
    kind = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential"}
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _about(cluster)
    variables = {one["name"]: one["value"] for one in plugin.get("env") or ()}
    variables["KUBERNETES_EXEC_INFO"] = json.dumps({**kind, "spec": spec})
    command = str(plugin.get("command"))
    program = str(folder / command) if os.sep in command else command
    printed = await _output([program, *(plugin.get("args") or ())], os.environ | variables)
    try:
        credential = json.loads(printed)
        status = {name: value for name, value in credential["status"].items() if value}
        if credential["apiVersion"] != kind["apiVersion"]:
            raise AccessError(f"exec: {command} returned {credential['apiVersion']}, not {kind['apiVersion']}")
        return _user(status), _lasts(status.get("expirationTimestamp"))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise AccessError(f"exec: {command} returned neither a token nor a certificate") from None


async def _output(command: list[str], environment: Mapping[str, str]) -> bytes:
    """Run a command and return its standard output.

    Raises:
        AccessError: it cannot be run, fails, or does not end in time.
    """
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise AccessError(f"exec: {name}: {error.strerror}") from None
    try:
        async with asyncio.timeout(PLUGIN_TIMEOUT):
            try:
                printed, complaints = await process.communicate()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its children too
                with suppress(TimeoutError):  # a child in a session of its own may still hold the pipes
                    await asyncio.wait_for(process.wait(), _KILLED_IN)
                raise
    except TimeoutError:
        raise AccessError(f"exec: {name} did not end within {PLUGIN_TIMEOUT:.0f} s") from None
    if process.returncode:
        said = " ".join(complaints.decode(errors="replace").split())
        raise AccessError(f"exec: {name} failed with exit code {process.returncode}: {said[-_SAID:]}")
    return printed


def _about(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cluster information for a plugin that requests it."""
    about = {name: cluster[name] for name in _CLUSTER if name in cluster}
    if path := cluster.get("certificate-authority"):
        authority = Path(path).read_bytes()
        about.setdefault("certificate-authority-data", base64.b64encode(authority).decode())
    for one in cluster.get("extensions") or ():
        if one["name"] == _EXTENSION:
            about["config"] = one["extension"]
    return about


def _user(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the credentials from a plugin as fields of a kubeconfig's user.

    Raises:
        KeyError: there is neither a token nor a certificate with its key.
    """
    user = {"token": status["token"]} if "token" in status else {}
    if "clientCertificateData" in status or not user:
        for field, given in (("client-certificate", "clientCertificateData"), ("client-key", "clientKeyData")):
            user[f"{field}-data"] = base64.b64encode(status[given].encode()).decode()
    return user


def _lasts(until: str | None) -> float:
    """Return the seconds until credentials must be renewed: before they expire at ``until``; infinite for None.

    Raises:
        ValueError: ``until`` is not a time.
    """
    if until is None:
        return float("inf")
    return RENEWED_AT * max((datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds(), 0.0)
