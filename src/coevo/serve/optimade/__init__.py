"""A state by OPTIMADE: its fields, filters over them, and the server of the optimade package on a view of the state."""
