"""What ``atlas-invites plan`` reads: YAML as kubectl reads it, from files, directories and standard input."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.preview.documents import Source, read
from atlas_invites.preview.manifests import check
from tests.unit.specs import invite

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
apiVersion: atlasinvites.io/v1alpha1
kind: AtlasProjectInvite
metadata: {name: jane, namespace: team-a}
spec: {groupId: "32b6e34b3d91647abb20e7b8", username: jane@example.com, roles: [GROUP_OWNER]}
"""


def test_documents_lists_and_other_kinds(tmp_path: Path) -> None:
    """Several documents, lists in them, and JSON; other kinds and empty documents are skipped."""
    other = "---\n---\nkind: ConfigMap\nmetadata: {name: x}\n---\n"
    listed = f'kind: List\napiVersion: v1\nitems:\n- kind: Secret\n- {{"kind": "AtlasProjectInvite"}}\n---\n{GOOD}'
    (tmp_path / "a.yaml").write_text(GOOD + other + listed)
    objects, faults = read([str(tmp_path / "a.yaml")])
    assert faults == []
    where = [(source.document, source.item) for source, body in objects if body["kind"] == "AtlasProjectInvite"]
    assert where == [(1, None), (4, 2), (5, None)]


def test_a_directory(tmp_path: Path) -> None:
    """As in kubectl: the YAML and JSON files of the directory in the order of their names, without subdirectories."""
    (tmp_path / "b.yml").write_text(GOOD)
    (tmp_path / "a.json").write_text('{"kind": "Other"}')
    (tmp_path / "c.txt").write_text(": not YAML :")
    (tmp_path / "d.yaml").mkdir()
    (tmp_path / "d.yaml" / "e.yaml").write_text(GOOD)
    objects, faults = read([str(tmp_path)])
    assert faults == []
    assert [source.file for source, _ in objects] == [str(tmp_path / "a.json"), str(tmp_path / "b.yml")]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` reads the output of kustomize from a pipe."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    ((source, _),), _ = read(["-"])
    assert str(source) == "standard input, document 1"


def test_an_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    """A missing file and a syntax error are faults; documents before the error count."""
    file = tmp_path / "a.yaml"
    file.write_text(f"{GOOD}---\na: [\n---\n{GOOD}")
    objects, faults = read([str(tmp_path / "none.yaml"), str(file)])
    assert len(objects) == 1
    assert str(faults[0]) == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"
    assert str(faults[1]).startswith(f"{file}, document 2: not valid YAML (line ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-08-10T03:04:53Z", "2026-08-10T03:04:53Z"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("123456781234567812345678", 123456781234567812345678),
        ("123456781234567812345e78", 123456781234567812345e78),
        ("12345678e1234567812345678", "12345678e1234567812345678"),
        ("yes", True),
        ("~", None),
        ("", None),
        ("0x1F", 31),
        ("jane@example.com", "jane@example.com"),
        ("'7'", "7"),
    ],
)
def test_scalars_are_read_as_by_kubectl(tmp_path: Path, text: str, value: object) -> None:
    """A time stays text; digits are a number, which the CRD then rejects."""
    (tmp_path / "a.yaml").write_text(f"kind: Other\na: {text}\n")
    ((_, body),), _ = read([str(tmp_path / "a.yaml")])
    assert body == {"kind": "Other", "a": value}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kind: A\nb: {c: 1, c: 2}\n", "document 1: not valid YAML (line 2): duplicate key c; "),
        ("[]\n", "document 1: must be a Kubernetes object"),
        ("jane\n", "document 1: must be a Kubernetes object"),
        ("metadata: {name: jane}\n", "document 1: kind: Required value"),
        ("kind: List\nitems: [null]\n", "document 1, item 1: must be a Kubernetes object"),
    ],
)
def test_what_kubectl_rejects_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    """Nothing is skipped that may have been meant as an invitation."""
    (tmp_path / "a.yaml").write_text(text)
    objects, faults = read([str(tmp_path / "a.yaml")])
    assert objects == []
    assert str(faults[0]).startswith(f"{tmp_path}/a.yaml, {fault}")


def test_a_file_that_is_given_twice(tmp_path: Path) -> None:
    """It is read once, whatever path leads to it."""
    (tmp_path / "a.yaml").write_text(GOOD)
    objects, _ = read([str(tmp_path), str(tmp_path / "a.yaml"), f"{tmp_path}/../{tmp_path.name}/a.yaml"])
    assert len(objects) == 1


def test_a_merge_may_repeat_a_key(tmp_path: Path) -> None:
    """A key beside ``<<`` has priority over that of the alias."""
    (tmp_path / "a.yaml").write_text("kind: Other\na: &a {b: 1}\nc: {<<: *a, b: 2}\n")
    ((_, body),), faults = read([str(tmp_path / "a.yaml")])
    assert (body["c"], faults) == ({"b": 2}, [])


def manifest(**metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a manifest has
    return invite() | {"metadata": {"name": "jane", **metadata}}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (invite() | {"apiVersion": "atlasinvites.io/v1"}, "apiVersion: must be atlasinvites.io/v1alpha1"),
        (invite() | {"metadata": None}, "metadata: Required value"),
        (manifest(name=None), "metadata.name: Required value"),
        (manifest(name="Jane"), "metadata.name: must be a Kubernetes name"),
        (manifest(name=7), "metadata.name: must be a Kubernetes name"),
        (manifest(name="a..b"), "metadata.name: must be a Kubernetes name"),
        (manifest(name="x" * 254), "metadata.name: must be a Kubernetes name"),
        (manifest(namespace="a.b"), "metadata.namespace: must be the name of a namespace"),
        (manifest(annotations=[]), "metadata.annotations: must be of type object"),
        (invite() | {"kind": "AtlasProjectInvites"}, "kind: must be AtlasProjectInvite"),
        (manifest(labels={"a": 1}), "metadata.labels[a]: must be of type string; put the value in quotes"),
        (manifest(annotations={"a": 1}), "metadata.annotations[a]: must be of type string; put the value in quotes"),
    ],
)
def test_metadata(body: dict[str, Any], fault: str) -> None:
    """Metadata that the API server rejects is a fault too."""
    manifests, faults = check([(Source("m.yaml", 1), body)])
    assert manifests == []
    assert str(faults[0]).startswith(f"m.yaml, document 1: {fault}")


def test_the_namespace_is_default_unless_it_is_given() -> None:
    """As in kubectl with a new kubeconfig."""
    manifests, _ = check([(Source("m.yaml", 1), manifest()), (Source("m.yaml", 2), manifest(namespace="team-a"))])
    assert [str(found.key) for found in manifests] == ["default/jane", "team-a/jane"]
    for empty in (None, ""):
        (found,), _ = check([(Source("m.yaml", 1), manifest(namespace=empty))])
        assert str(found.key) == "default/jane"


def test_one_object_has_one_manifest() -> None:
    """A second manifest of the same object is a fault that names the first."""
    _, faults = check([(Source("a.yaml", 1), manifest()), (Source("b.yaml", 3), manifest(namespace="default"))])
    (fault,) = map(str, faults)
    assert fault.startswith("b.yaml, document 3: metadata.name: default/jane is also in a.yaml, document 1; ")


@pytest.mark.parametrize("value", ["!!bool maybe", "!!timestamp x", "!!int ''", "!!float ''"])
def test_a_value_that_does_not_fit_its_tag_is_a_fault(tmp_path: Path, value: str) -> None:
    """PyYAML raises other errors for it than for a text that is not YAML; the other files are read."""
    (tmp_path / "a.yaml").write_text(f"a: {value}\n")
    (tmp_path / "b.yaml").write_text(GOOD)
    objects, (fault,) = read([str(tmp_path)])
    assert len(objects) == 1
    assert fault.source == Source(str(tmp_path / "a.yaml"), 1)
    assert "not valid YAML" in fault.rule


def test_a_link_to_itself_is_a_fault(tmp_path: Path) -> None:
    """It cannot be read; the other files are."""
    (tmp_path / "a.yaml").symlink_to(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text(GOOD)
    objects, (fault,) = read([str(tmp_path)])
    assert len(objects) == 1
    assert "cannot be read" in fault.rule
