"""Nodes and states in a notebook or a script: their tables, entries, labels and models (docs/python.md)."""
