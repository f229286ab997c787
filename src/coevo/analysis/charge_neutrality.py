"""Charge neutrality and electronegativity of compositions, by SMACT.

The convention is that of published tables (CDVAE, MatterGen): ``smact_validity`` with the Pauling test, alloys of metals only
and single elements counting as valid, and SMACT's oxidation states of 2014, which were its default when those tables were
made (SMACT 4 has others by default). It is a coarse rule: compounds with bonds between like atoms, such as LiP7 or P4S3, fail.
"""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from math import gcd
from typing import Any

from coevo.analysis.composition import as_composition
from coevo.errors import AnalysisError

OXIDATION_STATES = "smact14"
"""SMACT's name of the set of oxidation states."""


@cache
def smact_version() -> str | None:
    """Version of SMACT that is installed, None if there is none."""
    try:
        return version("smact")
    except PackageNotFoundError:
        return None


def is_charge_neutral(source: Any, *, oxidation_states: str = OXIDATION_STATES) -> bool:
    """Whether some oxidation states make a composition neutral, with anions more electronegative than cations.

    Parameters
    ----------
    source : Structure, Composition, str or mapping
        Its reduced formula is looked at, once in the life of the process. A Counter of symbols is the fastest.
    oxidation_states : str
        ``smact14``, ``icsd16``, ``icsd24`` or ``pymatgen_sp``.

    Raises
    ------
    AnalysisError
        If SMACT is not installed, the composition cannot be read, or there is no such set of oxidation states.
    """
    if smact_version() is None:
        raise AnalysisError("charge neutrality is not checked: SMACT is not installed; pip install 'coevo[analyse]'")
    if isinstance(source, Counter) and source:
        factor = gcd(*source.values())
        return _is_neutral(tuple(sorted((symbol, count / factor) for symbol, count in source.items())), oxidation_states)
    composition = as_composition(source)
    if not composition:
        raise AnalysisError("a composition is empty; give at least one atom")
    amounts, _ = composition.get_reduced_composition_and_factor()
    return _is_neutral(tuple(sorted((element.symbol, float(amount)) for element, amount in amounts.items())), oxidation_states)


@lru_cache(maxsize=200_000)
def _is_neutral(amounts: tuple[tuple[str, float], ...], oxidation_states: str) -> bool:
    from pymatgen.core import Composition
    from smact.screening import smact_validity

    if any(amount != round(amount) for _, amount in amounts):
        raise AnalysisError(
            f"{dict(amounts)} has no whole number of atoms; charge neutrality needs the formula of an ordered crystal"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SMACT warns of elements that its tables lack, for which it answers False
        try:
            return bool(
                smact_validity(
                    Composition(dict(amounts)),
                    use_pauling_test=True,
                    include_alloys=True,
                    oxidation_states_set=oxidation_states,
                )
            )
        except ValueError as error:
            raise AnalysisError(f"SMACT cannot use oxidation states {oxidation_states!r}: {error}") from error
