"""``atlas-invites plan``: show what the operator would do for manifests, without a write to Atlas or a cluster."""
