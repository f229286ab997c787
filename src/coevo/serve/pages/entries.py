"""The page of an entry or reference: what it is, how stable by whose word, what it would become, and its files."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import QueryError
from coevo.node_store.recorded import readable
from coevo.output.plain_text import json_text, plain
from coevo.report.figures.plots import formula_text
from coevo.report.motif_pictures import motif_svg
from coevo.report.tables import group_text, number
from coevo.serve.pages.rendering import rendered
from coevo.studies.states.entry_description import describe_entry
from coevo.studies.states.entry_rows import entry_rows
from coevo.studies.states.exporting import as_extxyz, cif_text, poscar_text
from coevo.studies.states.label_scales import teacher_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure

    from coevo.node_store.views import StateView
    from coevo.serve.served import Served

MOST_ATOMS = 400
"""In the picture of a structure; larger cells have their files only."""
_MOST_MOTIFS = 6


def entry_page(served: Served, view: StateView, identifier: str) -> str:
    """Return the page of an entry or reference."""
    evaluation = served.evaluation(view, identifier)
    with served.lock, readable(view):
        more = describe_entry(view, evaluation, served.surroundings(view))
        structure = view.structure(evaluation["structure_id"])
    matched = evaluation.get("matched_reference")
    products = [] if more["decomposition"] is None else more["decomposition"]["products"]
    own = evaluation["structure_id"]
    return rendered(
        "entry.html.j2",
        view=view,
        id=own,
        kind=evaluation["kind"],
        formula=formula_text(evaluation["formula"]),
        name=more["name"] or "",
        symbol=group_text(evaluation.get("space_group")),
        rows=entry_rows(view, evaluation, more),
        hulls=_hulls(view, evaluation, matched and more["matched_reference_name"]),
        products=[{**product, "formula": formula_text(product["formula"])} for product in products],
        above=None if more["decomposition"] is None else more["decomposition"]["energy_per_atom"],
        matched=matched,
        duplicate_of=evaluation.get("duplicate_of"),
        motifs=_motifs(structure),
        drawn=len(structure) <= MOST_ATOMS,
        atoms=len(structure),
        formats=list(FORMATS),
        checkpoints=view.document["checkpoints"],
        teacher=teacher_of(view.document),
        command=f"coevo show {view.node}@{view.id[:16]} {own[:16]}",
    )


def _hulls(view: StateView, row: dict[str, Any], matched_name: str | None) -> list[tuple[str, str, str]]:
    """Energy above hull by whoever says one: who, eV/atom, on which hull."""
    family = view.document["checkpoints"]["force_field"]["family"]
    scale = str(view.document["config"]["node"].get("energy_scale", ""))
    metrics = view.document["metrics"]
    found = [
        (f"this state's force field ({family})", row.get("energy_above_hull"), f"references and entries, scale {scale}"),
        ("the same", row.get("energy_above_reference_hull"), "references alone"),
        ("the same, without the anion correction", row.get("energy_above_hull_uncorrected"), "all phases without it"),
        ("first-principles labels", row.get("energy_above_hull_dft"), "labels alone"),
        *(
            (f"{name}, of the second opinion", value, "its own")
            for name, value in sorted((row.get("energies_above_hull") or {}).items())
        ),
        ("an auditor that took no part", row.get("energy_above_hull_audit"), "its own"),
    ]
    rows = [(who, number(value, 4), hull) for who, value, hull in found if value is not None]
    if row.get("matched_reference") or row["kind"] == "reference":
        source = metrics.get("reference_set", {}).get("name", "")
        what = f"known phase {matched_name}" if matched_name else "known phase"
        rows.append((f"reference set {source}", what, "the set has no energies of its own in this state"))
    return rows


def _motifs(structure: Structure) -> list[dict[str, Any]]:
    """Bonded pieces of the non-metals, the first few with a picture."""
    from markupsafe import Markup

    from coevo.analysis.motifs.motifs import motifs_of

    found = motifs_of(structure)
    return [
        {
            "name": motif.name,
            "kind": motif.kind,
            "charge": "" if motif.charge is None else f"{motif.charge:+d}" if motif.charge else "0",
            "units": motif.units,
            # our own drawing, whose texts are symbols of elements
            "svg": Markup(motif_svg(motif)) if place < _MOST_MOTIFS else "",  # noqa: S704
        }
        for place, motif in enumerate(found)
    ]


# --- files


def _cif(view: StateView, evaluation: dict[str, Any], structure: Structure) -> str:  # noqa: ARG001
    return cif_text(structure, evaluation["structure_id"][:16])[0]


def _poscar(view: StateView, evaluation: dict[str, Any], structure: Structure) -> str:  # noqa: ARG001
    return poscar_text(structure, f"{structure.composition.reduced_formula} {evaluation['structure_id'][:16]}")[0]


def _extxyz(view: StateView, evaluation: dict[str, Any], structure: Structure) -> str:  # noqa: ARG001
    return as_extxyz(view, [evaluation])


def _json(view: StateView, evaluation: dict[str, Any], structure: Structure) -> str:
    known = {key: value for key, value in evaluation.items() if key != "relaxed"}
    return json_text({"node": view.node, "state": view.id, "evaluation": known, "structure": structure.as_dict()})


Writer = tuple[str, "Callable[[StateView, dict[str, Any], Structure], str]"]
FORMATS: dict[str, Writer] = {
    "cif": ("chemical/x-cif", _cif),
    "vasp": ("text/plain", _poscar),
    "extxyz": ("text/plain", _extxyz),
    "json": ("application/json", _json),
}
"""Suffix of a file to its type of medium and what writes it; ``vasp`` is a POSCAR."""


def entry_file(served: Served, view: StateView, identifier: str, suffix: str) -> tuple[str, str, str]:
    """Return a file of an entry: its name, type of medium and text.

    Raises
    ------
    QueryError
        If there is no such entry or format.
    """
    if suffix not in FORMATS:
        raise QueryError(f"there is no format {suffix[:20]!r}; there are {', '.join(FORMATS)}")
    medium, write = FORMATS[suffix]
    with served.lock:
        evaluation = served.evaluation(view, identifier)
        structure = view.structure(evaluation["structure_id"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = write(view, evaluation, structure)
    # of the geometry's own formula and id, which a stranger cannot choose
    return f"{structure.composition.reduced_formula}-{evaluation['structure_id'][:16]}.{suffix}", medium, text


def picture_data(served: Served, view: StateView, identifier: str) -> dict[str, Any]:
    """Return a structure as chemiscope's data set of one.

    Raises
    ------
    QueryError
        If there is no such entry, or it has too many atoms.
    """
    with served.lock:
        evaluation = served.evaluation(view, identifier)
        structure = view.structure(evaluation["structure_id"])
    if len(structure) > MOST_ATOMS:
        raise QueryError(f"{len(structure)} atoms; pictures have {MOST_ATOMS} at most")
    x, y, z = np.round(structure.cart_coords, 4).T.tolist()
    return {
        "meta": {"name": plain(f"{evaluation['formula']} {evaluation['structure_id'][:8]}")},
        "structures": [
            {
                "size": len(structure),
                "names": [site.specie.symbol for site in structure],
                "x": x,
                "y": y,
                "z": z,
                "cell": np.round(structure.lattice.matrix, 4).ravel().tolist(),
            }
        ],
        "properties": {"atoms": {"target": "structure", "values": [len(structure)]}},
        "settings": {"target": "structure", "structure": [{"unitCell": True, "spaceFilling": False, "bonds": True}]},
    }
