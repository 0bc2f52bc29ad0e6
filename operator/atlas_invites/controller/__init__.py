"""The engine: store, work queue, reconciler."""
