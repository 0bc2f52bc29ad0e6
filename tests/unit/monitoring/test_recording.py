"""Scrapes as the input series of promtool."""

from __future__ import annotations

from tests.monitoring.recording import Recording

FIRST = '# TYPE atlas_invites_x gauge\natlas_invites_x{reason="a"} 1\natlas_invites_x{reason="b"} 2.5\n'
SECOND = '# TYPE atlas_invites_x gauge\natlas_invites_x{reason="a"} 3\n# TYPE process_y gauge\nprocess_y 1\n'


def test_series() -> None:
    """One value for each scrape; a series that ends is stale once, then missing; other metrics are left out."""
    recording = Recording("127.0.0.1:1", "pod-1")
    for text in ("", FIRST, SECOND, "", SECOND):
        recording.take(text)
    labels = 'namespace="atlas-invites",job="atlas-invites-metrics",pod="pod-1"'
    assert recording.series() == [
        {"series": f'atlas_invites_x{{{labels},reason="a"}}', "values": "_ 1 3 stale 3"},
        {"series": f'atlas_invites_x{{{labels},reason="b"}}', "values": "_ 2.5 stale _ _"},
    ]
