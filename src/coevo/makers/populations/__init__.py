"""The population of a state at its present geometry and energy, and what is written of it."""
