"""The rules by which Flux's checker (fluxcd/pkg/runtime) judges the conditions of a status."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def flux_complaints(item: Object) -> list[str]:
    """Return what Flux's checker has against an object's conditions."""
    conditions = {condition["type"]: condition for condition in item["status"].get("conditions", ())}
    ready = conditions.get("Ready")
    if ready is None:
        return ["no Ready"]
    reconciling, stalled = (conditions.get(t, {}).get("status") == "True" for t in ("Reconciling", "Stalled"))
    rules = {
        "Stalled and Reconciling together": not (stalled and reconciling),
        "Stalled while Ready is not False": not stalled or ready["status"] == "False",
        "Ready is True for another generation than the object's": ready["status"] != "True"
        or ready["observedGeneration"] == item["status"]["observedGeneration"],
        "Ready is Unknown while nothing reconciles": ready["status"] != "Unknown" or reconciling,
    }
    return [complaint for complaint, holds in rules.items() if not holds]
