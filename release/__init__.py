"""Checks, prepares and makes a release; ``docs/release.md`` says what to run when."""
