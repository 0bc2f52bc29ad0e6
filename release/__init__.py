"""Check, prepare and make a release; ``docs/release.md`` lists the commands."""
