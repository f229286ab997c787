"""Where things came from, and what may be done with them therefore."""
