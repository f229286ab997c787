"""Relaxation of many crystals at once: variables and optimizers that know no family."""
