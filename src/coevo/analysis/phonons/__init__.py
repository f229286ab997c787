"""Phonons of a crystal by displaced supercells, and what follows from them at temperature and pressure."""
