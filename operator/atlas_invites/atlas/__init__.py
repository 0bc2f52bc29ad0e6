"""Everything that speaks to the MongoDB Atlas Admin API. Of ours, imports only ``invitation``."""
