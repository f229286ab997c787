"""Covalent radii: the one length scale of distance checks and of bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def covalent_radii(symbols: Sequence[str]) -> NDArray[np.float64]:
    """Covalent radii of elements (Cordero et al., Dalton Trans. 2008, 2832, as tabulated by ASE).

    Parameters
    ----------
    symbols : sequence of str, length n

    Returns
    -------
    ndarray, shape (n,)
        Å.
    """
    from ase.data import atomic_numbers
    from ase.data import covalent_radii as table

    return np.array([table[atomic_numbers[symbol]] for symbol in symbols], dtype=float)
