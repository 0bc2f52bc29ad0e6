"""``atlas-invites plan`` as a process: its output, its exit codes, and that it never writes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.preview.lines import as_json, as_text
from atlas_sandbox.faults import Fault
from atlas_sandbox.people import reach
from atlas_sandbox.sandbox import PROJECT_ID
from tests.contract.conftest import CANARY
from tests.contract.test_export import done, started
from tests.unit.specs import invite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.conftest import Bench

READS = {"ListInvites", "ListUsers", "ReadInvite", "ReadUser", "ReadProject", "Token"}
OTHER_PROJECT = "a" * 24


def manifests(path: Path, *bodies: dict[str, Any], name: str = "m.yaml") -> str:
    """Write manifests into a file and return its name."""
    file = path / name
    file.write_text("\n---\n".join(map(json.dumps, bodies)))
    return str(file)


def people(*names: str, **changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - fields of a spec
    return [invite({"username": f"{name}@example.com"}, changes, name=name) for name in names]


@pytest.fixture
def invited(bench: Bench) -> Bench:
    """A project in which ann is pending, with one role."""
    state = bench.sandbox.state
    state.invite(state.project(PROJECT_ID), "ann@example.com", ("GROUP_READ_ONLY",), "inviter")
    return bench


async def test_text(invited: Bench, tmp_path: Path) -> None:
    """A line for each object, and a summary that counts the e-mails; without colors if it is not a terminal."""
    file = manifests(tmp_path, *people("ann", "bob"), *people("zoe", suspend=True))
    code, out, err = await done("plan", "-f", file, "--atlas-url", invited.url)
    assert (code, err) == (0, "")
    assert out.decode().splitlines() == [
        "= no change       default/ann Invited",
        "+ send            default/bob bob@example.com: GROUP_READ_ONLY",
        "= no change       default/zoe Suspended: Reconciliation is suspended.",
        "3 objects: 1 to send, 2 without change. Atlas sends 1 e-mail.",
    ]


async def test_a_reference_without_a_cluster(invited: Bench, tmp_path: Path) -> None:
    """Its result is not known, so the number of e-mails is a minimum, and the exit code is 1."""
    file = manifests(tmp_path, *people("bob"), *people("zoe", groupId=None, projectRef={"name": "p"}))
    plan = ("plan", "-f", file, "--detailed-exitcode", "--atlas-url", invited.url)
    code, out, err = await done(*plan)
    assert (code, err) == (1, "")
    _, zoe, summary = out.decode().splitlines()
    assert zoe.startswith("! needs attention default/zoe ProjectNotReady: The plan for this object is unknown: the id")
    assert summary == (
        "2 objects: 1 to send, 1 needing attention. 1 object could not be planned; Atlas sends at least 1 e-mail."
    )
    code, out, _ = await done(*plan, "--output", "json")
    found = json.loads(out)
    assert code == 1
    assert [one["failed"] for one in found["objects"]] == [False, True]
    assert (found["summary"]["failed"], found["summary"]["emails"]) == (1, 1)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_what_atlas_does_not_show_is_unknown(invited: Bench, tmp_path: Path, status: int) -> None:
    """An error of Atlas never counts as no e-mail."""
    invited.fault(Fault("status", frozenset({"ListUsers"}), status=status, count=None))
    plan = ("plan", "-f", manifests(tmp_path, *people("bob", "zoe")), "--atlas-url", invited.url)
    code, out, _ = await done(*plan)
    assert code == 1
    assert out.decode().splitlines()[-1] == (
        "2 objects: 2 needing attention. 2 objects could not be planned; Atlas sends at least 0 e-mails."
    )


async def test_json(invited: Bench, tmp_path: Path) -> None:
    """The same as JSON for programs."""
    file = manifests(tmp_path, *people("ann", roles=["GROUP_OWNER"]), *people("bob"))
    code, out, _ = await done("plan", "-f", file, "--output", "json", "--atlas-url", invited.url)
    plan = json.loads(out)
    assert code == 0
    assert plan["summary"]["emails"] == 1
    assert plan["summary"]["actions"]["set roles"] == plan["summary"]["actions"]["send"] == 1
    ann, bob = plan["objects"]
    assert (ann["action"], ann["rolesAdded"], ann["rolesRemoved"]) == (
        "set roles",
        ["GROUP_OWNER"],
        ["GROUP_READ_ONLY"],
    )
    assert (bob["namespace"], bob["name"], bob["emails"], bob["atlasWrites"]) == ("default", "bob", 1, ["CreateInvite"])
    assert bob["source"] == {"file": file, "document": 2, "item": None}


@pytest.mark.parametrize(("name", "code"), [("ann", 0), ("bob", 2)])
async def test_the_detailed_exit_code(invited: Bench, tmp_path: Path, name: str, code: int) -> None:
    """2 if something would change, else 0; without the flag always 0."""
    plan = ("plan", "-f", manifests(tmp_path, *people(name)), "--atlas-url", invited.url)
    assert (await done(*plan, "--detailed-exitcode"))[0] == code
    assert (await done(*plan))[0] == 0


async def test_every_fault_is_a_line(invited: Bench, tmp_path: Path) -> None:
    """File, document, field and rule; all faults are listed, Atlas is not even read, and the exit code is 1."""
    first = manifests(tmp_path, *people("ann", roles=["ROOT"], suspend="yes"), *people("ann"), name="a.yaml")
    second = manifests(tmp_path, {"kind": "Other"}, *people("bob", groupId="x"), name="b.yaml")
    (tmp_path / "c.yaml").write_text("a: [")
    code, out, err = await done(
        *("plan", "-f", str(tmp_path), "-f", str(tmp_path / "none"), "--detailed-exitcode"),
        *("--output", "json", "--atlas-url", invited.url),
    )
    assert (code, out) == (1, b"")
    starts = [
        f"{first}, document 1: spec.roles[0]: Unsupported value",
        f"{first}, document 1: spec.suspend: must be of type boolean",
        f"{second}, document 2: spec.groupId: groupId must be 24 hex digits",
        f"{tmp_path}/c.yaml, document 1: not valid YAML (line 2)",
        f"{tmp_path}/none: cannot be read: No such file or directory",
    ]
    lines = err.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"atlas-invites: {start}")
    assert invited.calls() == []


async def test_an_error_of_atlas(invited: Bench, tmp_path: Path) -> None:
    """The object's line shows it in full; the other project has its lines, and the exit code is 1."""
    file = manifests(tmp_path, *people("ann"), *people("bob", groupId=OTHER_PROJECT))
    code, out, err = await done("plan", "-f", file, "--detailed-exitcode", "--atlas-url", invited.url)
    assert (code, err) == (1, "")
    lines = out.decode().splitlines()
    assert lines[0] == "= no change       default/ann Invited"
    assert lines[2].endswith(" 1 object could not be planned; Atlas sends at least 0 e-mails.")
    assert lines[1].startswith("! needs attention default/bob ProjectNotFound: Atlas did not find the project")
    assert '"errorCode": "GROUP_NOT_FOUND"' in lines[1]


