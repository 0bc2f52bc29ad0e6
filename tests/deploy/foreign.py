"""Kinds of other projects that deploy/ and docs/ name, with the fields that are used; others are refused.

Taken from their published documentation: Argo CD's Application, Flux's Kustomization, the Prometheus Operator's
ServiceMonitor and PrometheusRule, and the AtlasProject of MongoDB's own operator.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "integer"}


def objects(*required: str, **properties: Schema) -> Schema:
    """Return the schema of an object with these fields and no others."""
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def lists(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


REFERENCE = objects("kind", "name", apiVersion=TEXT, kind=TEXT, name=TEXT, namespace=TEXT)
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}

APPLICATION = objects(
    "project",
    "destination",
    project=TEXT,
    source=objects("repoURL", repoURL=TEXT, targetRevision=TEXT, path=TEXT),
    destination=objects(server=TEXT, namespace=TEXT),
    syncPolicy=objects(
        automated=objects(prune=FLAG, selfHeal=FLAG),
        syncOptions=lists(
            TEXT | {"enum": [f"{option}=true" for option in ("ServerSideApply", "SkipDryRunOnMissingResource")]}
        ),
        retry=objects(limit=NUMBER, backoff=objects(duration=TEXT, factor=NUMBER, maxDuration=TEXT)),
    ),
)
KUSTOMIZATION = objects(
    "interval",
    "prune",
    "sourceRef",
    interval=TEXT,
    sourceRef=REFERENCE,
    path=TEXT,
    prune=FLAG,
    wait=FLAG,
    timeout=TEXT,
    targetNamespace=TEXT,
    dependsOn=lists(objects("name", name=TEXT, namespace=TEXT)),
    healthChecks=lists(REFERENCE),
    deletionPolicy=TEXT | {"enum": ["MirrorPrune", "Delete", "WaitForTermination", "Orphan"]},
)
SERVICE_MONITOR = objects(
    "selector",
    "endpoints",
    selector=objects(matchLabels=LABELS),
    endpoints=lists(objects(port=TEXT, path=TEXT, interval=TEXT)),
)
RULE = {"alert": TEXT, "expr": TEXT, "for": TEXT, "labels": LABELS, "annotations": LABELS}
PROMETHEUS_RULE = objects(groups=lists(objects("name", "rules", name=TEXT, rules=lists(objects("expr", **RULE)))))
ATLAS_PROJECT = objects(name=TEXT)


def definitions() -> list[Schema]:
    """Return the CRDs."""
    return [
        _definition("argoproj.io", "v1alpha1", "Application", APPLICATION),
        _definition("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", KUSTOMIZATION),
        _definition("monitoring.coreos.com", "v1", "ServiceMonitor", SERVICE_MONITOR),
        _definition("monitoring.coreos.com", "v1", "PrometheusRule", PROMETHEUS_RULE),
        _definition("atlas.mongodb.com", "v1", "AtlasProject", ATLAS_PROJECT, status=objects(id=TEXT)),
    ]


def _definition(group: str, version: str, kind: str, spec: Schema, **more: Schema) -> Schema:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": objects(spec=spec, **more)},
                }
            ],
        },
    }
