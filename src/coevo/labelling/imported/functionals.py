"""Names of functionals: one spelling for each, and whether two names mean the same.

A name is a functional, then what is added to it: ``PBE``, ``r2SCAN``, ``HSE06``, ``PBE+D3``, ``PBE+U``, ``SCAN+rVV10``. A name
that is not in the table stays as it is written.
"""

from __future__ import annotations

import re

from coevo.errors import LabellingError

NAMES = (
    "LDA",
    "PBE",
    "PBEsol",
    "revPBE",
    "RPBE",
    "PW91",
    "AM05",
    "BLYP",
    "TPSS",
    "revTPSS",
    "M06-L",
    "SCAN",
    "rSCAN",
    "r2SCAN",
    "r4SCAN",
    "HF",
    "HSE03",
    "HSE06",
    "HSEsol",
    "PBE0",
    "B3LYP",
    "BEEF-vdW",
    "vdW-DF",
    "vdW-DF2",
    "vdW-DF-cx",
    "rev-vdW-DF2",
    "optPBE-vdW",
    "optB88-vdW",
    "optB86b-vdW",
    "rVV10",
    "U",
    "D2",
    "D3",
    "D4",
    "TS",
    "MBD",
    "dDsC",
    "XDM",
)
"""The spelling of a functional, or of what is added to one."""

ADDITIONS = NAMES[NAMES.index("rVV10") :]
"""What is no functional but added to one."""

OTHER_SPELLINGS = {
    "gga": "PBE",
    "pe": "PBE",
    "ps": "PBEsol",
    "hse": "HSE06",
    "d3bj": "D3",
    "d30": "D3",
    "d3zero": "D3",
    "dftd2": "D2",
    "dftd3": "D3",
    "dftd3bj": "D3",
    "dftd4": "D4",
    "vdwdf1": "vdW-DF",
}
"""Letters and digits of other spellings, in lower case, to a name."""

_TABLE = {**{re.sub(r"[^a-z0-9]", "", name.lower()): name for name in NAMES}, **OTHER_SPELLINGS}


def canonical(name: str) -> str:
    """Return the one spelling of a name: ``R2SCAN`` is ``r2SCAN``, ``PBE-D3(BJ)`` is ``PBE+D3``, ``GGA_U`` is ``PBE+U``."""
    parts = re.sub(r"[-_ ](?=(?:D[234]|DFT-D[234]|U|TS|MBD|rVV10)(?:\W|$))", "+", name.strip(), flags=re.IGNORECASE).split("+")
    known = [_TABLE.get(re.sub(r"[^a-z0-9]", "", part.lower()), part.strip()) for part in parts]
    return "+".join([known[0], *sorted(known[1:])])


def base_of(name: str) -> str:
    """Return the functional of a name without what is added to it (``PBE+U`` is ``PBE``); empty if it is not in the table."""
    base = canonical(name).partition("+")[0]
    return base if base in NAMES and base not in ADDITIONS else ""


def settle(found: str | None, word: str | None, where: str, begins: str = "", why: str = "") -> str:
    """Return the functional of a file by what it says and what the user says.

    Parameters
    ----------
    found : str or None
        As the file states it.
    word : str or None
        As the user states it.
    where : str
        The file, for messages.
    begins, why : str
        Where the file states only the beginning (``PBE+``, and a dispersion that it does not name): that, and how one knows.

    Raises
    ------
    LabellingError
        If neither says it, or one contradicts the other.
    """
    if found:
        if word and canonical(word).lower() != canonical(found).lower():
            raise LabellingError(
                f"{where}: its functional is {canonical(found)}, not {word}: the file and --functional contradict each other; "
                "leave --functional out, or the file"
            )
        return canonical(found)
    start = begins.rstrip("+")
    if not word:
        if begins:
            raise LabellingError(f"{where}: {why}; name the whole functional: --functional {start}+D3 or the like")
        raise LabellingError(f"{where}: the file does not say its functional; give it: --functional PBE (or r2SCAN, …)")
    if begins and not canonical(word).lower().startswith(f"{canonical(start)}+".lower()):
        raise LabellingError(f"{where}: --functional says {word}, and the file {start} with something beyond it: {why}")
    return canonical(word)
