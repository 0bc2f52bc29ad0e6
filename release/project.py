"""What this project is called, which version it has and where it is published: pyproject.toml, read once for all."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Project:
    """The project as pyproject.toml describes it.

    Attributes:
        root: folder of the project.
        name: of the distribution, the image and the chart.
        version: three numbers, such as ``0.1.0``.
        registry: where image and chart are published, with the owner; empty as long as there is no such place.
        source: URL of the repository; empty without a registry.
    """

    root: Path
    name: str
    version: str
    registry: str
    source: str

    @property
    def image(self) -> str:
        """Name of the image, without a tag: in the registry, or as ``make image`` builds it."""
        return f"{self.registry}/{self.name}" if self.registry else self.name

    @property
    def charts(self) -> str:
        """Repository of the chart, without its name, as Helm takes it."""
        return f"oci://{self.registry}/charts"


def read(root: Path = ROOT) -> Project:
    """Return the project in a folder.

    Raises:
        KeyError: pyproject.toml lacks a table or key.
    """
    content = tomllib.loads((root / "pyproject.toml").read_text())
    name, about = content["project"]["name"], content["tool"]["release"]
    registry = about["registry"].rstrip("/")
    source = about["source"].format(owner=registry.rpartition("/")[2], name=name) if registry else ""
    return Project(root, name, content["project"]["version"], registry, source)
