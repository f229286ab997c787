"""Pure functions on structures and arrays: hull, uniqueness, novelty, environments, selection, errors, maturity."""
