"""Which functional a ``pw.x`` run used: pw.x's name of it in the words of :mod:`coevo.labelling.imported.functionals`.

pw.x prints a short name (``PBE``), or the names of exchange, correlation and their gradient corrections (``SLA PW PBX PBC``), or
the numbers of libxc (``XC-000I-000I-…-497L-498L``). The same functional may be printed in each way, by version and potential.
What is not in the table keeps the name that pw.x prints.
"""

from __future__ import annotations

import re

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
