"""All code that calls Kubernetes."""
