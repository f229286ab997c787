"""States between nodes and stores, and differences between states."""
