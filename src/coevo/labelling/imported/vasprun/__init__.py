"""``vasprun.xml`` of VASP, through pymatgen's parser."""

from coevo.labelling.imported.vasprun.steps import read_vasprun

__all__ = ["read_vasprun"]
