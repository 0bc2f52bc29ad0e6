"""How the GitOps scenarios read an Application and a Kustomization."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gitops.argocd import state as state_of_application
from tests.gitops.flux import state as state_of_kustomization
from tests.gitops.tool import DEGRADED, HEALTHY, PROGRESSING, SUSPENDED


def kustomization(status: str | None, reason: str = "", *, suspend: bool = False) -> dict[str, Any]:
    conditions = [] if status is None else [{"type": "Ready", "status": status, "reason": reason, "message": "why"}]
    return {
        "spec": {"suspend": suspend},
        "status": {
            "conditions": conditions,
            "lastAttemptedRevision": "main@sha1:tried",
            "lastAppliedRevision": "main@sha1:applied",
        },
    }


@pytest.mark.parametrize(
    ("item", "health"),
    [
        (kustomization(None), PROGRESSING),
        (kustomization("Unknown", "Progressing"), PROGRESSING),
        (kustomization("False", "DependencyNotReady"), PROGRESSING),
        (kustomization("False", "HealthCheckFailed"), DEGRADED),
        (kustomization("True", "ReconciliationSucceeded"), HEALTHY),
        (kustomization("True", "ReconciliationSucceeded", suspend=True), SUSPENDED),
    ],
)
def test_kustomization(item: dict[str, Any], health: str) -> None:
    """Health, revision and message are those of Ready and of the last attempt, or of the last success."""
    state = state_of_kustomization(item)
    assert (state.health, state.revision) == (health, "applied" if health == HEALTHY else "tried")
    assert state.done == (health != PROGRESSING)


def application(sync: str, phase: str) -> dict[str, Any]:
    return {
        "status": {
            "sync": {"status": sync, "revision": "abc"},
            "health": {"status": "Healthy"},
            "operationState": {
                "phase": phase,
                "message": "one or more",
                "syncResult": {"resources": [{"message": "refused"}]},
            },
            "conditions": [{"message": "a condition"}],
        }
    }


@pytest.mark.parametrize(
    ("sync", "phase", "done"),
    [("Synced", "Succeeded", True), ("OutOfSync", "Succeeded", False), ("Synced", "Running", False)],
)
def test_application(sync: str, phase: str, *, done: bool) -> None:
    """An Application is done when it is synced and no operation runs; every message counts."""
    state = state_of_application(application(sync, phase))
    assert (state.revision, state.health, state.done) == ("abc", HEALTHY, done)
    assert state.message.split("\n") == ["one or more", "refused", "a condition"]


def test_new_application() -> None:
    """A new Application is in progress."""
    state = state_of_application({})
    assert (state.revision, state.health, state.done, state.message) == ("", PROGRESSING, False, "")
