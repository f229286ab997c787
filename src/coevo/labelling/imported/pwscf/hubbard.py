"""Hubbard corrections of a ``pw.x`` run, by the element that carries them.

pw.x prints them (``summary.f90``, ``hub_summary``) as ``U(Fe-3d) =  4.6000``, before version 7 as a table, and what is zero not
at all. Beside U stand J0, alpha and beta in Dudarev's form, J, B, E2 and E3 in Liechtenstein's; the projectors change every
number. The V of DFT+U+V are of pairs of atoms, which no setting of a label can say.
"""

from __future__ import annotations

import re
from typing import Any

Hubbard = dict[str, dict[str, Any]]
"""Element to U by shell, eV (``{"d": 4.6}``); what else is not zero (``{"J_d": 0.5}``); projectors and form, if not the usual."""

PAIRS = "DFT+U+V, whose V are of pairs of atoms and not of elements"
"""Why such a run is refused."""

_NUMBER = r"([-+]?[\d.]+)"
_PRINTED = rf"\b(U|J0|alpha|beta|J|B|E2|E3)\((\w+)-\d?([spdf])(?:-\d[spdf])?\)\s*=\s*{_NUMBER}"
_OF_SHELL = {"s": (), "p": ("J",), "d": ("J", "B"), "f": ("J", "E2", "E3")}
_TABLE = r"LDA\+U calculation[^\n]*\n\s*atomic species[^\n]*\n((?:[ \t]*\S+[ \t]+\d+[ \t]+[-\d.][^\n]*\n)+)"
_COLUMNS = ("", "alpha", "J0", "beta")
"""Of the table before version 7, after species and l."""


def key_of(name: str, shell: str) -> str:
    """Key of a parameter: the shell alone of a U."""
    return shell if name in {"", "U"} else f"{name}_{shell}"


def anisotropic(shell: str, values: list[float]) -> dict[str, float]:
    """Name the numbers that describe J of a shell, as ``Hubbard_J`` of the document has them; without zeros."""
    return {key_of(name, shell): value for name, value in zip(_OF_SHELL.get(shell, ()), values, strict=False) if value}


def with_form(found: Hubbard, projectors: str, kind: int) -> Hubbard:
    """Add to each element what its correction is, where it is not Dudarev's on atomic orbitals; none where there is no U."""
    form: dict[str, Any] = {} if projectors.strip().lower() in {"", "atomic"} else {"projectors": projectors.strip().lower()}
    form |= {"form": "Liechtenstein"} if kind == 1 else {}
    return {element: values | form for element, values in sorted(found.items()) if values}


def untold_hubbard(text: str) -> str:
    """Say why the correction of an output cannot be told by its elements; empty if it can, or there is none."""
    if re.search(r"lda_plus_u_kind\s*=\s*2|DFT\+U\+V", text):
        return PAIRS
    if re.search(r"lda_plus_u\s*=\s*T", text) and not (re.search(_PRINTED, text) or re.search(_TABLE, text)):
        return "lda_plus_u = T, and no U of an element is printed in a way that is known here"
    return ""


def printed_hubbard(text: str) -> Hubbard:
    """Read the corrections that an output names."""
    from ase.io.espresso import label_to_symbol

    found: Hubbard = {}
    for name, label, shell, value in re.findall(_PRINTED, text):
        if float(value):
            found.setdefault(label_to_symbol(label), {})[key_of(name, shell)] = float(value)
    table = re.search(_TABLE, text)
    for line in table[1].splitlines() if table else ():
        label, number, *values = line.split()
        named = {key_of(name, "spdf"[int(number)]): float(value) for name, value in zip(_COLUMNS, values, strict=False)}
        found.setdefault(label_to_symbol(label), {}).update({key: value for key, value in named.items() if abs(value) > 1e-8})
    projectors = re.search(r"Hubbard projectors:\s*(\S+)", text)
    kind = re.search(r"lda_plus_u_kind\s*=\s*(\d)", text)
    return with_form(found, projectors[1] if projectors else "", int(kind[1]) if kind else 0)
