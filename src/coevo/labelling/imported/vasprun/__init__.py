"""``vasprun.xml`` of VASP, through pymatgen's parser: ``steps`` reads it."""
