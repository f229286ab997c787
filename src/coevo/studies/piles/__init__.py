"""Piles of crystals that somebody generated, read as rows: one broken structure costs its row, never the pile."""
