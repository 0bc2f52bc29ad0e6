"""Proxies and certificates from the environment of the process, for connections to Atlas and to the cluster."""

from __future__ import annotations

import functools
import logging
import os
import re
import ssl
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import quote, unquote_to_bytes, urlsplit

log = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443}


class StartupError(Exception):
    """A setting prevents the command from starting; the message is one line for the administrator."""


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, or None.

    The variables are those of curl, Go and httpx, in lower or upper case: ``HTTPS_PROXY`` or ``HTTP_PROXY`` by the
    scheme of the URL, else ``ALL_PROXY``; ``NO_PROXY`` lists the exceptions.

    Returns:
        The ``http://`` or ``https://`` URL of a host. A user name and password in it are percent-encoded.

    Raises:
        StartupError: the proxy cannot be used. The message names the variable, never its value.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # the connection will report it
        return None
    variable, proxy = _variable(f"{parts.scheme}_proxy")
    if not proxy:
        variable, proxy = _variable("all_proxy")
    if not proxy:
        return None
    exceptions, entries = _variable("no_proxy")
    matching = [entry for entry in re.findall(r"[^,\s]+", entries) if _is_exception(host, port, exceptions, entry)]
    return None if matching else usable_proxy(variable, proxy)


def usable_proxy(origin: str, value: str) -> str:
    """Return the URL of a proxy in the form that all clients understand.

    Args:
        origin: the variable or field that holds the value, for the message.
        value: the URL, or ``host:port``.

    Raises:
        StartupError: the clients cannot use it. The message names the origin, never the value.
    """
    with suppress(ValueError):  # the text of the error shows a part of the value
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host = parts.hostname or ""
        nothing_else = parts.path in {"", "/"} and not parts.query and not parts.fragment
        if parts.scheme in _PORTS and re.fullmatch(r"[\w.:-]+", host, re.ASCII) and parts.port != 0 and nothing_else:
            address = f"[{host}]" if ":" in host else host
            port = f":{parts.port}" if parts.port else ""
            userinfo, at, _ = parts.netloc.rpartition("@")
            encoded = ":".join(quote(unquote_to_bytes(word), safe="") for word in userinfo.split(":", 1))
            return f"{parts.scheme}://{encoded}{at}{address}{port}"
    raise StartupError(
        f"{origin}: must be the http:// or https:// URL of a proxy, or host:port. "
        "Percent-encode special characters of the user name and password, such as / as %2F"
    )


def check_certificates() -> None:
    """Check that the file of ``SSL_CERT_FILE`` can be read and contains a certificate.

    Raises:
        StartupError: the file cannot be read, or contains none.
    """
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise StartupError("SSL_CERT_FILE: the file contains no certificate in PEM format") from None
    except OSError as error:
        raise StartupError(f"SSL_CERT_FILE: the file cannot be read: {error.strerror}") from None


def accept_legacy_certificates(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make the context accept the certificates that kubectl and curl accept, and return it.

    Since Python 3.13, contexts check X.509 strictly by default. The strict check rejects certificates of many company
    CAs, such as certificates without key identifiers. Signatures, names and dates are still verified.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def openssl_reason(error: BaseException | None) -> str | None:
    """Return the reason that OpenSSL gives in an error or in one of its causes, or None if TLS is not the cause."""
    while error is not None:
        if isinstance(error, ssl.SSLError):  # errors of aiohttp have this type too, but no reason
            if message := getattr(error, "verify_message", None):
                return str(message).rstrip(".")
            if reason := getattr(error, "reason", None):
                return str(reason).lower().replace("_", " ")
        error = error.__cause__ or error.__context__
    return None


def _variable(name: str) -> tuple[str, str]:
    """Return the name of an environment variable as it is spelled there, and its value. Lower case has priority."""
    spelled = name if name in os.environ else name.upper()
    return spelled, os.environ.get(spelled, "").strip()


def _is_exception(host: str, port: int | None, variable: str, entry: str) -> bool:
    """Return whether an entry of ``NO_PROXY`` matches a host and port. An invalid entry matches none."""
    if entry == "*":
        return True
    name, colon, digits = entry.rpartition(":")
    if not colon or not digits.isdecimal() or (":" in name and name[-1] != "]"):
        name, digits = entry, ""
    domain = name.removeprefix("*").rstrip(".").lower()
    if re.fullmatch(r"\.?([\w-]+\.)*[\w-]*[^\W\d][\w-]*", domain):  # a leading dot: only the subdomains
        is_host = host == domain or host.endswith(f".{domain.removeprefix('.')}")
    else:
        try:
            network = ip_network(re.sub(r"^\[(.*)\]", r"\1", name), strict=False)
        except ValueError:
            _warn(variable, entry)
            return False
        is_host = _is_in(host, network)
    return is_host and (not digits or int(digits) == port)


def _is_in(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(host) in network
    except ValueError:
        return False


@functools.cache
def _warn(variable: str, entry: str) -> None:
    """Warn about an invalid entry, once."""
    log.warning("%s: ignoring the entry %r: it is not a name, domain, address or range", variable, entry)
