"""``make demo``: run the operator on this machine, and show each step as the command that a user would type.

With ``DEMO_EXIT=1`` the demo ends after the last step: the exit code is 0 only if every step had the expected output.
With ``DEMO_KUBECONFIG`` it runs on the cluster of this kubeconfig. Otherwise it runs a control plane: one that is
installed on the machine (``tests.control_plane.installed``), or else one that it builds.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.control_plane.build import BuildError
from tests.control_plane.control_plane import ControlPlane, KubectlError
from tests.control_plane.installed import find
from tests.control_plane.processes import ProcessGroup, StartError
from tests.demo.cluster import ExistingCluster
from tests.demo.terminal import Terminal
from tests.demo.tour import tour
from tests.stack import Operator, Sandbox

OWN_CLUSTER, EXISTING_CLUSTER = "a Kubernetes control plane", "the demo on the cluster of DEMO_KUBECONFIG"
OPTIONS = ("--listen", "off", "--resync-interval", "5s")


def main() -> int:
    """Run the demo, and return the exit code: 0, 1 if a step had unexpected output, 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops everything in order, as Ctrl-C does
    terminal = Terminal()
    try:
        with ExitStack() as stack:
            return _run(terminal, stack)
    except (BuildError, StartError, KubectlError, AssertionError) as error:
        terminal.fail(str(error))
        return 1
    except KeyboardInterrupt:
        terminal.say("stopping")
        return 130


def _run(terminal: Terminal, stack: ExitStack) -> int:
    named = os.environ.get("DEMO_KUBECONFIG")
    terminal.title(f"Starting {EXISTING_CLUSTER if named else OWN_CLUSTER}")
    cluster = ExistingCluster(Path(named)) if named else _control_plane(terminal)
    stack.enter_context(cluster)
    terminal.environment["KUBECONFIG"] = str(cluster.kubeconfig)
    group = ProcessGroup()
    stack.callback(group.close)

    terminal.title("Starting the Atlas sandbox")
    sandbox = Sandbox.start(group)
    terminal.say(f"python -m atlas_sandbox: {sandbox.url}")
    terminal.title("Installing the CRD and the operator's ServiceAccount and RBAC")
    terminal.run("kubectl apply --server-side -k crds/", shows=["atlasprojectinvites.atlasinvites.io"])
    terminal.run("kubectl apply --server-side -k deploy/base/", shows=["clusterrole"])
    terminal.run(
        "kubectl wait --for=condition=Established crd/atlasprojectinvites.atlasinvites.io", shows=["condition met"]
    )
    terminal.title("Starting the operator as its ServiceAccount, with only the rights of deploy/base/")
    terminal.say(f"atlas-invites run --atlas-url {sandbox.url} {' '.join(OPTIONS)}")
    operator = Operator.start(group, cluster, "--atlas-url", sandbox.url, *OPTIONS)
    terminal.say(operator.log.strip().split("\n")[-1])

    tour(terminal, sandbox)
    if os.environ.get("DEMO_EXIT") != "1":
        _stay(terminal, cluster.kubeconfig, sandbox, operator)
    code = operator.stop()
    terminal.title("The operator has stopped")
    terminal.check(code == 0, f"exit code {code} after SIGTERM")
    return terminal.conclude()


def _control_plane(terminal: Terminal) -> ControlPlane:
    """Return a control plane: one that is installed, or else one that is built when it starts."""
    try:
        found = find(os.environ)
    except ValueError as error:
        raise BuildError(str(error)) from error
    if found is None:
        terminal.say("Building etcd, kube-apiserver and kube-controller-manager, once: this takes 5 to 10 minutes.")
        terminal.say("(With KUBEBUILDER_ASSETS, setup-envtest or DEMO_KUBECONFIG no build is needed.)")
        return ControlPlane()
    terminal.say(f"{found.folder} ({found.origin}): nothing to build")
    return ControlPlane(folder=found.folder)


def _stay(terminal: Terminal, kubeconfig: Path, sandbox: Sandbox, operator: Operator) -> None:
    """Keep everything running until Ctrl-C."""
    terminal.title("Everything keeps running. Try it in another terminal:")
    terminal.say(f"export KUBECONFIG={kubeconfig} PATH={Path(sys.executable).parent}:$PATH")
    terminal.say("kubectl get ainv --watch")
    terminal.say(f"tail -f {operator.process.log}")
    terminal.say(f"The sandbox is at {sandbox.url}; docs/sandbox.md lists its control API. Ctrl-C stops everything.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        terminal.say("stopping")


if __name__ == "__main__":
    sys.exit(main())
