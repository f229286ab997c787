"""One entry or reference of a state as a scientist looks at it: what it is, where it comes from, and how stable it is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from coevo.analysis.hull.hull import decomposition
from coevo.analysis.standard_cells import ANGLE_TOLERANCE, standard_cell

if TYPE_CHECKING:
    from coevo.node_store.views import StateView

SHORT_ID = 8
_ROUNDING = 1e-9
"""eV/atom; what is nearer to the hull is on it."""


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
        if row["structure_id"] not in same and not same & {row.get("duplicate_of"), row.get("matched_reference")} - {None}
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


def entry_table(view: StateView, evaluation: dict[str, Any], more: dict[str, Any]) -> Table:
    """Return an entry as a table for the terminal."""
    table = Table(
        title=f"{evaluation['kind']} {evaluation['structure_id'][:12]} of {view.node}@{view.id[:12]}, iteration {view.iteration}",
        show_header=False,
        title_justify="left",
    )
    table.add_column("what", style="bold")
    table.add_column("value", overflow="fold")
    for row in (*_what(evaluation, more), *_energies(evaluation, more), *_standing(evaluation, more)):
        table.add_row(*row)
    return table


def _what(row: dict[str, Any], more: dict[str, Any]) -> list[tuple[str, str]]:
    cell = more["cell"]
    group = "none found" if more["space_group_symbol"] is None else f"{more['space_group_symbol']} ({more['space_group_number']})"
    rows = [
        ("formula", f"{row['formula']}, {row['nsites']} atoms in the cell ({more['cell_formula']})"),
        ("space group", f"{group} by spglib, symprec {more['space_group_symprec']:g} Å"),
        (
            "cell",
            f"{cell['a']:.3f} {cell['b']:.3f} {cell['c']:.3f} Å, {cell['alpha']:.2f} {cell['beta']:.2f} {cell['gamma']:.2f}°",
        ),
        ("density", f"{more['density']:.2f} g/cm³, {row['volume_per_atom']:.2f} Å³/atom"),
    ]
    if more["name"]:
        rows.insert(0, ("name", more["name"]))
    if more["source"]:
        rows.append(("source", more["source"] + (f" ({more['licence']})" if more["licence"] else "")))
    if row["kind"] == "entry":
        rows.append(("origin", _origin(row, more["origin"])))
    return rows


def _origin(row: dict[str, Any], origin: Any) -> str:
    """How the entry came into the node; what the generator notes of a draw differs by family."""
    text = f"generated, admitted in iteration {row['iteration_added']}"
    if not isinstance(origin, dict):
        return text
    if operator := origin.get("operator"):
        parents = [str(parent)[:SHORT_ID] for parent in origin.get("parents") or () if isinstance(parent, str)]
        text += f", by {operator}" + (f" of {', '.join(parents)}" if parents else "")
    return text + (f"; generator {str(origin['generator'])[:12]}" if origin.get("generator") else "")


def _energies(row: dict[str, Any], more: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("energy", f"{row['energy_per_atom']:.4f} eV/atom; formation {row['formation_energy_per_atom']:.4f} eV/atom"),
        (
            "E_hull",
            f"{row['energy_above_hull']:.4f} eV/atom; against references only {row['energy_above_reference_hull']:.4f} eV/atom",
        ),
        ("decomposes into" if row["energy_above_hull"] > _ROUNDING else "competes with", _products(more["decomposition"])),
    ]
    if row.get("energy_above_hull_dft") is not None:
        verdict = "stable" if row.get("is_stable_dft") else "not stable"
        rows.append(("E_hull by DFT", f"{row['energy_above_hull_dft']:.4f} eV/atom, {verdict} (first-principles labels)"))
    rows.append(("largest force", f"{row['fmax']:.3f} eV/Å" + (f"; {row['note']}" if row.get("note") else "")))
    return rows


def _products(found: dict[str, Any] | None) -> str:
    if found is None:
        return "nothing: the state has no other phase of its elements"
    parts = [
        f"{product['amount']:.4g} {product['formula']} ({product['name'] or product['kind'] + ' ' + product['structure_id'][:8]})"
        for product in found["products"]
    ]
    energy = found["energy_per_atom"]
    gain = "more" if energy < 0 else "less"
    return f"{' + '.join(parts)}; {abs(energy):.4f} eV/atom {gain} stable than these"


def _standing(row: dict[str, Any], more: dict[str, Any]) -> list[tuple[str, str]]:
    words = ["stable" if row["is_stable"] else "not stable"]
    if row["kind"] == "entry":
        words.append("novel" if row["is_novel"] else "not novel")
        words.append("S.U.N." if row["is_sun"] else "not S.U.N.")
    rows = [("standing", ", ".join(words))]
    if row.get("duplicate_of"):
        rows.append(("duplicate of", row["duplicate_of"]))
    if row.get("matched_reference"):
        named = f"{more['matched_reference_name']}, " if more["matched_reference_name"] else ""
        rows.append(("matches", f"{named}reference {row['matched_reference']}"))
    rows.append(("labels", _label_words(more["labels"])))
    rows.append(("id", row["structure_id"]))
    return rows


def _label_words(labels: list[dict[str, Any]]) -> str:
    if not labels:
        return "none"
    return "; ".join(
        " ".join(word for word in (str(count["frames"]), count["code"], count["functional"], count["status"]) if word)
        + (f" ({count['split']})" if count["split"] else "")
        for count in labels
    )
