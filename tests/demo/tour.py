"""The steps of the demo: the life of invitations, from a manifest to the end of the Invites API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.stack import PRIVATE_KEY, PROJECT, PUBLIC_KEY

if TYPE_CHECKING:
    from tests.demo.terminal import Terminal
    from tests.stack import Sandbox

EXAMPLES = "deploy/examples"
BY_ID, BY_EMAIL, EVERY_POLICY = (
    f"{EXAMPLES}/{name}.yaml" for name in ("invitation-by-id", "invitation", "all-policies")
)
EXAMPLE_ID = "5f3c9d2e8a7b6c5d4e3f2a1b"
NO_PROJECT = "fedcba9876543210fedcba98"
SECRETS = f"""\
kubectl create secret generic atlas-credentials \\
    --from-literal=publicApiKey={PUBLIC_KEY} --from-literal=privateApiKey={PRIVATE_KEY}
kubectl create secret generic atlas-service-account \\
    --from-literal=clientId=mdb_sa_id_sandbox --from-literal=clientSecret=mdb_sa_sk_sandbox"""

CREDENTIALS = f"MONGODB_ATLAS_PUBLIC_API_KEY={PUBLIC_KEY} MONGODB_ATLAS_PRIVATE_API_KEY={PRIVATE_KEY}"


def tour(terminal: Terminal, sandbox: Sandbox) -> None:
    """Run all parts of the demo in order."""
    _by_id(terminal, sandbox)
    _plan(terminal, sandbox)
    _by_email(terminal, sandbox)
    _members(terminal, sandbox)
    _plan_with_cluster(terminal, sandbox)
    _rename(terminal, sandbox)
    _expiry(terminal, sandbox)
    _sunset(terminal, sandbox)


def _by_id(terminal: Terminal, sandbox: Sandbox) -> None:
    id_ = sandbox.invite("ann@example.com", ["GROUP_READ_ONLY"])["id"]
    curl = (
        f'curl --user "{PUBLIC_KEY}:{PRIVATE_KEY}" --digest --silent '
        f'--header "Accept: application/vnd.atlas.2023-01-01+json" '
        f'"{sandbox.url}/api/atlas/v2/groups/{PROJECT}/invites/{id_}?pretty=true"'
    )
    terminal.title("An administrator has invited ann@example.com in Atlas")
    terminal.run(curl, shows=["ann@example.com", "GROUP_READ_ONLY"])

    terminal.title("The invitation becomes a Kubernetes resource")
    terminal.run(SECRETS, shows=["atlas-credentials created", "atlas-service-account created"])
    terminal.run(f"sed s/{EXAMPLE_ID}/{id_}/ {BY_ID} | kubectl apply -f -", shows=["by-id created"])
    _wait(terminal, "by-id", "condition=Ready")
    terminal.run("kubectl get ainv", shows=["by-id", "True", "Pending", "ann@example.com"])

    terminal.title("The operator has set the roles of the manifest: this is the invitation in Atlas now")
    terminal.run(curl, shows=["GROUP_BACKUP_MANAGER"])

    terminal.title("A change of the roles in the manifest")
    _patch(terminal, "by-id", {"roles": ["GROUP_READ_ONLY", "GROUP_CLUSTER_MANAGER"]})
    _wait(terminal, "by-id", "jsonpath='{.status.observedGeneration}'=2")
    terminal.run("kubectl get ainv -o wide", shows=["GROUP_READ_ONLY", "GROUP_CLUSTER_MANAGER", "Invited"])
    terminal.run(curl, shows=["GROUP_CLUSTER_MANAGER", "GROUP_READ_ONLY"])

    terminal.title("The API server rejects a role that Atlas does not have")
    patch = json.dumps({"spec": {"roles": ["GROUP_READER"]}})
    terminal.run(f"kubectl patch ainv by-id --type=merge -p '{patch}'", fails=True, shows=["spec.roles", "GROUP_OWNER"])

    terminal.title("Status shows the full error of Atlas, here for a project that does not exist")
    terminal.run(
        f"sed -e s/{PROJECT}/{NO_PROJECT}/ -e 's/name: by-id/name: lost/' {BY_ID} | kubectl apply -f -",
        shows=["lost created"],
    )
    _wait(terminal, "lost", "condition=Stalled")
    terminal.run(
        'kubectl get ainv lost -o jsonpath=\'{.status.conditions[?(@.type=="Ready")].reason}{"\\n"}{.status.error}\'',
        shows=["ProjectNotFound", "GROUP_NOT_FOUND", "ListInvites", "404"],
    )

    terminal.title("Deletion of the object: the adopted invitation stays in Atlas (deletionPolicy: Retain)")
    terminal.run("kubectl delete ainv by-id lost --timeout=30s", shows=["by-id", "lost", "deleted"])
    terminal.run("kubectl get ainv", shows=["No resources found"])
    terminal.run(curl, shows=[id_, "GROUP_CLUSTER_MANAGER"])


def _plan(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("A plan shows who would get an e-mail. It writes nothing, and needs no cluster")
    terminal.run(
        f"{CREDENTIALS} atlas-invites plan -f {BY_EMAIL} -f {EVERY_POLICY} --atlas-url {sandbox.url}",
        shows=["+ send", "default/jane", "default/all-policies", "Atlas sends 2 e-mails."],
    )
    _check_sent(terminal, sandbox, 0)


def _plan_with_cluster(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("With --cluster a plan reads the status of the objects; with --prune it also shows deletions")
    terminal.run(
        f"{CREDENTIALS} atlas-invites plan --cluster --prune -f {BY_EMAIL} --atlas-url {sandbox.url}",
        shows=["= no change", "RolesDiffer", "- cancel", "default/all-policies", "Atlas sends no e-mail."],
    )


def _by_email(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("An invitation by e-mail: Atlas sends it")
    terminal.run(f"kubectl apply -f {BY_EMAIL} -f {EVERY_POLICY}", shows=["jane created", "all-policies created"])
    _wait(terminal, "jane", "condition=Ready")
    _wait(terminal, "all-policies", "condition=Ready")
    terminal.run("kubectl get ainv", shows=["jane@example.com", "joan@example.com", "Pending"])
    _check_sent(terminal, sandbox, 2)


def _members(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("Jane accepts: the object stays Ready")
    _control(terminal, sandbox, f"projects/{PROJECT}/accept", {"username": "jane@example.com"})
    _wait(terminal, "jane", "condition=Accepted")
    terminal.run("kubectl get ainv jane", shows=["True", "Accepted"])

    terminal.title("The roles of a member: reported by default, set from the manifest with memberPolicy: Manage")
    _patch(terminal, "jane", {"roles": ["GROUP_CLUSTER_MANAGER"]})
    _wait(terminal, "jane", _READY_REASON.format("RolesDiffer"))
    terminal.run("kubectl get ainv jane -o jsonpath='{.status.member}'", shows=["GROUP_READ_ONLY", "ACTIVE"])
    _patch(terminal, "jane", {"memberPolicy": "Manage"})
    _wait(terminal, "jane", _READY_REASON.format("Accepted"))
    terminal.run("kubectl get ainv jane -o jsonpath='{.status.member}'", shows=["GROUP_CLUSTER_MANAGER", "ACTIVE"])
    terminal.run("kubectl describe ainv jane | sed -n '/^Events/,$p'", shows=["InvitationSent", "RolesUpdated"])


def _rename(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("A rename, as GitOps tools do it: the new object takes over, and Atlas sends and cancels nothing")
    terminal.run(
        f"sed -e 's/jane/max/' {BY_EMAIL} | kubectl apply -f -",
        shows=["max created"],
    )
    _wait(terminal, "max", "condition=Ready")
    terminal.run("kubectl delete ainv max --wait=false", shows=["deleted"])
    terminal.run(
        "sed -e 's/  name: jane/  name: maximilian/; s/jane@/max@/' " + BY_EMAIL + " | kubectl apply -f -",
        shows=["created"],
    )
    _wait(terminal, "maximilian", "condition=Ready")
    terminal.run("kubectl get ainv maximilian -o jsonpath='{.status.origin}'", shows=["Created"])
    _check_sent(terminal, sandbox, 3)


def _expiry(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("31 days pass and the invitees do not accept: reinvitePolicy decides")
    _control(terminal, sandbox, "clock", {"advanceSeconds": 31 * 24 * 3600})
    _wait(terminal, "maximilian", _READY_REASON.format("InvitationExpired"))
    _wait(terminal, "all-policies", _READY_REASON.format("ConfirmingInvitation"))
    terminal.run("kubectl get ainv -o wide", shows=["Expired", "ConfirmingInvitation"])
    terminal.say(
        "Before the operator sends again, it waits a minute and confirms in Atlas, so that nobody is invited twice."
    )
    _wait(terminal, "all-policies", _READY_REASON.format("Invited"), seconds=120)
    terminal.run("kubectl get ainv", shows=["Pending", "Expired"])
    _check_sent(terminal, sandbox, 4)


def _sunset(terminal: Terminal, sandbox: Sandbox) -> None:
    terminal.title("1 July 2027: Atlas ends the Invites API, and the operator switches to the Users API")
    sandbox.control("PATCH", "/settings", {"sunset": {"mode": "clock"}})
    _control(terminal, sandbox, "clock", {"now": "2027-07-01T08:00:00Z"})
    terminal.run(f"sed -e s/jane/zoe/ {BY_EMAIL} | kubectl apply -f -", shows=["zoe created"])
    _wait(terminal, "zoe", "condition=Ready")
    terminal.run(
        "kubectl get ainv zoe -o jsonpath='{.status.atlas}{\"\\n\"}{.status.invitation}'",
        shows=['"api":"Users"', "zoe@"],
    )


_READY_REASON = """jsonpath='{{.status.conditions[?(@.type=="Ready")].reason}}'={}"""


def _wait(terminal: Terminal, name: str, condition: str, seconds: int = 30) -> None:
    terminal.run(f"kubectl wait --for={condition} ainv/{name} --timeout={seconds}s", shows=["condition met"])


def _patch(terminal: Terminal, name: str, spec: dict[str, object]) -> None:
    terminal.run(f"kubectl patch ainv {name} --type=merge -p '{json.dumps({'spec': spec})}'", shows=["patched"])


def _control(terminal: Terminal, sandbox: Sandbox, path: str, body: dict[str, object]) -> None:
    """Act as a person in Atlas, or move the clock of the sandbox."""
    terminal.say(f"POST {sandbox.url}/_sandbox/{path} {json.dumps(body)}")
    sandbox.control("POST", f"/{path}", body)


def _check_sent(terminal: Terminal, sandbox: Sandbox, expected: int) -> None:
    """Check how many invitations the operator has sent; the first one, by an administrator, took two calls (digest)."""
    counts = sandbox.control("GET", "/calls")["counts"]
    sent = counts.get("CreateInvite", 0) + counts.get("AddUser", 0) - 2
    terminal.check(sent == expected, f"invitations sent by the operator so far: {sent}")
