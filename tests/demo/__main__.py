"""``make demo``: the whole operator at work on this machine, each step as the command a user would type.

``DEMO_EXIT=1`` ends it by itself: exit code 0 only if every step showed what it should. ``DEMO_KUBECONFIG`` runs it on
the cluster that this kubeconfig names, rather than on a control plane of its own: one that the machine has already
(``tests.control_plane.installed``), else one that is built.
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

OWN_CLUSTER, EXISTING_CLUSTER = "a control plane of its own", "the cluster of DEMO_KUBECONFIG"
OPTIONS = ("--listen", "off", "--resync-interval", "5s")


def main() -> int:
    """Return the exit code: 0, 1 where a step did not show what it should, 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything in order, as Ctrl-C does
    terminal = Terminal()
    try:
        with ExitStack() as stack:
            return _run(terminal, stack)
    except (BuildError, StartError, KubectlError, AssertionError) as error:
        terminal.fail(str(error))
        return 1
    except KeyboardInterrupt:
        terminal.say("ending")
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
    terminal.title("Starting the operator, as its ServiceAccount, with the rights of deploy/base/ and no others")
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
    """Return a control plane: one that is there already, else one that is built when it starts."""
    try:
        found = find(os.environ)
    except ValueError as error:
        raise BuildError(str(error)) from error
    if found is None:
        terminal.say("etcd, kube-apiserver and kube-controller-manager: built once, which takes 5 to 10 minutes")
        terminal.say("(KUBEBUILDER_ASSETS, setup-envtest or DEMO_KUBECONFIG save that)")
        return ControlPlane()
    terminal.say(f"{found.folder} ({found.origin}): nothing to build")
    return ControlPlane(folder=found.folder)


def _stay(terminal: Terminal, kubeconfig: Path, sandbox: Sandbox, operator: Operator) -> None:
    """Leave everything up until Ctrl-C."""
    terminal.title("It stays up to play with. In another terminal:")
    terminal.say(f"export KUBECONFIG={kubeconfig} PATH={Path(sys.executable).parent}:$PATH")
    terminal.say("kubectl get ainv --watch")
    terminal.say(f"tail -f {operator.process.log}")
    terminal.say(f"The sandbox is at {sandbox.url}; docs/sandbox.md lists its levers. Ctrl-C ends everything.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        terminal.say("ending")


if __name__ == "__main__":
    sys.exit(main())
