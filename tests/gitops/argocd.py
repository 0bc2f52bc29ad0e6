"""Argo CD: application controller, repository server and Redis as processes, without its other parts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.manifests import load
from tests.gitops import build
from tests.gitops.tool import PROGRESSING, State
from tests.stack import ROOT, free_address, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.api import Object
    from tests.gitops.git import Repository
    from tests.gitops.rig import Rig

NAMESPACE = "argocd"
_APPLICATIONS = f"apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications"
_PROJECTS = f"apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/appprojects"
_SHIPPED = ROOT / "deploy" / "argocd"
_REFRESH = "argocd.argoproj.io/refresh"
_CASCADE = "resources-finalizer.argocd.argoproj.io"


class ArgoCD:
    """Argo CD with its default settings, and our health check.

    Args:
        rig: the cluster and the repositories.
        options: additional options of its application controller.
    """

    name = "argocd"

    def __init__(self, rig: Rig, *options: str) -> None:
        self._rig = rig
        self._options = options
        self._module = build.argo_cd()
        self.versions = f"Argo CD {self._module.version}"

    def start(self) -> None:
        """Install the custom resources, and start the controllers."""
        control_plane, manifests = self._rig.plane.control_plane, self._module.source / "manifests"
        control_plane.kubectl("create", "namespace", NAMESPACE)
        control_plane.kubectl("apply", "--server-side", "-k", str(manifests / "crds"))
        for path in (_APPLICATIONS, _PROJECTS):
            self._rig.until_served(path)
        control_plane.kubectl("apply", "--namespace", NAMESPACE, "-k", str(manifests / "base" / "config"))
        patch = ("--patch-file", str(_SHIPPED / "argocd-cm.yaml"))
        control_plane.kubectl("patch", "configmap", "argocd-cm", "--namespace", NAMESPACE, *patch)
        self._rig.plane.api.do(
            "POST",
            _PROJECTS,
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AppProject",
                "metadata": {"name": "default"},
                "spec": {
                    "sourceRepos": ["*"],
                    "destinations": [{"namespace": "*", "server": "*"}],
                    "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
                },
            },
        )
        self._start_processes()

    def _start_processes(self) -> None:
        group, folder = self._rig.group, self._rig.folder
        redis, repo_server, metrics = free_address(), free_address(), free_address()
        programs = folder / "programs"
        programs.mkdir()
        plugins = folder / "plugins"
        plugins.mkdir()
        verify = programs / "git-verify-wrapper.sh"
        verify.write_text("#!/bin/sh\nexit 0\n")  # no commit is signed
        verify.chmod(0o755)
        (programs / "kustomize").symlink_to(self._module.binaries / "kustomize")
        for name in ("argocd-repo-server", "argocd-application-controller"):
            (programs / name).symlink_to(self._module.binaries / "argocd")
        kubeconfig = self._rig.plane.control_plane.folder / "argocd.kubeconfig"
        config = yaml.safe_load(self._rig.plane.control_plane.kubeconfig.read_text())
        config["contexts"][0]["context"]["namespace"] = NAMESPACE
        kubeconfig.write_text(yaml.safe_dump(config))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ARGOCD_", "KUBE"))} | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(group.folder),
            "KUBECONFIG": str(kubeconfig),
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_ASK_PASS_SOCK": str(group.folder / "ask-pass.sock"),
            "ARGOCD_PLUGINSOCKFILEPATH": str(plugins),
            "ARGOCD_TLS_DATA_PATH": str(group.folder),
            "ARGOCD_SSH_DATA_PATH": str(group.folder),
        }
        self._rig.start("redis", [str(self._module.binaries / "redis"), redis])
        host, port = repo_server.split(":")
        self._start(
            programs / "argocd-repo-server",
            environment,
            *("--address", host, "--port", port, "--redis", redis, "--disable-tls", "--client-ca-path="),
            *("--metrics-address", metrics.split(":")[0], "--metrics-port", metrics.split(":")[1]),
        )
        self._start(
            programs / "argocd-application-controller",
            environment,
            *("--repo-server", repo_server, "--repo-server-plaintext", "--redis", redis),
            *("--metrics-port", free_address().split(":")[1], *self._options),
        )

    def _start(self, program: Path, environment: dict[str, str], *options: str) -> None:
        self._rig.start(program.name, [str(program), *options], environment)

    def add_platform(self, repository: Repository) -> None:
        """Create the shipped Application of the operator, for a repository."""
        platform, _ = load((_SHIPPED / "applications.yaml").read_text())
        platform["spec"]["source"]["repoURL"] = repository.url
        self._rig.plane.api.do("POST", _APPLICATIONS, platform)

    def add_team(
        self,
        name: str,
        repository: Repository,
        namespace: str,
        annotations: dict[str, str] | None = None,
        **changes: Any,  # noqa: ANN401 - fields are JSON
    ) -> None:
        """Create the shipped Application of a team, for a repository and a namespace."""
        _, team = load((_SHIPPED / "applications.yaml").read_text())
        team["metadata"]["name"] = name
        team["spec"]["source"]["repoURL"] = repository.url
        team["spec"]["destination"]["namespace"] = namespace
        team["metadata"]["annotations"] = annotations or {}
        team["spec"] = {key: value for key, value in (team["spec"] | changes).items() if value is not None}
        self._rig.plane.api.do("POST", _APPLICATIONS, team)

    def refresh(self, name: str) -> None:
        """Tell Argo CD to read Git and the cluster now, after it has finished the refresh before."""
        wait_until(
            f"{name} has been refreshed", lambda: _REFRESH not in self.get(name)["metadata"].get("annotations", {}), 120
        )
        self._patch(name, {"annotations": {_REFRESH: "normal"}})

    def state(self, name: str) -> State:
        """Return the state of an Application."""
        return state(self.get(name))

    def change(self, name: str, spec: Object) -> None:
        """Change fields of the spec of an Application."""
        self._rig.plane.api.do("PATCH", f"{_APPLICATIONS}/{name}", {"spec": spec})

    def delete(self, name: str) -> None:
        """Delete an Application and the objects that it has applied."""
        if not self.get(name)["metadata"].get("finalizers"):
            self._patch(name, {"finalizers": [_CASCADE]})  # as `argocd app delete --cascade` does
        self._rig.plane.api.do("DELETE", f"{_APPLICATIONS}/{name}")

    def exists(self, name: str) -> bool:
        """Return whether an Application of that name exists."""
        return self._rig.plane.api.ask("GET", f"{_APPLICATIONS}/{name}").is_success

    def get(self, name: str) -> Object:
        """Return an existing Application."""
        return self._rig.plane.api.do("GET", f"{_APPLICATIONS}/{name}")

    def _patch(self, name: str, metadata: Object) -> None:
        self._rig.plane.api.do("PATCH", f"{_APPLICATIONS}/{name}", {"metadata": metadata})


def state(application: Object) -> State:
    """Return the state of an Application."""
    status = application.get("status", {})
    sync, operation = status.get("sync", {}), status.get("operationState", {})
    messages = [
        operation.get("message", ""),
        *(one.get("message", "") for one in operation.get("syncResult", {}).get("resources", [])),
        *(one["message"] for one in status.get("conditions", [])),
    ]
    return State(
        sync.get("revision", ""),
        sync.get("status") == "Synced" and operation.get("phase") != "Running",
        status.get("health", {}).get("status", PROGRESSING),
        "\n".join(filter(None, messages)),
    )
