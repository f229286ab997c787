"""One entry or reference of a state as a scientist looks at it: what it is, where it comes from, and how stable it is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.analysis.hull.hull import decomposition
from coevo.analysis.standard_cells import ANGLE_TOLERANCE, standard_cell
from coevo.makers.populations.hull_members import is_counted

if TYPE_CHECKING:
    from coevo.node_store.views import StateView


def describe_entry(view: StateView, evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return what there is to say of an entry or reference beside its evaluation, as JSON.

    Parameters
    ----------
    view : StateView
    evaluation : dict
        Of the entry or reference, in that state.

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
    names = {document["_id"]: document.get("name") or "" for document in view.references()}
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
        "decomposition": _decomposition(view, evaluation, names),
        "labels": _labels(view, evaluation["structure_id"]),
        "matched_reference_name": names.get(evaluation.get("matched_reference") or ""),
    }


def _document(view: StateView, evaluation: dict[str, Any]) -> dict[str, Any]:
    kind: Any = "structures" if evaluation["kind"] == "entry" else "references"
    (document,) = view.documents(kind, [evaluation["structure_id"]])
    return document


def _decomposition(view: StateView, evaluation: dict[str, Any], names: dict[str, str]) -> dict[str, Any] | None:
    """The best mixture of the state's other phases. Copies of the phase are the phase itself."""
    own = evaluation["structure_id"]
    same = {own, evaluation.get("duplicate_of"), evaluation.get("matched_reference")}
    others = [
        row
        for row in view.evaluations()
        if is_counted(row)
        and row["structure_id"] not in same
        and not same & {row.get("duplicate_of"), row.get("matched_reference")} - {None}
    ]
    found = decomposition(
        view.document["elements"],
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


def _labels(view: StateView, structure_id: str) -> list[dict[str, Any]]:
    """Labelled frames of this structure, counted by what made them and what became of them."""
    counts = Counter(
        (label.get("code") or "", label.get("functional") or "", label.get("status") or "", label.get("split") or "")
        for label in view.labels()
        if label.get("family") == structure_id
    )
    keys = ("code", "functional", "status", "split")
    return [{**dict(zip(keys, key, strict=True)), "frames": count} for key, count in sorted(counts.items())]
