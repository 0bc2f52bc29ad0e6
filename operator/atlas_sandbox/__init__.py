"""A stateful stand-in for the MongoDB Atlas Admin API, for tests and the demo."""
