"""The database on a MongoDB server."""
