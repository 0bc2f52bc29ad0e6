"""Flux: source-controller and kustomize-controller as processes, without its other parts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.deploy.manifests import load
from tests.e2e import kstatus
from tests.gitops import build
from tests.gitops.git import BRANCH
from tests.gitops.tool import DEGRADED, HEALTHY, PROGRESSING, SUSPENDED, State
from tests.stack import ROOT, free_address

if TYPE_CHECKING:
    from tests.e2e.api import Object
    from tests.gitops.git import Repository
    from tests.gitops.rig import Rig

NAMESPACE = "flux-system"
_KUSTOMIZATIONS = f"apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations"
_REPOSITORIES = f"apis/source.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/gitrepositories"
_REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
_SHIPPED = ROOT / "deploy" / "flux" / "kustomizations.yaml"


class Flux:
    """Flux with its default settings.

    Args:
        rig: the cluster and the repositories.
    """

    name = "flux"

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._sources = build.flux("source-controller")
        self._kustomize = build.flux("kustomize-controller")
        self._requests = 0
        self.versions = (
            f"Flux: kustomize-controller {self._kustomize.version}, source-controller {self._sources.version}"
        )

    def start(self) -> None:
        """Install the custom resources, and start the controllers."""
        control_plane = self._rig.plane.control_plane
        control_plane.kubectl("create", "namespace", NAMESPACE)
        for module in (self._sources, self._kustomize):
            control_plane.kubectl("apply", "--server-side", "-f", str(module.source / "config" / "crd" / "bases"))
        for path in (_KUSTOMIZATIONS, _REPOSITORIES):
            self._rig.until_served(path)
        storage = self._rig.folder / "artifacts"
        storage.mkdir()
        artifacts = free_address()
        storage_options = (
            f"--storage-path={storage}",
            f"--storage-addr={artifacts}",
            f"--storage-adv-addr={artifacts}",
        )
        self._start("source-controller", self._sources, *storage_options)
        self._start("kustomize-controller", self._kustomize)

    def _start(self, name: str, module: build.Module, *options: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KUBE")} | {
            "KUBECONFIG": str(self._rig.plane.control_plane.kubeconfig),
            "RUNTIME_NAMESPACE": NAMESPACE,
            "HOME": str(self._rig.folder),
            "TMPDIR": str(self._rig.group.folder),
        }
        addresses = (f"--metrics-addr={free_address()}", f"--health-addr={free_address()}")
        command = [str(module.binaries / name), "--watch-all-namespaces", "--log-level=debug", *addresses, *options]
        self._rig.start(name, command, environment)

    def add_platform(self, repository: Repository) -> None:
        """Create the shipped Kustomization of the operator, for a repository."""
        platform, _ = _shipped()
        self._add(platform, repository)

    def add_team(
        self,
        name: str,
        repository: Repository,
        namespace: str,
        annotations: dict[str, str] | None = None,
        **changes: Any,  # noqa: ANN401 - fields are JSON
    ) -> None:
        """Create the shipped Kustomization of a team, for a repository and a namespace."""
        _, team = _shipped()
        team["metadata"]["name"] = team["spec"]["sourceRef"]["name"] = name
        team["spec"]["targetNamespace"] = namespace
        team["metadata"]["annotations"] = annotations or {}
        team["spec"] = {key: value for key, value in (team["spec"] | changes).items() if value is not None}
        self._add(team, repository)

    def _add(self, kustomization: Object, repository: Repository) -> None:
        source = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": kustomization["spec"]["sourceRef"]["name"]},
            "spec": {"interval": "10m", "url": repository.url, "ref": {"branch": BRANCH}},
        }
        self._rig.plane.api.do("POST", _REPOSITORIES, source)
        self._rig.plane.api.do("POST", _KUSTOMIZATIONS, kustomization)

    def refresh(self, name: str) -> None:
        """Tell Flux to read Git and the cluster now."""
        self._requests += 1
        request = {"metadata": {"annotations": {_REQUESTED_AT: str(self._requests)}}}
        source = self.get(name)["spec"]["sourceRef"]["name"]
        for path in (f"{_REPOSITORIES}/{source}", f"{_KUSTOMIZATIONS}/{name}"):
            self._rig.plane.api.do("PATCH", path, request)

    def state(self, name: str) -> State:
        """Return the state of a Kustomization."""
        return state(self.get(name))

    def change(self, name: str, spec: Object) -> None:
        """Change fields of the spec of a Kustomization."""
        self._rig.plane.api.do("PATCH", f"{_KUSTOMIZATIONS}/{name}", {"spec": spec})

    def delete(self, name: str) -> None:
        """Delete a Kustomization, with what it has applied."""
        self._rig.plane.api.do("DELETE", f"{_KUSTOMIZATIONS}/{name}")

    def exists(self, name: str) -> bool:
        """Return whether a Kustomization of that name exists."""
        return self._rig.plane.api.ask("GET", f"{_KUSTOMIZATIONS}/{name}").is_success

    def get(self, name: str) -> Object:
        """Return an existing Kustomization."""
        return self._rig.plane.api.do("GET", f"{_KUSTOMIZATIONS}/{name}")


def _shipped() -> list[Object]:
    """Return the Kustomizations of the platform and of the team."""
    return [item for item in load(_SHIPPED.read_text()) if item["kind"] == "Kustomization"]


def state(kustomization: Object) -> State:
    """Return the state of a Kustomization."""
    ready = kstatus.condition(kustomization, "Ready") or {}
    health = _health(kustomization, ready)
    which = "lastAppliedRevision" if health == HEALTHY else "lastAttemptedRevision"
    revision = kustomization.get("status", {}).get(which, "").rpartition(":")[2]
    return State(revision, health != PROGRESSING, health, ready.get("message", ""))


def _health(item: Object, ready: Object) -> str:
    """Return the health of a Kustomization in the terms of Argo CD."""
    if item["spec"].get("suspend"):
        return SUSPENDED
    if ready.get("status") == "True":
        return HEALTHY
    waits = ready.get("status", "Unknown") == "Unknown" or ready.get("reason") == "DependencyNotReady"
    return PROGRESSING if waits else DEGRADED
