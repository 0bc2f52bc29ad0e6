"""The domain of an invitation. Pure: no I/O, no clock, and no imports from other packages of the operator."""
