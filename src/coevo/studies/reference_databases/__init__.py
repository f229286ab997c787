"""Reference structures from databases: asked sub-system by sub-system, resumable, joined, and kept as a file of references."""
