"""Labels: the contract of a labelling code, and the codes.

Those that there are: Quantum ESPRESSO, VASP, any static Maker of atomate2, a second force field as teacher, codes of other
packages (:mod:`~coevo.labelling.registry`), and calculations that a user has already (:mod:`~coevo.labelling.imported`).
"""
