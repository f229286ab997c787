"""What there is to say of one entry or reference, as rows of names and values for a terminal or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.words import entry_rows as audit_rows
from coevo.studies.states.electron_words import entry_excess_rows
from coevo.studies.states.graph import SHORT_ID
from coevo.studies.states.hull_words import entry_hull_rows
from coevo.studies.states.second_opinion import entry_rows as opinion_rows
from coevo.studies.states.second_opinion import sun_words

if TYPE_CHECKING:
    from coevo.node_store.views import StateView

_ROUNDING = 1e-9
"""eV/atom; what is nearer to the hull is on it."""


def entry_rows(view: StateView, evaluation: dict[str, Any], more: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values; ``more`` is of :func:`coevo.studies.states.entry_description.describe_entry`."""
    audited = audit_rows(evaluation, view.document["metrics"])
    return [*_what(evaluation, more), *_energies(evaluation, more), *audited, *_standing(evaluation, more)]


def dynamics_word(row: dict[str, Any]) -> str:
    """What a study of vibrations says of an entry or reference, if there is one."""
    said = row.get("dynamically_stable")
    return "" if said is None else "dynamically stable" if said else "dynamically unstable"


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
    return [*rows, *entry_excess_rows(row)]


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
        *entry_hull_rows(row),
        *_on_scale(row),
        *opinion_rows(row),
        ("decomposes into" if row["energy_above_hull"] > _ROUNDING else "competes with", _products(more["decomposition"])),
    ]
    if row.get("energy_above_hull_dft") is not None:
        verdict = "stable" if row.get("is_stable_dft") else "not stable"
        rows.append(("E_hull by DFT", f"{row['energy_above_hull_dft']:.4f} eV/atom, {verdict} (first-principles labels)"))
    rows.append(("largest force", f"{row['fmax']:.3f} eV/Å" + (f"; {row['note']}" if row.get("note") else "")))
    return rows


def _on_scale(row: dict[str, Any]) -> list[tuple[str, str]]:
    """What the anion correction of the scale does to a phase whose anions are bonded to each other."""
    without = row.get("energy_above_hull_uncorrected")
    if not row.get("scale_sensitive") or without is None:
        return []
    return [
        ("… uncorrected", f"{without:.4f} eV/atom without the MP2020 correction of anions, of which it has some that are bonded")
    ]


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
        words.append("S.U.N. by the model" if row["is_sun"] else "not S.U.N.")
        words += filter(None, [sun_words(row)])
    rows = [("standing", ", ".join(words))]
    if said := dynamics_word(row):
        rows.append(("vibrations", f"{said} by the state's force field (coevo study list REF)"))
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
