"""A real Kubernetes control plane on loopback, for tests and the demo. It has no nodes."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Self

from tests.control_plane.audit import AuditLog
from tests.control_plane.build import binaries, say, tool
from tests.control_plane.processes import PortTakenError, Process, ProcessGroup

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
)
_ATTEMPTS = 3
"""How often to start with new ports if another process takes them."""
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class KubectlError(Exception):
    """kubectl failed. The text has its command line and its error output."""


class ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager, from ``start`` to ``stop`` (or in a ``with`` block).

    They are built on first use (see ``build``), or taken from the folder that ``KUBEBUILDER_ASSETS`` names. They end
    with this Python process, however it ends.

    Args:
        audit: write the metadata of every request to ``audit_log``, one JSON object on each line.
        folder: the folder of the binaries; by default this class finds or builds them.

    Attributes:
        url: address of the API server.
        folder: temporary folder of all files; ``<name>.log`` is the log of each process.
        kubeconfig: kubeconfig file of an administrator (group system:masters).
        audit_log: the audit log, if ``audit`` is true.
    """

    url: str
    folder: Path
    kubeconfig: Path
    audit_log: AuditLog

    def __init__(self, *, audit: bool = False, folder: Path | None = None) -> None:
        self._audit = audit
        self._given = folder
        self._group: ProcessGroup | None = None
        self._api_server: Process | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start everything and wait until it serves. This takes about three seconds if it is built already.

        Raises:
            BuildError: it could not be built.
            StartError: a process did not start.
        """
        if self._group is not None:
            raise RuntimeError("the control plane is already running")
        self._binaries = self._given or binaries()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start()
            except PortTakenError:
                self.stop()
                if attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                break
        return self

    def stop(self) -> None:
        """Stop everything and remove its files. Do nothing if it is not running."""
        if self._group is not None:
            self._group.close()
        self._group = self._api_server = None

    def stop_api_server(self) -> None:
        """Kill the API server, as in a crash: connections break, and new ones are refused. etcd keeps its data."""
        if self._api_server is not None:
            self._api_server.kill()
            self._api_server = None

    def start_api_server(self) -> None:
        """Start the API server on the same port with the same data, and wait until it serves.

        Raises:
            StartError: it did not start.
        """
        group = self._running()
        environment = os.environ | {"GOGC": "400"}  # more memory for the API server, more CPU time for the tests
        self._api_server = group.start("kube-apiserver", self._api_server_command, environment)
        group.wait_until(lambda: self._responds("/readyz"), self._api_server, self._etcd)

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - as in subprocess
        check: bool = True,
        kubeconfig: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return its output.

        Args:
            args: its arguments, such as ``"apply", "-f", "-"``.
            input: its standard input.
            check: raise an error if it fails.
            kubeconfig: the kubeconfig to use; the administrator's by default.

        Raises:
            KubectlError: it failed, and ``check`` is true.
        """
        environment = os.environ | {
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            # The default cache may have data of another API server that had this address.
            "KUBECACHEDIR": str(self.folder / "kubectl-cache"),
        }
        done = subprocess.run(  # noqa: S603 - tests say what to run
            [tool("kubectl"), *args], env=environment, input=input, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise KubectlError(
                f"kubectl {' '.join(args)} failed with exit code {done.returncode}:\n{done.stderr.strip()}"
            )
        return done

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig file for a ServiceAccount that exists, with a token of 24 hours.

        Raises:
            KubectlError: there is no such ServiceAccount.
        """
        token = self.kubectl(
            "create", "token", service_account, "--namespace", namespace, "--duration", "24h"
        ).stdout.strip()
        return self._write_kubeconfig(f"{namespace}-{service_account}", token, namespace)

    def _running(self) -> ProcessGroup:
        if self._group is None:
            raise RuntimeError("the control plane is not running: start it first")
        return self._group

    def _start(self) -> None:
        """Start each process and wait for it, on free ports."""
        self._group = group = ProcessGroup()
        self.folder = group.folder
        self.audit_log = AuditLog(self.folder / "audit.log")
        client_port, peer_port, api_port = _free_ports(3)
        etcd_url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
        self.url = f"https://127.0.0.1:{api_port}"
        self._api_port = api_port
        self._token = secrets.token_hex(16)
        self._api_server_command = self._configure_api_server(etcd_url)

        self._etcd = group.start("etcd", self._etcd_command(etcd_url, peer_url))
        self.start_api_server()
        self.kubeconfig = self._write_kubeconfig("admin", self._token, "default")
        self._start_controller_manager(group)

    def _etcd_command(self, client_url: str, peer_url: str) -> list[str]:
        return [
            str(self._binaries / "etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",  # the data need not outlive the machine
            "--log-level=warn",
        ]

    def _configure_api_server(self, etcd_url: str) -> list[str]:
        """Write the files that the API server reads, and return its command line."""
        key, tokens, policy = (
            self.folder / name for name in ("service-accounts.key", "tokens.csv", "audit-policy.json")
        )
        key.write_text(_private_key())
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        policy.write_text(json.dumps(_AUDIT_POLICY))
        audit = [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log.path}",
            "--audit-log-maxsize=100000",  # MB: AuditLog needs one file
        ]
        return [
            str(self._binaries / "kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",  # no Pod looks for the API server
            f"--secure-port={self._api_port}",
            f"--cert-dir={self.folder / 'certificates'}",  # it signs its own
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            *(audit if self._audit else ()),
        ]

    def _start_controller_manager(self, group: ProcessGroup) -> None:
        binary = self._binaries / "kube-controller-manager"
        if not binary.exists():
            say(f"no {binary.name} in {self._binaries}: deleted namespaces will stay Terminating")
            return
        command = [
            str(binary),
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
            f"--root-ca-file={self._certificate}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        process = group.start(binary.name, command)
        # A controller has made the first ServiceAccount: from now on, each namespace gets one.
        group.wait_until(lambda: self._responds("/api/v1/namespaces/default/serviceaccounts/default"), process)

    @property
    def _certificate(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    def _write_kubeconfig(self, user: str, token: str, namespace: str) -> Path:
        """Write a kubeconfig file (JSON is YAML) that needs no other file, and return its path."""
        authority = base64.b64encode(self._certificate.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": user, "context": {"cluster": "test", "user": user, "namespace": namespace}}],
            "current-context": user,
        }
        path = self.folder / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
        return path

    def _responds(self, path: str) -> bool:
        """Return whether the API server responds to a GET of the administrator with 200."""
        try:
            context = ssl.create_default_context(cafile=str(self._certificate))
        except OSError:  # the API server has not finished writing it
            return False
        connection = http.client.HTTPSConnection("127.0.0.1", self._api_port, timeout=5.0, context=context)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _free_ports(count: int) -> list[int]:
    """Return free ports of loopback."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _private_key() -> str:
    """Return a new private key in PEM, for ServiceAccount tokens: the 50 bytes of RFC 5915 around a random number."""
    prime256v1 = bytes.fromhex("a00a06082a8648ce3d030107")
    # The first bit is 0, so that the number is below the curve's order.
    number = (secrets.randbits(255) or 1).to_bytes(32, "big")
    der = bytes.fromhex("30310201010420") + number + prime256v1
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"
