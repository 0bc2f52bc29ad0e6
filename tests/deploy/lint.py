"""``python -m tests.deploy.lint FOLDER``.

Lint the chart, and render the shipped manifests into a folder, for checkov.
"""

from __future__ import annotations

import sys
from pathlib import Path

import helm_python
import yaml

from tests.deploy.manifests import ALL_COMPONENTS, CHART, DEPLOY, chart, kustomized

KUSTOMIZATIONS = ("", "overlays/one-namespace", "overlays/credentials-namespace", "examples/kustomization")
_WARNING = 2


def complaints() -> list[str]:
    """Return the warnings and errors of Helm's linter."""
    report = helm_python.lint(CHART, strict=True)
    return [*report["errors"], *(m["error"] for m in report["messages"] if m["severity"] >= _WARNING)]


def main(folder: Path) -> int:
    """Return 0 if the chart is clean."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KUSTOMIZATIONS:
        rendered = yaml.safe_dump_all(kustomized(DEPLOY / name))
        (folder / f"{name.replace('/', '-') or 'deploy'}.yaml").write_text(rendered)
    (folder / "chart.yaml").write_text(yaml.safe_dump_all(chart(ALL_COMPONENTS)))
    for complaint in complaints():
        sys.stderr.write(f"deploy/chart: {complaint}\n")
    return 1 if complaints() else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
