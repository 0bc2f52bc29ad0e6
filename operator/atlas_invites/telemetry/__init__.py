"""Logs, metrics and probes. Any module may import this package; it imports no other one."""
