"""Energies over composition: lower hulls, decompositions, the hull of labels, and the scale of energies."""
