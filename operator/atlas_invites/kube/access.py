"""How to reach the cluster, and with which identity: the pod's ServiceAccount, else a kubeconfig, as in kubectl."""

from __future__ import annotations

import atexit
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, kube_config, load_incluster_config

from atlas_invites.environment import StartupError, openssl_reason, proxy_for, usable_proxy
from atlas_invites.kube.plugin import AccessError, ask_plugin

RELOAD = 60.0
"""Seconds after which files are read again: a ServiceAccount's token, a kubeconfig and what it names."""

_UNUSABLE = "the kubeconfig (KUBECONFIG or ~/.kube/config) cannot be used"
_HEADER = "!#$&'*+.^_`|~"
"""Characters, besides letters, digits and hyphens, that are allowed in header names. Others are percent-encoded."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the API server, and with which identity.

    Attributes:
        server: its URL.
        tls: the context of its connections.
        server_name: the name that its certificate must have; None: the host of its URL.
        proxy: the URL of the proxy, or None.
        headers: names and values of the headers with our identity.
        files: the contents from which the context was made.
        lasts: seconds after which this must be loaded again.
    """

    server: str
    tls: ssl.SSLContext
    server_name: str | None
    proxy: str | None
    headers: tuple[tuple[str, str], ...]
    files: tuple[bytes | None, ...]
    lasts: float


Load = Callable[[Access | None], Awaitable[Access]]
"""Returns the current access.

The argument is the access that was loaded last; its TLS context is reused unless a file has changed. Raises
``StartupError`` if the access cannot be used.
"""


def find_cluster() -> Load:
    """Return the function that loads the access to the cluster: the pod's ServiceAccount, else a kubeconfig.

    Raises:
        StartupError: there is neither.
    """
    try:
        load_incluster_config(Configuration())  # type: ignore[no-untyped-call]
    except ConfigException:
        paths = os.environ.get("KUBECONFIG") or "~/.kube/config"
        if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep)):
            raise StartupError("no cluster: not in a pod, and no kubeconfig (KUBECONFIG or ~/.kube/config)") from None
        return Kubeconfig(paths).load
    except (OSError, ValueError):
        pass  # ``_load_pod`` reports it
    return _load_pod


