"""coevo: a stateful, model-integrated database of crystalline materials.

One node covers one chemical system; its state joins curated structures, first-principles labels, the crystal generator and the
force field, and each iteration of the loop commits a new state (Xie et al., arXiv:2511.12420).
"""

__version__ = "0.1.0"
