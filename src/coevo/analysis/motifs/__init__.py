"""Bonds and what they connect: fragments and motifs, their labels, names, charges and census."""
