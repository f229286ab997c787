"""Which functional a ``pw.x`` run used: pw.x's name of it in the words of :mod:`coevo.labelling.imported.functionals`.

pw.x prints a short name (``PBE``), or the names of exchange, correlation and their gradient corrections (``SLA PW PBX PBC``), or
the numbers of libxc (``XC-000I-000I-…-497L-498L``). The same functional may be printed in each way, by version and potential.
What is not in the table keeps the name that pw.x prints.

Also here, Hubbard corrections by the element that carries them. pw.x prints them (``summary.f90``, ``hub_summary``) as
``U(Fe-3d) =  4.6000``, before version 7 as a table, and what is zero not at all. Beside U stand J0, alpha and beta in Dudarev's
form, J, B, E2 and E3 in Liechtenstein's; the projectors change every number. The V of DFT+U+V are of pairs of atoms, which no
setting of a label can say.
"""

from __future__ import annotations

import re
from typing import Any

from coevo.labelling.espresso.checks import FUNCTIONAL_NAMES

OTHER_NAMES: dict[str, frozenset[str]] = {
    "LDA": frozenset({"LDA", "PZ", "SLA PZ NOGX NOGC", "SLA PZ"}),
    "LDA(PW)": frozenset({"PW", "SLA PW NOGX NOGC", "SLA PW"}),
    "revPBE": frozenset({"REVPBE", "SLA PW REVX PBC", "SLA PW RPB PBC", "SLA PW REVX PBE"}),
    "RPBE": frozenset({"RPBE", "SLA PW HHNX PBC"}),
    "PW91": frozenset({"PW91", "SLA PW GGX GGC"}),
    "BLYP": frozenset({"BLYP", "SLA LYP B88 BLYP"}),
    "TPSS": frozenset({"TPSS", "SLA PW TPSS TPSS"}),
    "SCAN": frozenset({"SCAN"}),
    "rSCAN": frozenset({"RSCAN"}),
    "r2SCAN": frozenset({"R2SCAN"}),
    "PBE0": frozenset({"PBE0", "PB0X PW PB0X PBC"}),
    "HSE06": frozenset({"HSE", "SLA PW HSE PBC"}),
    "B3LYP": frozenset({"B3LYP", "B3LP B3LP B3LP B3LP"}),
    "HF": frozenset({"HF", "HF NONE NONE NONE"}),
    "vdW-DF": frozenset({"VDW-DF", "VDW-DF1", "SLA PW RPB VDW1", "SLA PW REVX VDW1"}),
    "vdW-DF2": frozenset({"VDW-DF2", "SLA PW RW86 VDW2"}),
    "vdW-DF-cx": frozenset({"VDW-DF-CX", "SLA PW CX0P VDW1", "SLA PW CX0 VDW1"}),
    "rev-vdW-DF2": frozenset({"REV-VDW-DF2", "VDW-DF2-B86R", "SLA PW B86R VDW2"}),
    "optB88-vdW": frozenset({"VDW-DF-OB88", "SLA PW OB88 VDW1", "VDW-DF-OPTB88"}),
    "optB86b-vdW": frozenset({"VDW-DF-OB86", "SLA PW OB86 VDW1", "VDW-DF-OB86B"}),
    "rVV10": frozenset({"RVV10", "SLA PW RW86 PBC VV10"}),
}
"""Our name to the names of pw.x, in capitals, beside those of :data:`FUNCTIONAL_NAMES`."""

LIBXC: dict[frozenset[int], str] = {
    frozenset({1, 9}): "LDA",
    frozenset({1, 12}): "LDA(PW)",
    frozenset({101, 130}): "PBE",
    frozenset({116, 133}): "PBEsol",
    frozenset({117, 130}): "RPBE",
    frozenset({263, 267}): "SCAN",
    frozenset({493, 494}): "rSCAN",
    frozenset({497, 498}): "r2SCAN",
}
"""Numbers of libxc to our name."""

OWN_NUMBERS: dict[tuple[str, ...], str] = {
    ("001I", "001I"): "LDA",
    ("001I", "004I"): "LDA(PW)",
    ("001I", "004I", "003I", "004I"): "PBE",
    ("001I", "004I", "010I", "008I"): "PBEsol",
    ("001I", "004I", "004I", "004I"): "revPBE",
    ("001I", "004I", "002I", "002I"): "PW91",
    ("001I", "003I", "001I", "003I"): "BLYP",
}
"""Numbers of pw.x itself (``Modules/funct.f90``), in its order, to our name."""

PW_NUMBERS = {"001I": 1, "004I": 12}
"""Slater exchange and Perdew-Wang correlation of pw.x itself, as libxc numbers them; they may stand beside numbers of libxc."""

