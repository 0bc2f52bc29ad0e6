"""The steps of a release. Each is a command of ``python -m release``, which runs anywhere and prints its commands.

The order is ``login`` (with REGISTRY_USER and REGISTRY_PASSWORD), ``image``, ``chart``, ``files``, ``sign``,
``publish``. The steps write to ``dist/release-VERSION``, and read there the results of the steps before them.

In a dry run nothing leaves the machine: commands that build for, read or change a registry are only printed, and the
digest of an artifact that was not pushed is all zeros.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import helm_python
import yaml

from release import changelog

if TYPE_CHECKING:
    from collections.abc import Callable

    from release.project import Project

PLATFORMS = ("linux/amd64", "linux/arm64")
NO_DIGEST = f"sha256:{'0' * 64}"
NOTES, SUMS = "notes.md", "SHA256SUMS"
ISSUER = "https://token.actions.githubusercontent.com"
"""The issuer of the identities with which workflows of GitHub sign."""


class ReleaseError(Exception):
    """A step failed; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is being made.

    Attributes:
        project: the project to release.
        folder: the folder for the results of the steps.
        dry_run: print the commands that need a registry, and do not run them.
    """

    project: Project
    folder: Path
    dry_run: bool

    @property
    def image(self) -> str:
        """The image, by digest."""
        return f"{self.project.image}@{self._digest('image')}"

    @property
    def chart(self) -> str:
        """The chart, by digest, as a registry names it."""
        return f"{self.project.registry}/charts/{self.project.name}@{self._digest('chart')}"

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Print a command, run it unless this is a dry run, and return its output.

        Raises:
            ReleaseError: the command failed.
        """
        say(f"$ {' '.join(command)}")
        if self.dry_run:
            return ""
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise ReleaseError(f"{command[0]} failed with exit code {done.returncode}: see its output above")
        return done.stdout

    def keep_digest(self, of: str, digest: str) -> None:
        """Store the digest of a pushed artifact for later steps."""
        (self.folder / f"{of}.digest").write_text(digest)

    def _digest(self, of: str) -> str:
        path = self.folder / f"{of}.digest"
        if not path.exists():
            raise ReleaseError(f"{path} is missing: run the step {of} first")
        return path.read_text()

    def files(self) -> list[Path]:
        """Return the files that users download, without the checksums and the signature."""
        return sorted(path for path in self.folder.iterdir() if path.suffix in {".json", ".tgz", ".yaml"})


def say(line: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def login(release: Release) -> None:
    """Log in to the registry, for docker, Helm and cosign, which all use the login that docker stores."""
    host = release.project.registry.partition("/")[0]
    user, password = os.environ.get("REGISTRY_USER"), os.environ.get("REGISTRY_PASSWORD")
    if not (user and password) and not release.dry_run:
        raise ReleaseError(
            f"REGISTRY_USER or REGISTRY_PASSWORD is not set: set both, because docker login needs them for {host}"
        )
    release.run("docker", "login", host, "--username", user or "REGISTRY_USER", "--password-stdin", stdin=password)


def image(release: Release) -> None:
    """Build the image for every platform with SBOM and provenance as attestations, and push it."""
    project, metadata = release.project, release.folder / "image.metadata"
    arguments = {"VERSION": project.version, "REVISION": revision(project.root), "SOURCE": project.source}
    release.run(
        *("docker", "buildx", "build", "--platform", ",".join(PLATFORMS)),
        *("--sbom=true", "--provenance=mode=max"),
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
        *("--metadata-file", str(metadata), "--tag", f"{project.image}:{project.version}", "--push", str(project.root)),
    )
    digest = NO_DIGEST if release.dry_run else json.loads(metadata.read_text())["containerimage.digest"]
    release.keep_digest("image", digest)


def chart(release: Release) -> None:
    """Package the chart and push it as an OCI artifact, with the login that docker has stored."""
    project = release.project
    archive = helm_python.package(project.root / "deploy" / "chart", destination=release.folder)
    say(f"push {archive} to {project.charts}")
    digest = NO_DIGEST
    if not release.dry_run:
        with helm_python.RegistryClient() as registry:
            registry.push(archive, project.charts)
            pushed = registry.resolve(f"{project.charts}/{project.name}:{project.version}")
        digest = pushed["digest"]  # push itself returns none
    release.keep_digest("chart", digest)


def files(release: Release) -> None:
    """Write the files to download: install.yaml, the SBOM and provenance of the image, release notes, checksums."""
    (release.folder / "install.yaml").write_text(install(release))
    for platform in PLATFORMS:
        for what, document in (("SBOM", "SPDX"), ("Provenance", "SLSA")):
            query = f'{{{{ json (index .{what} "{platform}").{document} }}}}'
            found = release.run("docker", "buildx", "imagetools", "inspect", release.image, "--format", query)
            name = f"{what.lower()}-{platform.replace('/', '-')}.{document.lower()}.json"
            (release.folder / name).write_text(found or "{}\n")
    (release.folder / NOTES).write_text(notes(release))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in release.files()]
    (release.folder / SUMS).write_text("".join(sums))