async def _load_pod(known: Access | None) -> Access:
    """Read token and CA of the pod's ServiceAccount; see ``Load``. Proxies of the environment are not used."""
    configuration = Configuration()
    try:
        load_incluster_config(configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
        return _access(configuration, {}, RELOAD, known)
    except (ConfigException, OSError, ValueError) as error:
        raise StartupError(f"the ServiceAccount of the pod cannot be used: {_said(error)}") from None


class Kubeconfig:
    """A kubeconfig, in one file or several. The current context at the first load stays in use.

    Args:
        paths: the files, as ``KUBECONFIG`` names them.
    """

    def __init__(self, paths: str) -> None:
        self._paths = paths
        self._context: str | None = None

    async def load(self, known: Access | None) -> Access:
        """Read it, and ask its credential plugin; see ``Load``."""
        try:
            return await self._load(known)
        except StartupError:
            raise  # its message is specific already, for example about a variable of the environment
        except (AccessError, OSError) as error:
            raise StartupError(f"{_UNUSABLE}: {_said(error)}") from None
        except Exception as error:  # noqa: BLE001 - the library's message may contain the user's entry, with its secrets
            raise StartupError(f"{_UNUSABLE}: it is not a valid kubeconfig ({type(error).__name__})") from None
        finally:
            _remove_private_keys()

    async def _load(self, known: Access | None) -> Access:
        files: Any = kube_config.KubeConfigMerger(self._paths)  # type: ignore[no-untyped-call]
        if self._context is None:
            named = (files.config_files[path].get("current-context") for path in files.paths)
            self._context = next(filter(None, named), None)
        loader: Any = kube_config.KubeConfigLoader(files.config, self._context, config_base_path=None)  # type: ignore[no-untyped-call]
        context = files.config["contexts"].get_with_name(self._context)["context"]
        cluster: Any = files.config["clusters"].get_with_name(context["cluster"])["cluster"]
        _make_paths_absolute(cluster, "certificate-authority")
        user, lasts = {}, RELOAD
        if "user" in context:
            named_user: Any = files.config["users"].get_with_name(context["user"])["user"]
            _make_paths_absolute(named_user, "client-certificate", "client-key", "tokenFile")
            user = named_user.value
            lasts = await _complete(user, cluster.value, Path(named_user.path).parent)
        configuration = Configuration()
        await loader.load_and_set(configuration)
        proxy = configuration.proxy
        configuration.proxy = usable_proxy(f"{_UNUSABLE}: proxy-url", proxy) if proxy else proxy_for(configuration.host)
        return _access(configuration, user, lasts, known)


def _make_paths_absolute(entry: Any, *fields: str) -> None:  # noqa: ANN401 - the library has no types
    """Make paths absolute. They are relative to the file of ``entry``; the library uses the cluster's file for all.

    Raises:
        OSError: one of the files cannot be opened.
    """
    for field in fields:
        if path := entry.value.get(field):
            file = Path(entry.path).parent.absolute() / path
            file.open("rb").close()  # to fail here: the library's own message cannot be shown
            entry.value[field] = str(file)


async def _complete(user: dict[str, Any], cluster: Mapping[str, Any], folder: Path) -> float:
    """Replace fields of a kubeconfig's user that the client library does not handle as kubectl does.

    Return for how many seconds they are valid.

    Raises:
        AccessError: a field cannot be replaced.
    """
    if provider := user.get("auth-provider"):
        raise AccessError(f"auth-provider {provider.get('name')} is not supported; use exec")
    if user.get("tokenFile"):
        user.pop("token", None)
    if plugin := user.pop("exec", None):
        fields, lasts = await ask_plugin(plugin, cluster, folder)
        user |= fields
        return lasts
    return RELOAD


def _remove_private_keys() -> None:
    """Remove the temporary files of the client library, which contain keys and certificates of a kubeconfig."""
    remove = kube_config._cleanup_temp_files  # noqa: SLF001 - at exit it is too late: see ``stopping.end``
    remove()  # type: ignore[no-untyped-call]
    atexit.unregister(remove)


def _access(configuration: Configuration, user: Mapping[str, Any], lasts: float, known: Access | None) -> Access:
    """Return the access that a configuration of the client library describes.

    Raises:
        AccessError: it is for another API server than the known one.
        OSError: a file cannot be read, or contains no certificate.
    """
    if known and known.server != configuration.host:
        raise AccessError(f"it names another API server, {configuration.host}; restart the operator to use that one")
    authority = configuration.ssl_ca_cert or ssl.get_default_verify_paths().cafile
    paths = (authority, configuration.cert_file, configuration.key_file)
    files = (
        *(Path(path).read_bytes() if path else None for path in paths),
        b"verify" if configuration.verify_ssl else None,
    )
    configuration.disable_strict_ssl_verification = True  # as in kubectl
    return Access(
        server=configuration.host,
        tls=known.tls if known and known.files == files else RESTClientObject(configuration).ssl_context,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        headers=tuple(_headers(configuration.api_key.get("BearerToken", "").strip(), user)),
        files=files,
        lasts=lasts,
    )


def _headers(authorization: str, user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers with our identity; see "User impersonation" in the documentation of Kubernetes."""
    if authorization:
        yield "Authorization", authorization
    if user.get("as"):
        yield "Impersonate-User", user["as"]
    if user.get("as-uid"):
        yield "Impersonate-Uid", user["as-uid"]
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", group
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(key.lower(), safe=_HEADER)}", value


def _said(error: Exception) -> str:
    """Return the text of an error; for certificates, only the reason that OpenSSL gives."""
    if isinstance(error, ssl.SSLError):
        return f"its certificates or keys: {openssl_reason(error) or 'not in PEM format'}"
    return str(error)
