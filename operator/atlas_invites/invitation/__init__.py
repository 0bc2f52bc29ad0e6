"""The domain of an invitation. Pure: no I/O, no clock, imports nothing else of ours."""