def install(release: Release) -> str:
    """Return the manifests of deploy/ with the image by digest."""
    project = release.project
    folder = release.folder / "kustomization"
    folder.mkdir(exist_ok=True)
    deploy = project.root / "deploy"
    (named,) = yaml.safe_load((deploy / "kustomization.yaml").read_text())["images"]
    name, _, digest = release.image.partition("@")
    wanted = {
        "resources": [os.path.relpath(deploy, folder)],
        "images": [{"name": named["newName"], "newName": name, "digest": digest}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    command = [str(Path(sys.executable).with_name("kubectl")), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command line
    if done.returncode:
        raise ReleaseError(f"kubectl kustomize failed: {done.stderr.strip()}")
    if f"image: {release.image}\n" not in done.stdout:
        raise ReleaseError(f"kubectl kustomize did not write {release.image} into the manifests of deploy/")
    return f"# {project.name} {project.version}. kubectl apply --server-side -f install.yaml\n{done.stdout}"


def notes(release: Release) -> str:
    """Return the release notes: the changes, how to install, how to verify."""
    project = release.project
    changed = changelog.sections((project.root / "CHANGELOG.md").read_text())[project.version].body
    identity = f"{project.source}/.github/workflows/release.yml@refs/tags/v{project.version}"
    signer = f"  --certificate-identity {identity} \\\n  --certificate-oidc-issuer {ISSUER}"
    return f"""\
{changed}

### Install

```sh
kubectl apply --server-side -f {project.source}/releases/download/v{project.version}/install.yaml
```

```sh
helm install {project.name} {project.charts}/{project.name} --version {project.version} \\
  --namespace {project.name} --create-namespace
```

### Verify

The image is `{release.image}`, the chart is `{release.chart}`. The workflow that made image, chart and `{SUMS}` has
signed them:

```sh
cosign verify {release.image} \\
{signer}
cosign verify {release.chart} \\
{signer}
cosign verify-blob {SUMS} --bundle {SUMS}.sigstore.json \\
{signer}
sha256sum --check {SUMS}
```

`sbom-*.spdx.json` lists the contents of the image, `provenance-*.slsa.json` describes how it was built. Both are also
attestations of the image, and its signature covers them.
"""


def sign(release: Release) -> None:
    """Sign image, chart and checksums without a key, with the identity of the workflow that runs this."""
    for name in (release.image, release.chart):
        release.run("cosign", "sign", "--yes", name)
    sums = release.folder / SUMS
    release.run("cosign", "sign-blob", "--yes", "--bundle", f"{sums}.sigstore.json", str(sums))


def publish(release: Release) -> None:
    """Create the release on GitHub, for an existing tag, with notes and files."""
    version, sums = release.project.version, release.folder / SUMS
    release.run(
        *("gh", "release", "create", f"v{version}", "--verify-tag", "--title", version),
        *("--notes-file", str(release.folder / NOTES), str(sums), f"{sums}.sigstore.json"),
        *map(str, release.files()),
    )


STEPS: dict[str, Callable[[Release], None]] = {
    step.__name__: step for step in (login, image, chart, files, sign, publish)
}


def revision(root: Path) -> str:
    """Return the commit of a folder, or ``unknown`` if it is not in a Git repository."""
    git = shutil.which("git")
    command = [git or "git", "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if git else None  # noqa: S603
    return done.stdout.strip() if done and done.returncode == 0 else "unknown"
