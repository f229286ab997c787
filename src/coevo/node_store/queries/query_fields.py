"""Fields of evaluations that filters and sorts may name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from coevo.errors import QueryError

FieldType = Literal["string", "number", "boolean", "list of strings"]


@dataclass(frozen=True)
class QueryField:
    """A field that filters and sorts may name.

    Attributes
    ----------
    stored : str
        Name in an evaluation document.
    type : {"string", "number", "boolean", "list of strings"}
    meaning : str
        With the unit.
    standard : bool
        Whether the OPTIMADE specification defines it.
    joined : bool
        Whether it stands in no evaluation: studies of the state say it.
    """

    stored: str
    type: FieldType
    meaning: str
    standard: bool = False
    joined: bool = False


FIELDS: dict[str, QueryField] = {
    "id": QueryField("structure_id", "string", "id of the entry", standard=True),
    "structure_id": QueryField("structure_id", "string", "id of the entry"),
    "elements": QueryField("elements", "list of strings", "elements in alphabetical order", standard=True),
    "nelements": QueryField("nelements", "number", "number of elements", standard=True),
    "chemical_formula_reduced": QueryField(
        "chemical_formula_reduced", "string", "reduced formula, elements in alphabetical order", standard=True
    ),
    "chemical_formula_anonymous": QueryField("chemical_formula_anonymous", "string", "A3B, A2BC3, …", standard=True),
    "nsites": QueryField("nsites", "number", "atoms in the cell", standard=True),
    "formula": QueryField("formula", "string", "reduced formula as displayed, Li3PS4"),
    "chemsys": QueryField("chemsys", "string", "elements joined by hyphens, Li-P-S"),
    "space_group": QueryField("space_group", "number", "number of the space group"),
    "volume_per_atom": QueryField("volume_per_atom", "number", "Å³"),
    "energy_per_atom": QueryField("energy_per_atom", "number", "eV/atom"),
    "formation_energy_per_atom": QueryField("formation_energy_per_atom", "number", "eV/atom"),
    "energy_above_hull": QueryField("energy_above_hull", "number", "against references and entries, eV/atom"),
    "energy_above_reference_hull": QueryField("energy_above_reference_hull", "number", "against references only, eV/atom"),
    "energy_above_hull_dft": QueryField("energy_above_hull_dft", "number", "by first-principles labels, eV/atom"),
    "is_stable_dft": QueryField("is_stable_dft", "boolean", "energy_above_hull_dft is at most the node's threshold"),
    "energy_above_hull_std": QueryField("energy_above_hull_std", "number", "spread over the second opinion, eV/atom"),
    "audit_verdict": QueryField("audit_verdict", "string", "stable, unstable or undecided, by an auditor that took no part"),
    "energy_above_hull_audit": QueryField("energy_above_hull_audit", "number", "by the auditor, on its own hull, eV/atom"),
    "hull_status": QueryField(
        "hull_status", "string", "where labelled phases make the hull: confirmed, unconfirmed, refuted or in_doubt"
    ),
    "model_energy_per_atom": QueryField("model_energy_per_atom", "number", "of a refuted entry, by the force field, eV/atom"),
    "scale_sensitive": QueryField("scale_sensitive", "boolean", "its stability hangs on the anion correction"),
    "energy_above_hull_uncorrected": QueryField(
        "energy_above_hull_uncorrected", "number", "without the anion correction of the scale, eV/atom"
    ),
    "fmax": QueryField("fmax", "number", "largest force on an atom, eV/Å"),
    "electron_excess": QueryField("electron_excess", "number", "electrons beyond what its elements can take, e-/atom"),
    "is_stable": QueryField("is_stable", "boolean", "energy_above_hull is at most the node's threshold"),
    "is_novel": QueryField("is_novel", "boolean", "matches no reference"),
    "is_sun": QueryField("is_sun", "boolean", "stable, unique and novel"),
    "is_confidently_sun": QueryField(
        "is_confidently_sun", "boolean", "S.U.N., and two families with different training agree on it"
    ),
    "matched_reference": QueryField("matched_reference", "string", "id of the reference that it matches"),
    "duplicate_of": QueryField("duplicate_of", "string", "id of the entry that represents it"),
    "dynamically_stable": QueryField(
        "dynamically_stable", "boolean", "no imaginary mode, by the newest study that says it; unknown without one", joined=True
    ),
    "iteration_added": QueryField("iteration_added", "number", "iteration that admitted it"),
}
"""Name in a filter to field. Standard properties keep their OPTIMADE meaning, so that the same filter works on a server."""

BY_MEMBER = "energies_above_hull."
"""How the fields begin that hold the values of one member of the second opinion: ``energies_above_hull.NAME``."""


def known_field(name: str, where: str) -> QueryField:
    """Look a field up, also that of a member of the second opinion.

    Raises
    ------
    QueryError
        If there is none of this name; the message lists those that there are.
    """
    if re.fullmatch(f"{re.escape(BY_MEMBER)}[a-z0-9_]+", name):
        return QueryField(name, "number", "by a member of the second opinion, eV/atom")
    if name not in FIELDS:
        close = get_close_matches(name, FIELDS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise QueryError(f"{where}: there is no field {name!r}{hint}; fields: {', '.join(FIELDS)}, {BY_MEMBER}NAME")
    return FIELDS[name]
