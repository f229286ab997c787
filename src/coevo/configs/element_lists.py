"""Chemical elements, and lists of them as people write them: ``Li,P,S``, ``Li-P-S`` or ``Li P S``."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

from coevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SYMBOLS = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc
    Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi
    Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
ELEMENT_SYMBOLS = frozenset(_SYMBOLS.split())


def split_elements(text: str) -> tuple[str, ...]:
    """Split a list of symbols at commas, hyphens, semicolons, plus signs and blanks, in any mixture; nothing is checked."""
    return tuple(word for word in re.split(r"[\s,;+\-–]+", text.strip().strip("[]()")) if word)


def elements_of(text: str, option: str) -> tuple[str, ...]:
    """Return the elements that an option of a command names, in its order.

    Parameters
    ----------
    text : str
    option : str
        For the message: ``--elements``.

    Raises
    ------
    ConfigError
        If a symbol is unknown or there is none.
    """
    symbols = split_elements(text)
    unknown = [symbol for symbol in symbols if symbol not in ELEMENT_SYMBOLS]
    if unknown:
        raise ConfigError(f"{option} {text}: {unknown_elements(unknown)}")
    if not symbols:
        raise ConfigError(f"{option} {text!r}: names no element; allowed: such as Li-P-S or Li,P,S")
    return symbols


def unknown_elements(unknown: Iterable[str]) -> str:
    """Say which symbols are no elements, and what was perhaps meant."""
    words = list(unknown)
    meant = [guess for guess in map(suggested, words) if guess]
    hint = f"; did you mean {', '.join(meant)}?" if len(meant) == len(words) else ""
    verb = "is not a chemical element" if len(words) == 1 else "are not chemical elements"
    return f"{', '.join(map(repr, words))} {verb}{hint}; allowed: symbols such as Li, P, S"


def suggested(word: str) -> str:
    """What a word that is no symbol may mean: ``li`` is Li, ``ZnS`` is Zn-S, ``lithium`` is Li; empty if nothing."""
    if word.capitalize() in ELEMENT_SYMBOLS:
        return word.capitalize()
    parts = re.findall(r"[A-Z][a-z]?", word)
    if re.fullmatch(r"(?:[A-Z][a-z]?[0-9.]*)+", word) and set(parts) <= ELEMENT_SYMBOLS:
        return "-".join(dict.fromkeys(parts))
    from pymatgen.core import Element

    named = {str(element.long_name).lower(): element.symbol for element in Element}
    return named.get(word.lower(), "")


def chemical_systems(elements: tuple[str, ...], subsystem_fraction: float) -> dict[str, float]:
    """Weights of the chemical system and its proper sub-systems of two and more elements, which share ``subsystem_fraction``."""
    whole = "-".join(sorted(elements))
    proper = ["-".join(c) for size in range(2, len(elements)) for c in combinations(sorted(elements), size)]
    if not proper:
        return {whole: 1.0}
    return {whole: 1.0 - subsystem_fraction, **{name: subsystem_fraction / len(proper) for name in proper}}
