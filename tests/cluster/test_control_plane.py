"""The control plane of the other tests acts like a real one, and never outlives the process that started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.control_plane import control_plane as module
from tests.control_plane.control_plane import ControlPlane, KubectlError
from tests.control_plane.module import selected_version
from tests.control_plane.processes import PortTakenError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def eventually(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def running_in(folder: Path) -> set[str]:
    """Return the names of the processes whose command line names the folder."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it ended meanwhile
            continue
        if any(str(folder) in word for word in line):
            found.add(Path(line[0]).name)
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_ends_with_its_starter(control_plane_binaries: Path, how: signal.Signals) -> None:
    """However the starting process ends, also by kill -9, all its processes end and its files are removed."""
    assert (control_plane_binaries / "etcd").exists()
    command = [sys.executable, "-m", "tests.control_plane", "run"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starter:  # noqa: S603
        try:
            assert starter.stdout is not None
            line = starter.stdout.readline()  # printed once it is ready
            assert line.startswith("export KUBECONFIG=/")
            folder = Path(line.strip().removeprefix("export KUBECONFIG=")).parent
            assert {"etcd", "kube-apiserver", "kube-controller-manager"} <= running_in(folder)
            starter.send_signal(how)
            starter.wait()
        finally:
            starter.kill()
    eventually(lambda: not running_in(folder), f"some processes still run: {running_in(folder)}")
    eventually(lambda: not folder.exists(), "the folder is still there")


def test_stop_leaves_nothing(control_plane_binaries: Path) -> None:
    """After a with block, even after an exception, no process and no file remains."""
    assert control_plane_binaries.is_dir()
    control_plane = ControlPlane()

    def fail() -> None:
        with control_plane:
            assert len(running_in(control_plane.folder)) >= 3
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert not running_in(control_plane.folder)
    assert not control_plane.folder.exists()
    control_plane.stop()  # stopping again does no harm


def test_ports_in_use(control_plane_binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process takes a port in the last moment, others are tried; if that never helps, the error says so."""
    assert control_plane_binaries.is_dir()
    free_ports = module._free_ports  # noqa: SLF001
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tries: list[list[int]] = []

        def with_one_taken(count: int) -> list[int]:
            ports = free_ports(count)
            tries.append(ports)
            return [*ports[:-1], port] if len(tries) == 1 else ports

        monkeypatch.setattr(module, "_free_ports", with_one_taken)
        with ControlPlane() as control_plane:
            control_plane.kubectl("get", "namespaces")
        assert len(tries) == 2

        monkeypatch.setattr(module, "_free_ports", lambda count: [port, *free_ports(count - 1)])
        with pytest.raises(PortTakenError, match=r"\Aetcd ended with exit code 1:\n(.*\n)*.*address already in use"):
            ControlPlane().start()


def test_binaries_of_the_users_choice(
    control_plane_binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """KUBEBUILDER_ASSETS names a folder with other binaries; missing controllers are reported in one line."""
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).symlink_to(control_plane_binaries / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with ControlPlane() as control_plane:
        control_plane.kubectl("create", "configmap", "one")
    assert capsys.readouterr().err == (
        f"control plane: no kube-controller-manager in {tmp_path}: deleted namespaces will stay Terminating\n"
    )


def test_version(control_plane: ControlPlane) -> None:
    """The API server reports the Kubernetes version that KUBERNETES_VERSION selects, by default that of go.mod."""
    version = json.loads(control_plane.kubectl("version", "-o", "json").stdout)["serverVersion"]
    assert version["gitVersion"] == f"v{selected_version(os.environ)}"
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")


def test_namespaces_are_deleted(control_plane: ControlPlane, namespace: str) -> None:
    """A deleted namespace is removed with its content: the controllers run."""
    control_plane.kubectl("create", "configmap", "one", "--namespace", namespace)
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    eventually(
        lambda: control_plane.kubectl("get", "namespace", namespace, check=False).returncode != 0, "it is still there"
    )
    control_plane.kubectl("create", "namespace", namespace)  # the fixture deletes it


def test_deployments_make_pods(control_plane: ControlPlane, namespace: str) -> None:
    """A Deployment gets its ReplicaSet and its Pod, which runs on no node."""
    control_plane.kubectl("create", "deployment", "one", "--image=example.com/one", "--namespace", namespace)
    eventually(
        lambda: "pod/one-" in control_plane.kubectl("get", "pods", "--namespace", namespace, "-o", "name").stdout,
        "there is no pod",
    )


def test_kubeconfig_of_a_service_account(control_plane: ControlPlane, namespace: str) -> None:
    """A ServiceAccount has its own kubeconfig, in its namespace, with just the rights that RBAC gives it."""
    control_plane.kubectl("create", "serviceaccount", "one", "--namespace", namespace)
    kubeconfig = control_plane.kubeconfig_for(namespace, "one")
    user = f"system:serviceaccount:{namespace}:one"
    assert user in control_plane.kubectl("auth", "whoami", kubeconfig=kubeconfig).stdout
    with pytest.raises(
        KubectlError, match=f'User "{user}" cannot list resource "secrets".*in the namespace "{namespace}"'
    ):
        control_plane.kubectl("get", "secrets", kubeconfig=kubeconfig)
    control_plane.kubectl(
        "create", "rolebinding", "one", "--clusterrole=admin", f"--serviceaccount={namespace}:one", "-n", namespace
    )
    control_plane.kubectl("get", "secrets", kubeconfig=kubeconfig)


def test_an_outage(control_plane_binaries: Path) -> None:
    """The API server can stop and come back: connections are refused, then everything is as before."""
    assert control_plane_binaries.is_dir()
    with ControlPlane() as control_plane:
        url = control_plane.url
        control_plane.kubectl("create", "configmap", "one")
        control_plane.stop_api_server()
        with pytest.raises(KubectlError, match=r"\Akubectl get configmap one failed with exit code 1:\n.*refused"):
            control_plane.kubectl("get", "configmap", "one")
        control_plane.start_api_server()
        assert control_plane.url == url
        control_plane.kubectl("get", "configmap", "one")


def test_audit_log(control_plane: ControlPlane, namespace: str) -> None:
    """The audit log has every request, its user and its result."""
    control_plane.kubectl("create", "configmap", "one", "--namespace", namespace)
    requests = control_plane.audit_log.requests()
    made = [
        (request["user"]["username"], request["responseStatus"]["code"])
        for request in requests
        if request["verb"] == "create" and request["objectRef"].get("namespace") == namespace
        if request["objectRef"]["resource"] == "configmaps" and request["stage"] == "ResponseComplete"
    ]
    assert made == [("admin", 201)]


def test_kubectl_ignores_the_users_kubeconfig(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KUBECONFIG of the environment is never used: tests touch no cluster but their own."""
    monkeypatch.setitem(os.environ, "KUBECONFIG", "/nowhere")
    assert control_plane.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout == (
        control_plane.url
    )
