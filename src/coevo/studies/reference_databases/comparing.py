"""A state's energies of its references beside those of the databases that they came from: two hulls, each by its own energies.

The state's energies are those of its force field; a database's are its own first-principles ones, corrected or not, on its own
hull. They are laid side by side and never subtracted but to say how far apart they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.configs.structures.reference_files import MAX_FILE
from coevo.errors import ReferenceDataError
from coevo.studies.known_sets.http_json import printable
from coevo.studies.reference_databases.answers import finite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.node_store.views import StateView

ON_HULL = 1e-4
"""eV/atom; a phase at most so far above a hull is on it. OQMD gives negative values for phases that make it."""


@dataclass(frozen=True)
class Beside:
    """A reference of a state and what one database says of it.

    Attributes
    ----------
    name, formula : str
    is_element : bool
    database, id : str
    ours, theirs : float or None
        Energy above hull, eV/atom: of the state's force field on the state's hull, and as the database gives it.
    our_formation, their_formation : float or None
        Formation energy, eV/atom, each against its own elements.
    """

    name: str
    formula: str
    is_element: bool
    database: str
    id: str
    ours: float | None
    theirs: float | None
    our_formation: float | None
    their_formation: float | None


@dataclass(frozen=True)
class Agreement:
    """What a state and a database have in common.

    Attributes
    ----------
    database : str
    phases : int
        References of the state that the database has, with an energy above hull of both.
    compounds : int
        Those of several elements with a formation energy of both.
    mean_difference, mean_absolute_difference : float or None
        Of their formation energies, the state's less the database's, eV/atom.
    both, only_ours, only_theirs : list of str
        Reduced formulas on both hulls, on one, and on the other, among these phases.
    """

    database: str
    phases: int
    compounds: int
    mean_difference: float | None
    mean_absolute_difference: float | None
    both: list[str]
    only_ours: list[str]
    only_theirs: list[str]


def beside_databases(view: StateView, path: Path) -> list[Beside]:
    """Lay a state's references beside what a fetched file says of them.

    Parameters
    ----------
    view : StateView
    path : Path
        As ``coevo references fetch`` wrote it.

    Returns
    -------
    list of Beside
        By the state's energy above hull; of several entries of one database the one that it has lowest.

    Raises
    ------
    ReferenceDataError
        If the file is none that was fetched, or the state has none of its phases as a reference.
    """
    told = _told(path)
    evaluations = {document["structure_id"]: document for document in view.evaluations("reference")}
    rows: list[Beside] = []
    for reference in view.references():
        evaluation = evaluations.get(reference["_id"])
        if evaluation is None:
            continue
        rows += [
            Beside(
                str(reference["name"]),
                evaluation["formula"],
                evaluation["nelements"] == 1,
                entry["database"],
                entry["id"],
                finite(evaluation.get("energy_above_hull")),
                entry["hull"],
                finite(evaluation.get("formation_energy_per_atom")),
                entry["formation"],
            )
            for entry in told.get(str(reference.get("name")), ())
        ]
    if not rows:
        raise ReferenceDataError(
            f"{path}: no reference of {view.node} is called as one of its phases; was the node made from it?"
        )
    return sorted(rows, key=lambda row: (row.ours is None, row.ours or 0.0, row.name, row.database))


def agreements(rows: Sequence[Beside]) -> list[Agreement]:
    """Say for each database how far the state agrees with it."""
    found = []
    for database in dict.fromkeys(row.database for row in rows):
        own = [row for row in rows if row.database == database]
        valued = [row for row in own if row.ours is not None and row.theirs is not None]
        differences = [
            row.our_formation - row.their_formation
            for row in own
            if not row.is_element and row.our_formation is not None and row.their_formation is not None
        ]
        ours = {row.formula for row in valued if row.ours is not None and row.ours <= ON_HULL}
        theirs = {row.formula for row in valued if row.theirs is not None and row.theirs <= ON_HULL}
        count = len(differences)
        found.append(
            Agreement(
                database,
                len(valued),
                count,
                sum(differences) / count if count else None,
                sum(map(abs, differences)) / count if count else None,
                sorted(ours & theirs),
                sorted(ours - theirs),
                sorted(theirs - ours),
            )
        )
    return found


def _told(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What databases say, by the name of the phase; of each database its lowest entry."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError
        phases = json.loads(path.read_text(encoding="utf-8"))["phases"]
        return {str(phase["name"]): _lowest(phase["databases"]) for phase in phases}
    except OSError as err:
        raise ReferenceDataError(f"{path}: cannot be read: {err.strerror or err}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ReferenceDataError(f"{path}: not a file of coevo references fetch, which has phases with databases") from None


def _lowest(databases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    entries = [
        {
            "database": printable(str(told["database"])),
            "id": printable(str(told["id"])),
            "hull": finite(told.get("energy_above_hull")),
            "formation": finite(told.get("formation_energy_per_atom")),
        }
        for told in databases
    ]
    entries.sort(key=lambda entry: (entry["hull"] is None, entry["hull"] or 0.0))
    return list({entry["database"]: entry for entry in reversed(entries)}.values())[::-1]
