"""Everything that speaks to Kubernetes. Of ours, imports only ``invitation``."""
