"""States, branches, entries and nodes as documents and texts for those who look at them."""
