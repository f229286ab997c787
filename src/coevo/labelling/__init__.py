"""Labels: the contract of a labelling code, and the codes that fulfil it.

A second force field (the *teacher*), Quantum ESPRESSO, VASP, and calculations that users have already (``imported``).
"""
