"""Diffusion in crystals that move: coefficients with errors, what becomes of the framework, and the Arrhenius line."""
