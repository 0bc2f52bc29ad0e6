"""Scrapes of an operator process, as Prometheus stores them, on a stretched time axis.

A tick is one scrape. Alerts wait for minutes and hours, so a tick lasts ``TICK`` real seconds, and counts as ``INTERVAL``
seconds, the interval of the ServiceMonitor. What the operator measures is real; only time passes faster. It is started
with a resync interval that is shortened in the same way. Its other times (back-off, one probe a minute for rejected
credentials) are not: on the stretched axis they are ``STRETCH`` times as long as in production.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

TICK, INTERVAL = 1.0, 30
STRETCH = INTERVAL / TICK


@dataclass(slots=True)
class Recording:
    """What one operator has shown under ``/metrics``.

    Attributes:
        address: where it listens.
        pod: the name of its Pod, if it ran in one.
        samples: the value at each tick, by series.
        ticks: how many scrapes there were.
    """

    address: str
    pod: str
    samples: dict[str, dict[int, float]] = field(default_factory=dict)
    ticks: int = 0

    def scrape(self) -> None:
        """Record one scrape; one that fails has no samples."""
        try:
            text = httpx.get(f"http://{self.address}/metrics", timeout=TICK).text
        except httpx.HTTPError:
            text = ""
        target = {"namespace": "atlas-invites", "job": "atlas-invites-metrics", "pod": self.pod}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("atlas_invites_"):
                    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in (target | sample.labels).items())
                    self.samples.setdefault(f"{sample.name}{{{labels}}}", {})[self.ticks] = sample.value
        self.ticks += 1

    def series(self) -> list[dict[str, str]]:
        """Return the input series of a test of promtool: a series that ends is marked stale, as Prometheus does it."""
        found = []
        for name, samples in self.samples.items():
            values = [
                repr(samples[tick]) if tick in samples else "stale" if tick - 1 in samples else "_"
                for tick in range(self.ticks)
            ]
            found.append({"series": name, "values": " ".join(values)})
        return found
