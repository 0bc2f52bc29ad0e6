"""The engine: store, work queue, reconciler. Of ours, imports only ``invitation``."""
