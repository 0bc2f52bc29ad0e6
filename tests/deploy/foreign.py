"""CRDs of other projects that deploy/ and docs/ use, with only the used fields; others are rejected.

Taken from their published CRDs: Argo CD's Application and ApplicationSet, the ArgoCD of argocd-operator, Flux's
GitRepository, HelmRelease and Kustomization, ExternalSecret, SealedSecret, the Prometheus Operator's ServiceMonitor and
PrometheusRule, and the AtlasProject of MongoDB's own operator.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}
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

ANY: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
INTERVAL: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}

HELM_SOURCE = objects(releaseName=TEXT, valuesObject=ANY, valueFiles=lists(TEXT))
APPLICATION = objects(
    "project",
    "destination",
    project=TEXT,
    source=objects(
        "repoURL",
        repoURL=TEXT,
        targetRevision=TEXT,
        path=TEXT,
        kustomize=objects(images=lists(TEXT)),
        helm=HELM_SOURCE,
    ),
    destination=objects(server=TEXT, namespace=TEXT),
    syncPolicy=objects(
        automated=objects(prune=FLAG, selfHeal=FLAG),
        managedNamespaceMetadata=objects(labels=LABELS),
        syncOptions=lists(
            TEXT
            | {
                "enum": [
                    f"{option}=true" for option in ("CreateNamespace", "ServerSideApply", "SkipDryRunOnMissingResource")
                ]
            }
        ),
        retry=objects(limit=NUMBER, refresh=FLAG, backoff=objects(duration=TEXT, factor=NUMBER, maxDuration=TEXT)),
    ),
)
APPLICATION_SET = objects(
    "generators",
    "template",
    goTemplate=FLAG,
    goTemplateOptions=lists(TEXT),
    generators=lists(
        objects(
            git=objects("repoURL", "revision", repoURL=TEXT, revision=TEXT, files=lists(objects("path", path=TEXT)))
        )
    ),
    syncPolicy=objects(
        applicationsSync=TEXT | {"enum": ["create-only", "create-update", "create-delete", "sync"]},
    ),
    template=objects("metadata", "spec", metadata=objects(name=TEXT, finalizers=lists(TEXT)), spec=APPLICATION),
)
ARGO_CD = objects(
    resourceHealthChecks=lists(objects(group=TEXT, kind=TEXT, check=TEXT)),
    resourceActions=lists(objects(group=TEXT, kind=TEXT, action=TEXT)),
)
KUSTOMIZATION = objects(
    "interval",
    "prune",
    "sourceRef",
    interval=INTERVAL,
    sourceRef=REFERENCE,
    path=TEXT,
    images=lists(objects("name", name=TEXT, newName=TEXT, newTag=TEXT, digest=TEXT)),
    prune=FLAG,
    wait=FLAG,
    timeout=INTERVAL,
    retryInterval=INTERVAL,
    targetNamespace=TEXT,
    dependsOn=lists(objects("name", name=TEXT, namespace=TEXT)),
    healthChecks=lists(REFERENCE),
    deletionPolicy=TEXT | {"enum": ["MirrorPrune", "Delete", "WaitForTermination", "Orphan"]},
)
GIT_REPOSITORY = objects("interval", "url", interval=INTERVAL, url=TEXT, ref=objects(branch=TEXT))
HELM_RELEASE = objects(
    "interval",
    interval=INTERVAL,
    releaseName=TEXT,
    targetNamespace=TEXT,
    chart=objects(
        "spec",
        spec=objects(
            "chart",
            "sourceRef",
            chart=TEXT,
            reconcileStrategy=TEXT | {"enum": ["ChartVersion", "Revision"]},
            sourceRef=REFERENCE,
        ),
    ),
    install=objects(createNamespace=FLAG),
    driftDetection=objects(mode=TEXT | {"enum": ["enabled", "warn", "disabled"]}),
    values=ANY,
)
SECRET_METADATA = objects(labels=LABELS, annotations=LABELS)
EXTERNAL_SECRET = objects(
    refreshInterval=TEXT,
    secretStoreRef=objects(kind=TEXT | {"enum": ["SecretStore", "ClusterSecretStore"]}, name=NAME),
    target=objects(name=TEXT, template=objects(metadata=SECRET_METADATA)),
    data=lists(objects("secretKey", "remoteRef", secretKey=TEXT, remoteRef=objects("key", key=TEXT, property=TEXT))),
)
SEALED_SECRET = objects("encryptedData", encryptedData=LABELS, template=objects(metadata=SECRET_METADATA))
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
        _definition("argoproj.io", "v1alpha1", "ApplicationSet", APPLICATION_SET),
        _definition("argoproj.io", "v1beta1", "ArgoCD", ARGO_CD),
        _definition("source.toolkit.fluxcd.io", "v1", "GitRepository", GIT_REPOSITORY),
        _definition("helm.toolkit.fluxcd.io", "v2", "HelmRelease", HELM_RELEASE),
        _definition("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", KUSTOMIZATION),
        _definition("external-secrets.io", "v1", "ExternalSecret", EXTERNAL_SECRET),
        _definition("bitnami.com", "v1alpha1", "SealedSecret", SEALED_SECRET),
        _definition("monitoring.coreos.com", "v1", "ServiceMonitor", SERVICE_MONITOR),
        _definition("monitoring.coreos.com", "v1", "PrometheusRule", PROMETHEUS_RULE),
        _definition("atlas.mongodb.com", "v1", "AtlasProject", ATLAS_PROJECT, status=objects(id=TEXT)),
    ]


def _definition(group: str, version: str, kind: str, spec: Schema, **more: Schema) -> Schema:
    plural = f"{kind.lower()}".removesuffix("y") + ("ies" if kind.endswith("y") else "s")
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
