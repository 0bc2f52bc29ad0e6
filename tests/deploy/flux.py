"""The rules of Flux's checker for the conditions of a status.

They are those of runtime/conditions/check/fail.go of fluxcd/pkg (read at commit e2cfd1a, July 2026), each under its own
number.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def flux_complaints(item: Object) -> list[str]:
    """Return the numbers of the rules of Flux's checker that an object's conditions break."""
    status, generation = item["status"], item["metadata"]["generation"]
    observed = status["observedGeneration"]
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    said = {type_: condition["status"] for type_, condition in conditions.items()}
    generations = {condition["observedGeneration"] for condition in conditions.values()}
    ready, reconciling, stalled = (said.get(type_) for type_ in ("Ready", "Reconciling", "Stalled"))
    rules = {
        "FAIL0001: Ready with a negative condition": ready != "True" or "True" not in {reconciling, stalled},
        "FAIL0002: no Ready": ready is not None,
        "FAIL0003: Reconciling, and Ready is not False": reconciling != "True" or ready in {None, "False"},
        "FAIL0004: Stalled, and Ready is not False": stalled != "True" or ready in {None, "False"},
        "FAIL0005: Stalled and Reconciling together": None in {stalled, reconciling},
        "FAIL0006: observed what does not exist": observed <= generation,
        "FAIL0007: Ready, and this generation was not observed": ready != "True" or observed >= generation,
        "FAIL0008: Ready with a condition of an earlier generation": ready != "True" or min(generations) >= generation,
        "FAIL0009: Ready with a condition of another generation": ready != "True" or generations == {observed},
        "FAIL0011: Ready is Unknown while nothing reconciles": ready != "Unknown" or reconciling == "True",
    }
    return [complaint for complaint, holds in rules.items() if not holds]
