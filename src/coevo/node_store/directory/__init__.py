"""The embedded database: a directory, no server."""
