"""What a person has of a node in a notebook or a script: nodes, states, their tables, entries, labels and models (docs/python.md)."""
