"""``make demo``: the whole operator at work on this machine, each step as the command a user would type.

``DEMO_EXIT=1`` ends it by itself: exit code 0 only if every step showed what it should. ``DEMO_KUBECONFIG`` runs it on
the cluster that this kubeconfig names, rather than on a control plane of its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.control_plane.build import BuildError
from tests.control_plane.control_plane import ControlPlane, KubectlError
from tests.control_plane.processes import ProcessGroup, StartError
from tests.demo.cluster import ExistingCluster
from tests.demo.terminal import Terminal
from tests.stack import PRIVATE_KEY, PROJECT, PUBLIC_KEY, Operator, Sandbox

OWN_CLUSTER, EXISTING_CLUSTER = "a control plane of its own", "the cluster of DEMO_KUBECONFIG"
EXAMPLE = "deploy/examples/invitation-by-id.yaml"
EXAMPLE_ID = "5f3c9d2e8a7b6c5d4e3f2a1b"
NO_PROJECT = "fedcba9876543210fedcba98"
SECRET = f"""\
kubectl create secret generic atlas-credentials \\
    --from-literal=publicApiKey={PUBLIC_KEY} --from-literal=privateApiKey={PRIVATE_KEY}"""


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
    if not named:
        terminal.say("etcd, kube-apiserver and kube-controller-manager (built once, which takes 5 to 10 minutes)")
    cluster: ExistingCluster | ControlPlane = ExistingCluster(Path(named)) if named else ControlPlane()
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
    terminal.say(f"atlas-invites run --atlas-url {sandbox.url} --listen off")
    operator = Operator.start(group, cluster, "--atlas-url", sandbox.url, "--listen", "off")
    terminal.say(operator.log.strip().split("\n")[-1])

    _tour(terminal, sandbox)
    if os.environ.get("DEMO_EXIT") != "1":
        _stay(terminal, cluster.kubeconfig, sandbox, operator)
    code = operator.stop()
    terminal.title("The operator has stopped")
    terminal.check(code == 0, f"exit code {code} after SIGTERM")
    return terminal.conclude()


def _tour(terminal: Terminal, sandbox: Sandbox) -> None:
    invitation = sandbox.invite("jane@example.com", ["GROUP_READ_ONLY"])
    id_ = invitation["id"]
    curl = (
        f'curl --user "{PUBLIC_KEY}:{PRIVATE_KEY}" --digest --silent '
        f'--header "Accept: application/vnd.atlas.2023-01-01+json" '
        f'"{sandbox.url}/api/atlas/v2/groups/{PROJECT}/invites/{id_}?pretty=true"'
    )

    terminal.title("Somebody has invited jane@example.com in Atlas")
    terminal.run(curl, shows=["jane@example.com", "GROUP_READ_ONLY"])

    terminal.title("The invitation becomes a Kubernetes resource")
    terminal.run(SECRET, shows=["created"])
    terminal.run(f"sed s/{EXAMPLE_ID}/{id_}/ {EXAMPLE} | kubectl apply -f -", shows=["by-id created"])
    terminal.run("kubectl wait --for=condition=Ready ainv/by-id --timeout=30s", shows=["condition met"])
    terminal.run("kubectl get ainv", shows=["by-id", "True", "Pending", "jane@example.com"])

    terminal.title("The operator has set the roles of the manifest: this is what Atlas holds now")
    terminal.run(curl, shows=["GROUP_BACKUP_MANAGER"])

    terminal.title("A role is changed")
    patch = json.dumps({"spec": {"roles": ["GROUP_READ_ONLY", "GROUP_CLUSTER_MANAGER"]}})
    terminal.run(f"kubectl patch ainv by-id --type=merge -p '{patch}'", shows=["patched"])
    terminal.run(
        "kubectl wait --for=jsonpath='{.status.observedGeneration}'=2 ainv/by-id --timeout=30s", shows=["condition met"]
    )
    terminal.run("kubectl wait --for=condition=Ready ainv/by-id --timeout=30s", shows=["condition met"])
    terminal.run("kubectl get ainv -o wide", shows=["GROUP_READ_ONLY", "GROUP_CLUSTER_MANAGER", "Invited"])
    terminal.run(curl, shows=["GROUP_CLUSTER_MANAGER", "GROUP_READ_ONLY"])

    terminal.title("A role that Atlas does not have is refused by the API server")
    patch = json.dumps({"spec": {"roles": ["GROUP_READER"]}})
    terminal.run(f"kubectl patch ainv by-id --type=merge -p '{patch}'", fails=True, shows=["spec.roles", "GROUP_OWNER"])

    terminal.title("An error of Atlas stands whole on status: a project that does not exist")
    terminal.run(
        f"sed -e s/{PROJECT}/{NO_PROJECT}/ -e 's/name: by-id/name: lost/' {EXAMPLE} | kubectl apply -f -",
        shows=["lost created"],
    )
    terminal.run("kubectl wait --for=condition=Stalled ainv/lost --timeout=30s", shows=["condition met"])
    terminal.run(
        'kubectl get ainv lost -o jsonpath=\'{.status.conditions[?(@.type=="Ready")].reason}{"\\n"}{.status.error}\'',
        shows=["ProjectNotFound", "GROUP_NOT_FOUND", "ListInvites", "404"],
    )

    terminal.title("Deleting: what was adopted stays in Atlas (deletionPolicy: Retain)")
    terminal.run("kubectl delete ainv by-id lost --timeout=30s", shows=["by-id", "lost", "deleted"])
    terminal.run("kubectl get ainv", shows=["No resources found"])
    terminal.run(curl, shows=[id_, "GROUP_CLUSTER_MANAGER"])


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
