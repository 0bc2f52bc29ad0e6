"""Logs, metrics and probes: a leaf that any module may import."""
