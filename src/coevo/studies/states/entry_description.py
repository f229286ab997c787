"""One entry or reference of a state as a scientist looks at it: what it is, where it comes from, and how stable it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.hull.hull import decomposition
from coevo.analysis.standard_cells import ANGLE_TOLERANCE, standard_cell
from coevo.makers.populations.hull_members import is_counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class Surroundings:
    """What the description of any entry of a state takes from the state's other documents, read once.

    Attributes
    ----------
    reference_names : dict of str to str
        Common names of references by id; empty where there is none.
    phases : dict of str to list of dict
        Evaluations that make the hull by formula, the lowest energy first; the fields :data:`PHASE_FIELDS`.
    labels : dict of str to list of dict
        Labelled frames by the id of the entry or reference, counted by code, functional, status and split.
    """

    reference_names: dict[str, str]
    phases: dict[str, list[dict[str, Any]]]
    labels: dict[str, list[dict[str, Any]]]


PHASE_FIELDS = ("structure_id", "kind", "formula", "energy_per_atom", "duplicate_of", "matched_reference")
_LABEL_KEYS = ("code", "functional", "status", "split")


def phases_of(evaluations: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what makes the hull by formula, the lowest energy first."""
    phases: dict[str, list[dict[str, Any]]] = {}
    for row in evaluations:
        if is_counted(row):
            phases.setdefault(row["formula"], []).append({name: row.get(name) for name in PHASE_FIELDS})
    for rows in phases.values():
        rows.sort(key=lambda row: (row["energy_per_atom"], row["structure_id"]))
    return phases


def surroundings_of(view: StateView) -> Surroundings:
    """Read the names, phases and labels of a state."""
    counts: dict[str, Counter[tuple[str, ...]]] = {}
    for label in view.labels():
        if label.get("family"):
            counts.setdefault(label["family"], Counter())[tuple(label.get(key) or "" for key in _LABEL_KEYS)] += 1
    labels = {
        family: [{**dict(zip(_LABEL_KEYS, key, strict=True)), "frames": count} for key, count in sorted(found.items())]
        for family, found in counts.items()
    }
    return Surroundings(
        {document["_id"]: document.get("name") or "" for document in view.references()}, phases_of(view.evaluations()), labels
    )


def describe_entry(view: StateView, evaluation: dict[str, Any], around: Surroundings | None = None) -> dict[str, Any]:
    """Return what there is to say of an entry or reference beside its evaluation, as JSON.

    Parameters
    ----------
    view : StateView
    evaluation : dict
        Of the entry or reference, in that state.
    around : Surroundings, optional
        Of that state, where many entries are described; read by default.

    Returns
    -------
    dict
        ``space_group_symbol``, ``…_number``, ``…_symprec`` (Å) and ``…_angle_tolerance`` (degrees), ``cell`` (Å, degrees),
        ``density`` (g/cm³), ``origin``, ``name``, ``source`` and ``licence`` (of references), ``decomposition`` (products with
        amounts per formula unit; None for the only phase of its elements), ``labels`` (frames by code, functional, status and
        split) and ``matched_reference_name``.
    """
    structure = view.structure(evaluation["structure_id"])
    cell, lattice = standard_cell(structure, "as-is"), structure.lattice
    around = around or surroundings_of(view)
    document = _document(view, evaluation)
    return {
        "space_group_symbol": cell.symbol,
        "space_group_number": cell.number,
        "space_group_symprec": cell.symprec,
        "space_group_angle_tolerance": ANGLE_TOLERANCE,
        "cell_formula": structure.composition.formula,
        "cell": dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), map(float, lattice.parameters), strict=True)),
        "density": float(structure.density),
        "origin": document.get("origin"),
        "name": document.get("name"),
        "source": document.get("source"),
        "licence": document.get("licence"),
        "decomposition": products_of(view.document["elements"], evaluation, around.phases, around.reference_names),
        "labels": around.labels.get(evaluation["structure_id"], []),
        "matched_reference_name": around.reference_names.get(evaluation.get("matched_reference") or ""),
    }


def _document(view: StateView, evaluation: dict[str, Any]) -> dict[str, Any]:
    kind: Any = "structures" if evaluation["kind"] == "entry" else "references"
    (document,) = view.documents(kind, [evaluation["structure_id"]])
    return document


def products_of(
    elements: Sequence[str], evaluation: dict[str, Any], phases: dict[str, list[dict[str, Any]]], names: dict[str, str]
) -> dict[str, Any] | None:
    """Return the best mixture of a state's other phases. Copies of the phase are the phase itself.

    Parameters
    ----------
    elements : sequence of str
        Of the state.
    evaluation : dict
        Of the entry or reference.
    phases : dict
        Of :func:`phases_of`.
    names : dict of str to str
        Common names of references by id.

    Returns
    -------
    dict or None
        ``products`` with amounts per formula unit, and ``energy_per_atom`` of the phase above them (eV/atom, negative where it
        is below). None for the only phase of its elements.
    """
    own = evaluation["structure_id"]
    same = {own, evaluation.get("duplicate_of"), evaluation.get("matched_reference")}
    # of each composition only the lowest can be a product
    others = [
        row for rows in phases.values() if (row := next((row for row in rows if not _is_one_of(row, same)), None)) is not None
    ]
    found = decomposition(
        elements,
        evaluation["formula"],
        evaluation["energy_per_atom"],
        [(row["formula"], row["energy_per_atom"]) for row in others],
    )
    if found is None:
        return None
    products = [
        {
            "structure_id": others[product.index]["structure_id"],
            "kind": others[product.index]["kind"],
            "name": names.get(others[product.index]["structure_id"], ""),
            "formula": others[product.index]["formula"],
            "amount": product.amount,
            "atomic_fraction": product.atomic_fraction,
        }
        for product in found.products
    ]
    return {"products": products, "energy_per_atom": found.energy}


def _is_one_of(row: dict[str, Any], same: set[Any]) -> bool:
    return row["structure_id"] in same or bool(same & ({row["duplicate_of"], row["matched_reference"]} - {None}))