DISPERSION = {
    "grimme-d2": "D2",
    "dft-d": "D2",
    "grimme-d3": "D3",
    "dft-d3": "D3",
    "ts-vdw": "TS",
    "ts": "TS",
    "tkatchenko-scheffler": "TS",
    "mbd": "MBD",
    "mbd_vdw": "MBD",
    "many-body dispersion": "MBD",
    "xdm": "XDM",
}
"""``vdw_corr`` of the input, in small letters, to what it adds."""

PRINTED_DISPERSION = (
    (r"Grimme-D2\)? Correction|Parameters for Dispersion Correction", "D2"),
    (r"DFT-D3 Dispersion", "D3"),
    (r"MBD(?:-vdW)?\s+[Ii]nitialization|MBD@rsSCS|Many-body dispersion|MBD corr", "MBD"),
    (r"TS-vdW initialization|Dispersion T-S Correction", "TS"),
    (r"\bXDM\b", "XDM"),
)
"""What an output prints where dispersion is added; many-body dispersion prints the words of TS too."""

_TABLE = {name: ours for ours, names in {**OTHER_NAMES, **FUNCTIONAL_NAMES}.items() for name in names}


def name_of(printed: str) -> str:
    """Return our name of a functional that pw.x prints; the printed one where it is not in the table."""
    words = " ".join(re.split(r"[+\s]+", printed.strip().upper())).strip()
    if words in _TABLE:
        return _TABLE[words]
    parts = words.split()
    if len(parts) == 4 and "-".join(parts) in _TABLE:
        return _TABLE["-".join(parts)]
    numbers = [number for number in re.findall(r"\d{3}[IL]", words) if number != "000I"]
    if words.startswith("XC") and numbers:
        if tuple(numbers) in OWN_NUMBERS:
            return OWN_NUMBERS[tuple(numbers)]
        found = frozenset(PW_NUMBERS.get(number, int(number[:3]) if number.endswith("L") else -1) for number in numbers)
        return LIBXC.get(found, words)
    return _TABLE.get(words.replace(" ", "-"), words)


def with_additions(base: str, dispersion: str, hubbard: bool) -> str:
    """Return a name with what is added to it."""
    return base + (f"+{dispersion}" if dispersion else "") + ("+U" if hubbard else "")


def printed_dispersion(header: str) -> str:
    """Return what an output says that it adds for dispersion; empty if nothing."""
    return next((name for pattern, name in PRINTED_DISPERSION if re.search(pattern, header)), "")


Hubbard = dict[str, dict[str, Any]]
"""Element to U by shell, eV (``{"d": 4.6}``); what else is not zero (``{"J_d": 0.5}``); projectors and form, if not the usual."""

PAIRS = "DFT+U+V, whose V are of pairs of atoms and not of elements"
"""Why such a run is refused."""

_NUMBER = r"([-+]?[\d.]+)"
_PRINTED = rf"\b(U|J0|alpha|beta|J|B|E2|E3)\((\w+)-\d?([spdf])(?:-\d[spdf])?\)\s*=\s*{_NUMBER}"
_OF_SHELL = {"s": (), "p": ("J",), "d": ("J", "B"), "f": ("J", "E2", "E3")}
_PRINTED_TABLE = r"LDA\+U calculation[^\n]*\n\s*atomic species[^\n]*\n((?:[ \t]*\S+[ \t]+\d+[ \t]+[-\d.][^\n]*\n)+)"
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
    if re.search(r"lda_plus_u\s*=\s*T", text) and not (re.search(_PRINTED, text) or re.search(_PRINTED_TABLE, text)):
        return "lda_plus_u = T, and no U of an element is printed in a way that is known here"
    return ""


def printed_hubbard(text: str) -> Hubbard:
    """Read the corrections that an output names."""
    from ase.io.espresso import label_to_symbol

    found: Hubbard = {}
    for name, label, shell, value in re.findall(_PRINTED, text):
        if float(value):
            found.setdefault(label_to_symbol(label), {})[key_of(name, shell)] = float(value)
    table = re.search(_PRINTED_TABLE, text)
    for line in table[1].splitlines() if table else ():
        label, number, *values = line.split()
        named = {key_of(name, "spdf"[int(number)]): float(value) for name, value in zip(_COLUMNS, values, strict=False)}
        found.setdefault(label_to_symbol(label), {}).update({key: value for key, value in named.items() if abs(value) > 1e-8})
    projectors = re.search(r"Hubbard projectors:\s*(\S+)", text)
    kind = re.search(r"lda_plus_u_kind\s*=\s*(\d)", text)
    return with_form(found, projectors[1] if projectors else "", int(kind[1]) if kind else 0)