async def test_no_connection(tmp_path: Path) -> None:
    """If Atlas cannot be reached, no line says "no change", and the exit code is 1."""
    code, out, _ = await done("plan", "-f", manifests(tmp_path, *people("ann")), "--atlas-url", "http://127.0.0.1:9")
    assert code == 1
    assert out.startswith(b"! needs attention default/ann AtlasUnavailable: Atlas is unavailable")


async def test_nothing_to_plan(invited: Bench, tmp_path: Path) -> None:
    """Manifests without an invitation are no error."""
    code, out, err = await done("plan", "-f", manifests(tmp_path, {"kind": "Other"}), "--atlas-url", invited.url)
    assert (code, out, err) == (0, b"No AtlasProjectInvite found: nothing would change.\n", "")


async def test_pruning_needs_a_manifest(invited: Bench, tmp_path: Path) -> None:
    """Without a manifest no namespace is compared, whereas a GitOps tool deletes all that it has applied."""
    file = manifests(tmp_path, {"kind": "Other"})
    code, out, err = await done("plan", "-f", file, "--cluster", "--prune", "--atlas-url", invited.url)
    assert (code, out) == (1, b"")
    assert err == (
        "atlas-invites: --prune has nothing to compare: no AtlasProjectInvite was found, so no namespace of the "
        "cluster is compared, but a GitOps tool would delete every object that it has applied. Check --file, or "
        "keep a manifest in each namespace.\n"
    )


