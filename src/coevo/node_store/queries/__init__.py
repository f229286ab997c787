"""Filters over a state's evaluations, in OPTIMADE's language and MongoDB's."""
