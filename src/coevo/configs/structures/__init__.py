"""Structures in files: CIF, POSCAR, JSON, extended XYZ; bounded before anything is built."""