def test_the_summary_names_the_pruned_namespaces() -> None:
    """It says nothing about the others."""
    assert as_text([], color=False, compared=["a", "b"]).endswith(" Compared for pruning: namespaces a, b.\n")
    assert as_text([], color=False, compared=["a"]).endswith(" Compared for pruning: namespace a.\n")
    assert json.loads(as_json([], compared=["a"]))["summary"]["comparedNamespaces"] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--file (ATLAS_INVITES_FILES)"),
        (["-f", "m.yaml", "--prune"], "--prune (ATLAS_INVITES_PRUNE): needs --cluster"),
        (["-f", "m.yaml", "--output", "xml"], "--output (ATLAS_INVITES_OUTPUT)"),
        (["-f", "m.yaml", "--fast"], "unknown option --fast"),
        (["-f"], "expected one argument"),
    ],
)
async def test_invalid_settings(arguments: list[str], said: str) -> None:
    """They are one line and exit code 1: 2 would mean that something changes."""
    code, out, err = await done("plan", *arguments)
    assert (code, out) == (1, b"")
    assert said in err
    assert err.count("\n") == 1


async def test_standard_input(invited: Bench, tmp_path: Path) -> None:
    """``kustomize build | atlas-invites plan -f -``."""
    file = manifests(tmp_path, *people("bob"))
    code, out, _ = await done("plan", "-f", "-", "--atlas-url", invited.url, redirect=f"<{file}")
    assert code == 0
    assert out.startswith(b"+ send")


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_color(invited: Bench, tmp_path: Path, variables: dict[str, str], colored: bool) -> None:  # noqa: FBT001
    """Only on a terminal, and not if NO_COLOR is set."""
    master, terminal = pty.openpty()
    try:
        plan = ("plan", "-f", manifests(tmp_path, *people("bob")), "--atlas-url", invited.url)
        async with started(plan, variables, out=terminal) as process:
            await process.wait()
        out = await asyncio.to_thread(os.read, master, 65536)
    finally:
        os.close(master)
        os.close(terminal)
    assert (b"\033[32m+ send" in out) == colored
    assert (b"\033" in out) == colored


@pytest.mark.parametrize("sunset", ["off", "on"])
@pytest.mark.parametrize(
    "options", [[], ["--detailed-exitcode"], ["--output", "json"], ["--output", "json", "--detailed-exitcode"]]
)
async def test_it_never_writes(invited: Bench, tmp_path: Path, options: list[str], sunset: str) -> None:
    """With every option, whatever would be sent and changed, Atlas is only read."""
    invited.change({"sunset": {"mode": sunset}})
    bodies = [
        *people("ann", roles=["GROUP_OWNER"]),
        *people("bob", "zoe", memberPolicy="Manage", reinvitePolicy="OnExpiry"),
    ]
    code, out, _ = await done("plan", "-f", manifests(tmp_path, *bodies), *options, "--atlas-url", invited.url)
    assert code in {0, 2}
    assert b"send" in out
    assert set(invited.calls()) <= READS


@pytest.mark.parametrize("sunset", ["off", "on"])
async def test_an_export_changes_nothing(bench: Bench, tmp_path: Path, sunset: str) -> None:
    """Every line of the plan of an export says "no change", also for members and pending people of both APIs.

    People who are in a project through a team or the organization are not exported.
    """
    state = bench.sandbox.state
    for project in (state.project(PROJECT_ID), state.add_project(OTHER_PROJECT, "other")):
        for number, roles in enumerate([("GROUP_READ_ONLY",), ("GROUP_OWNER", "GROUP_CLUSTER_MANAGER")]):
            state.invite(project, f"invited{number}@example.com", roles, "inviter")
            state.invite_user(project, f"added{number}@example.com", roles, "inviter")
            state.activate(project, f"member{number}@example.com", roles)
        reach(state, project, "team@example.com", ("GROUP_OWNER",), "team")
        reach(state, project, "org@example.com", ("GROUP_OWNER",), "organization")
    bench.change({"sunset": {"mode": sunset}})
    pending = 2 if sunset == "on" else 4
    folder = tmp_path / "out"
    code, out, err = await done(
        *("export", "--members", "--all-projects", "--namespace", "team-a"),
        *("--output-directory", str(folder), "--atlas-url", bench.url),
    )
    assert (code, out, err) == (0, b"", "")
    assert sorted(file.name for file in folder.iterdir()) == sorted([f"{PROJECT_ID}.yaml", f"{OTHER_PROJECT}.yaml"])
    code, out, err = await done("plan", "-f", str(folder), "--detailed-exitcode", "--atlas-url", bench.url)
    assert (code, err) == (0, "")
    *lines, summary = out.decode().splitlines()
    assert all(line.startswith("= no change") for line in lines)
    assert summary == f"{2 * (pending + 2)} objects: {2 * (pending + 2)} without change. Atlas sends no e-mail."
    assert set(bench.calls()) <= READS | {"ListProjects"}


