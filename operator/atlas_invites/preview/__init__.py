"""``atlas-invites plan``: what the operator would do for manifests, found out without a write to Atlas or a cluster."""
