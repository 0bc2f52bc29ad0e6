"""Record scrapes of an operator process, as Prometheus stores them, on a stretched time axis.

Alerts wait for minutes and hours. So a tick, which is one scrape, takes ``TICK`` real seconds and counts as
``INTERVAL`` seconds, the interval of the ServiceMonitor. The samples are real; only time passes faster. The operator's
resync interval is shortened in the same way. Its other times, such as back-off and the one probe a minute for rejected
credentials, are not: on the stretched axis they are ``STRETCH`` times as long as in production.
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
    """The metrics of one operator.

    Attributes:
        address: the address on which it listens.
        pod: the value of the label ``pod``.
        samples: the value at each tick, by series.
        ticks: the number of scrapes.
    """

    address: str
    pod: str
    samples: dict[str, dict[int, float]] = field(default_factory=dict)
    ticks: int = 0
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=TICK))

    def scrape(self) -> None:
        """Record one scrape; a scrape that fails has no samples."""
        try:
            text = self._client.get(f"http://{self.address}/metrics").text
        except httpx.HTTPError:
            text = ""
        self.take(text)

    def take(self, text: str) -> None:
        """Record the operator's own metrics in a response, with the labels that the ServiceMonitor adds."""
        target = {"namespace": "atlas-invites", "job": "atlas-invites-metrics", "pod": self.pod}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("atlas_invites_"):
                    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in (target | sample.labels).items())
                    self.samples.setdefault(f"{sample.name}{{{labels}}}", {})[self.ticks] = sample.value
        self.ticks += 1

    def series(self) -> list[dict[str, str]]:
        """Return the input series for promtool. A series that ends is marked as stale, as in Prometheus."""
        return [{"series": name, "values": " ".join(self._values(samples))} for name, samples in self.samples.items()]

    def _values(self, samples: dict[int, float]) -> list[str]:
        """Return a value for each tick: a number, ``stale``, or ``_`` for none."""
        return [
            repr(samples[tick]) if tick in samples else "stale" if tick - 1 in samples else "_"
            for tick in range(self.ticks)
        ]
