"""An existing cluster, with the same methods as the control plane of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.control_plane.build import tool
from tests.control_plane.control_plane import KubectlError

if TYPE_CHECKING:
    from types import TracebackType

NAMESPACE = "atlas-invites-demo"
"""The namespace of the demo's objects on an existing cluster; the demo deletes it at the end."""


class ExistingCluster:
    """The cluster of a kubeconfig's current context.

    Args:
        named: the kubeconfig; it is copied, never changed.
    """

    def __init__(self, named: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="atlas-invites-")
        self._named = named
        self.kubeconfig = named

    def __enter__(self) -> Self:
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout)
        config["contexts"][0]["context"]["namespace"] = NAMESPACE
        self._config = config
        self.kubeconfig = self._write("demo", config)
        self.kubectl("create", "namespace", NAMESPACE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        self._folder.cleanup()

    def kubectl(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return its output.

        Raises:
            KubectlError: kubectl failed.
        """
        done = subprocess.run(  # noqa: S603 - the demo says what to run
            [tool("kubectl"), *args],
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(args)} failed: {done.stderr.strip()}")
        return done

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig file for a ServiceAccount, with a token for one hour or as long as the cluster allows."""
        token = self.kubectl("create", "token", service_account, "--namespace", namespace).stdout.strip()
        config: dict[str, Any] = json.loads(json.dumps(self._config))
        config["users"][0]["user"] = {"token": token}
        return self._write(service_account, config)

    def _write(self, name: str, config: dict[str, Any]) -> Path:
        path = Path(self._folder.name) / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path
