"""Phonons of a crystal by displaced supercells, what follows from them at temperature and pressure, and where they are unstable."""
