"""The name, the version and the registry of this project, from pyproject.toml."""

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
        registry: the registry of image and chart, with the owner; empty if nothing is published.
        source: URL of the repository; empty without a registry.
    """

    root: Path
    name: str
    version: str
    registry: str
    source: str

    @property
    def image(self) -> str:
        """The name of the image, without a tag: in the registry, or as ``make image`` builds it."""
        return f"{self.registry}/{self.name}" if self.registry else self.name

    @property
    def charts(self) -> str:
        """The repository of the chart, without its name, as Helm expects it."""
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
