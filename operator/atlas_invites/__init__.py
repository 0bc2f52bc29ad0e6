"""MongoDB Atlas project invitations as Kubernetes resources."""