async def test_an_export_with_one_unreadable_project(invited: Bench) -> None:
    """The other projects are printed, the error names the project, and the exit code is 1."""
    projects = ("--group-id", PROJECT_ID, "--group-id", OTHER_PROJECT)
    code, out, err = await done("export", *projects, "--atlas-url", invited.url)
    assert code == 1
    assert b'username: "ann@example.com"' in out
    assert err.startswith(f"atlas-invites: project {OTHER_PROJECT}: Atlas did not find the project")
    assert err.count("\n") == 1


async def test_the_file_of_an_unreadable_project(invited: Bench, tmp_path: Path) -> None:
    """It stays unchanged, and the error says so."""
    (tmp_path / f"{OTHER_PROJECT}.yaml").write_text("old")
    options = ("--output-directory", str(tmp_path), "--atlas-url", invited.url)
    code, _, err = await done("export", "--group-id", OTHER_PROJECT, *options)
    assert code == 1
    assert err.endswith(f" {OTHER_PROJECT}.yaml was not written.\n")
    assert (tmp_path / f"{OTHER_PROJECT}.yaml").read_text() == "old"


async def test_members_are_observed_and_stay(bench: Bench) -> None:
    """The manifest of a member changes no roles and removes nothing."""
    state = bench.sandbox.state
    state.activate(state.project(PROJECT_ID), "ann@example.com", ("GROUP_OWNER",))
    export = ("export", "--group-id", PROJECT_ID, "--atlas-url", bench.url)
    assert (await done(*export))[1] == b""
    _, out, _ = await done(*export, "--members")
    assert out.endswith(b"  deletionPolicy: Retain\n  memberPolicy: Observe\n")


async def test_a_member_that_cannot_be_a_manifest(bench: Bench) -> None:
    """A comment says who was left out and why, and the exit code is 3."""
    state = bench.sandbox.state
    state.activate(state.project(PROJECT_ID), "_ann@example.com", ("GROUP_OWNER",))
    code, out, _ = await done("export", "--group-id", PROJECT_ID, "--members", "--atlas-url", bench.url)
    assert code == 3
    assert out.startswith(b'# Left out: member "')


async def test_the_output_directory_cannot_be_written(invited: Bench, tmp_path: Path) -> None:
    """It is one line and exit code 1."""
    (tmp_path / "out").write_text("")
    directory = ("--output-directory", str(tmp_path / "out"))
    code, _, err = await done("export", "--group-id", PROJECT_ID, *directory, "--atlas-url", invited.url)
    assert (code, err) == (1, f"atlas-invites: cannot write to {tmp_path}/out: it is not a directory\n")


async def test_many_manifests_cost_two_lists_per_project(bench: Bench, tmp_path: Path) -> None:
    """1,000 manifests over 10 projects, of people who are pending, members or neither: at most 20 reads, no write."""
    state = bench.sandbox.state
    projects = [f"{number:024x}" for number in range(1, 11)]
    bodies = []
    for project_id in projects:
        project = state.add_project(project_id, project_id)
        for number in range(100):
            name = f"p{project_id[-2:]}-{number}"
            email = f"{name}@example.com"
            if number % 3 == 0:
                state.invite(project, email, ("GROUP_READ_ONLY",), "inviter")
            if number % 3 == 1:
                state.activate(project, email, ("GROUP_OWNER",))
            bodies += people(name, groupId=project_id, memberPolicy="Manage", roles=["GROUP_OWNER"])
    code, out, err = await done("plan", "-f", manifests(tmp_path, *bodies), "--atlas-url", bench.url)
    assert code == 0
    assert out.decode().splitlines()[-1] == (
        "1000 objects: 330 to send, 340 to set roles, 330 without change. Atlas sends 330 e-mails."
    )
    assert err == "atlas-invites: read 10 projects\n"
    assert sorted(bench.calls()) == ["ListInvites"] * 10 + ["ListUsers"] * 10
    assert CANARY not in out.decode()
