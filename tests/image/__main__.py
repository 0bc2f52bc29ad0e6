"""``make image-test``: build the image without a container registry, and run it as Kubernetes would.

The container is read-only, including /tmp. It runs as user 10001, without capabilities, with the ServiceAccount of
deploy/ and the arguments of its Deployment, against a real control plane and the Atlas sandbox. An invitation must
become Ready.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup
from tests.deploy.manifests import CRD, DEPLOY, kustomized, of_kind
from tests.deploy.running import NAME, apply, invite, put_secret, wait_for
from tests.image.engine import Engine, EngineError
from tests.stack import PRIVATE_KEY, PUBLIC_KEY, Sandbox, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "localhost/atlas-invites:test"
USER = 10001
ANY_USER = "1000650000:0"
"""A user like those that OpenShift assigns to each namespace."""
NO_COMMANDS = ("pip", "pip3", "gcc", "cc", "make")
NO_MODULES = ("pip", "ensurepip", "setuptools", "hatchling", "atlas_sandbox")


def main() -> int:
    """Run the test, and return the exit code: 0, or 1 with the failure on standard error."""
    try:
        with ExitStack() as stack:
            engine = Engine(os.environ.get("PYTHON_IMAGE"))
            stack.callback(engine.close)
            _say("building the image")
            engine.build(IMAGE)
            _look(engine.inspect(IMAGE))
            _look_inside(engine)
            _run(engine, stack)
    except (EngineError, AssertionError) as error:
        sys.stderr.write(f"image-test: {error}\n")
        return 1
    _say("all checks of the image passed")
    return 0


def _look(image: dict[str, Any]) -> None:
    """Check the metadata of the image."""
    config = image["Config"]
    assert config["User"] == f"{USER}:{USER}", "the user must be a number that is not root"
    assert config["Entrypoint"] == ["atlas-invites"]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert config["Labels"][f"org.opencontainers.image.{label}"], f"the label {label} is missing"
    _say(f"user {config['User']}, entrypoint {config['Entrypoint']}, {image['Size'] // 10**6} MB, all labels are set")


def _look_inside(engine: Engine) -> None:
    """Check that the image contains no installer, no compiler and no sandbox."""
    script = (
        "import importlib.util, json, shutil\n"
        f"found = [name for name in {NO_COMMANDS!r} if shutil.which(name)]\n"
        f"found += [name for name in {NO_MODULES!r} if importlib.util.find_spec(name)]\n"
        "print(json.dumps(found))"
    )
    found = json.loads(engine.run("--rm", "--entrypoint", "/opt/atlas-invites/bin/python", IMAGE, "-c", script))
    assert found == [], f"the image must not contain {found}"
    assert engine.run("--rm", IMAGE, "--version").strip()
    assert engine.run("--rm", "--user", ANY_USER, IMAGE, "--version").strip()
    _say("the image contains neither pip nor a compiler, and runs as any user")


def _run(engine: Engine, stack: ExitStack) -> None:
    """Run the image as the Deployment would, and check that it works."""
    group = ProcessGroup()
    stack.callback(group.close)
    sandbox = Sandbox.start(group)
    cluster = stack.enter_context(ControlPlane())
    cluster.kubectl("apply", "-k", str(DEPLOY))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", CRD)
    cluster.kubectl("create", "namespace", "team-a")
    (deployment,) = of_kind(kustomized(DEPLOY), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    port = free_port()

    name = f"atlas-invites-{os.getpid()}"
    host, _, api_port = cluster.url.removeprefix("https://").partition(":")
    engine.run(
        *("--detach", "--name", name),
        *("--env", f"KUBERNETES_SERVICE_HOST={host}", "--env", f"KUBERNETES_SERVICE_PORT={api_port}"),
        *("--volume", f"{_service_account(cluster)}:/var/run/secrets/kubernetes.io/serviceaccount:ro"),
        *(IMAGE, *container["args"], "--atlas-url", sandbox.url, "--listen", f"127.0.0.1:{port}"),
    )
    stack.callback(engine.remove, name)
    _say(f"running it: {' '.join(container['args'])}, read-only, user {USER}, no capabilities")
    try:
        wait_until("/readyz responds with 200", lambda: _is_ok(f"http://127.0.0.1:{port}/readyz"))
        _look_at_process(engine.pid(name))
        put_secret(cluster, "team-a")
        apply(cluster, "team-a", invite("jane", sandbox.control("POST", "/projects", {})["id"]))
        wait_for(cluster, "team-a", "jane")
        _say(cluster.kubectl("get", "ainv", "--namespace", "team-a").stdout.rstrip())
        assert _is_ok(f"http://127.0.0.1:{port}/healthz")
        _plan(engine, sandbox)
        assert "atlas_invites_leader 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except AssertionError as error:
        raise AssertionError(f"{error}\n{engine.logs(name)}") from None
    assert engine.stop(name) == 0, f"the exit code after SIGTERM is not 0:\n{engine.logs(name)}"
    _say("exit code 0 after SIGTERM")


def _plan(engine: Engine, sandbox: Sandbox) -> None:
    """Check that the image exports a project and shows a plan, as in docs/plan.md."""
    project = sandbox.control("POST", "/projects", {})["id"]
    sandbox.control("POST", f"/projects/{project}/invitations", {"username": "ann@example.com"})
    variables = {"MONGODB_ATLAS_PUBLIC_API_KEY": PUBLIC_KEY, "MONGODB_ATLAS_PRIVATE_API_KEY": PRIVATE_KEY}
    options = ["--rm", "--interactive", *(f"--env={name}={value}" for name, value in variables.items()), IMAGE]
    manifests = engine.run(*options, "export", "--group-id", project, "--atlas-url", sandbox.url)
    shown = engine.run(*options, "plan", "-f", "-", "--atlas-url", sandbox.url, stdin=manifests)
    assert shown.startswith("= no change"), shown
    _say(f"export and plan: {shown.splitlines()[-1]}")


def _service_account(cluster: ControlPlane) -> Path:
    """Return a folder like the one in a Pod of the operator: token, CA and namespace."""
    folder = cluster.folder / "service-account"
    folder.mkdir()
    token = cluster.kubectl("create", "token", NAME, "--namespace", NAME).stdout.strip()
    files = {
        "token": token,
        "ca.crt": (cluster.folder / "certificates" / "apiserver.crt").read_text(),
        "namespace": NAME,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    cluster.folder.chmod(0o711)  # the container's user must be able to enter it
    return folder


def _look_at_process(pid: int) -> None:
    """Check the user, the capabilities and the mounts of the process, as the kernel reports them."""
    lines = open(f"/proc/{pid}/status").read().splitlines()  # noqa: PTH123, SIM115 - not a file on disk
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == [str(USER)] * 4, status["Uid"]
    assert {status[f"Cap{set_}"] for set_ in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    mounts = dict(line.split()[4:6] for line in open(f"/proc/{pid}/mountinfo").read().splitlines())  # noqa: PTH123, SIM115
    assert "ro" in mounts["/"].split(","), mounts["/"]
    assert "/tmp" not in mounts, "the Deployment has no writable /tmp"  # noqa: S108
    _say(f"process {pid}: user {USER}, no capabilities, no new privileges, everything read-only, including /tmp")


def _is_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def _say(text: str) -> None:
    sys.stdout.write(f"image-test: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
