"""All code that calls the MongoDB Atlas Administration API."""
