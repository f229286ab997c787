"""The tables of states and entries, as plain rows for the page and for CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.configs.electrons import has_electron_excess
from coevo.node_store.recorded import force_field_change
from coevo.report.figures.loop import row_anchor
from coevo.report.figures.plots import DataTable, formula_text
from coevo.report.folders import cif_name
from coevo.studies.states.electron_words import excess_rows
from coevo.studies.states.hull_words import hull_rows, standing_word
from coevo.studies.states.second_opinion import opinion_words, sun_count_words, sun_words
from coevo.studies.states.summaries import origin_line, reference_set_of

if TYPE_CHECKING:
    from coevo.report.figures.hull_points import HullPoints
    from coevo.report.gathering import ReportData

DASH = "–"
EXCESS_COLUMN = "electron excess (e⁻/atom)"
SUN_COLUMNS = (
    "id",
    "formula",
    "sites",
    "space group",
    "energy (eV/atom)",
    "formation energy (eV/atom)",
    "energy above hull (eV/atom)",
    "energy above the hull of references (eV/atom)",
    "energy above hull by first-principles labels (eV/atom)",
    "largest force (eV/angstrom)",
    "electron excess (e-/atom)",
    "iteration",
    "standard deviation of the energy above hull over the second opinion (eV/atom)",
    "confidently S.U.N.",
    "standing by labels",
)
_SUN_FIELDS = (
    "structure_id",
    "formula",
    "nsites",
    "space_group",
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "energy_above_reference_hull",
    "energy_above_hull_dft",
    "fmax",
    "electron_excess",
    "iteration_added",
    "energy_above_hull_std",
    "is_confidently_sun",
    "hull_status",
)


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes
    ----------
    columns : tuple of str
    rows : list of list of (str or Cell)
    numeric : frozenset of int
        Columns aligned to the right.
    """

    columns: tuple[str, ...]
    rows: list[list[Any]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Cell:
    """A cell that is more than text: with a link, an anchor of its row, or code."""

    text: str
    href: str = ""
    anchor: str = ""
    code: bool = False
    download: bool = False


def number(value: float | None, digits: int = 3) -> str:
    """Format a number, or a dash."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def labelled_by(data: ReportData) -> str:
    """Say who labels, plainly where it is another force field."""
    from coevo.labelling.registry import described

    return described(data.view.document["config"]["labelling"])


def header_rows(data: ReportData) -> list[tuple[str, str]]:
    """Return what the head of the page says of the state."""
    view, metrics = data.view, data.metrics
    config, counts, population = view.document["config"], view.document["counts"], metrics["population"]
    reference, threshold = metrics["reference_set"], f"{data.stable_threshold:g}"
    sun = f"{population['sun']} S.U.N. {sun_count_words(metrics)}"
    return [
        ("state", view.id),
        ("made", f"{view.document['created'][:16].replace('T', ' ')} UTC; {view.document['message']}"),
        ("branches here", ", ".join(data.branches.get(view.id, [])) or "none"),
        ("iteration", str(view.iteration)),
        *(("node started from", origin_line(state)) for state in data.states if state.started_from is not None),
        ("elements", ", ".join(data.elements)),
        ("energy scale", str(config["node"].get("energy_scale", DASH))),
        (
            "entries",
            f"{counts['entries']} ({population['stable']} with E_hull <= {threshold} eV/atom, {sun})",
        ),
        *hull_rows(metrics, config),
        *excess_rows(metrics),
        *([("second opinion", opinion_words(metrics))] if metrics.get("committee") else []),
        ("reference set", f"{reference_set_of(view.document)}, {reference['size']} structures"),
        ("labels", f"{counts.get('labels', 0)} frames, by {labelled_by(data)}"),
    ]


def sun_table(data: ReportData, most: int, motifs: dict[str, str] | None = None) -> PageTable:
    """Return the best S.U.N. entries; ``motifs`` by entry id."""
    by_labels = any(row.get("energy_above_hull_dft") is not None for row in data.sun_entries[:most])
    opinions = any("energies_above_hull" in row for row in data.sun_entries[:most])
    standing = any("hull_status" in row for row in data.sun_entries[:most])
    excess = any(has_electron_excess(row.get("electron_excess")) for row in data.sun_entries[:most])
    columns = (
        "formula",
        "E_hull",
        *(("±", "on the word of") if opinions else ()),
        "E_hull, references only",
        *(("E_hull by labels",) if by_labels else ()),
        *(("label",) if standing else ()),
        *((EXCESS_COLUMN,) if excess else ()),
        "space group",
        "sites",
        "iteration",
        *(("motifs",) if motifs is not None else ()),
        "id",
        "structure",
    )
    rows = [_sun_row(row, motifs, by_labels, opinions, standing, excess) for row in data.sun_entries[:most]]
    first = 3 + by_labels + 2 * opinions  # after the energies
    words = first + standing
    numeric = {1, *range(2 + 2 * opinions, first), *range(words, words + 3 + excess), *({2} if opinions else ())}
    return PageTable(columns, rows, frozenset(numeric))


def ruler_table(data: ReportData) -> PageTable:
    """Return the numbers of the ruler per iteration: energies, rates and diversity."""
    columns = (
        "iteration",
        "n",
        "median E_hull",
        "standard error",
        "stable",
        "unique",
        "novel",
        "S.U.N.",
        "distinct structures",
        "effective formulas",
        "effective space groups",
    )
    rows: list[list[Any]] = []
    for since, found in sorted((data.metrics.get("ruler") or {}).items(), key=lambda item: int(item[0])):
        if found:
            diversity = found.get("diversity") or {}
            shares = [found.get(name) for name in ("stable", "unique", "novel", "sun")]
            rows.append(
                [
                    since,
                    str(found.get("n", DASH)),
                    number(found["q50"]),
                    number(found.get("standard_error")),
                    *(DASH if share is None else f"{100 * share:.0f} %" for share in shares),
                    str(diversity.get("distinct", DASH)),
                    number(diversity.get("effective_formulas"), 1),
                    number(diversity.get("effective_space_groups"), 1),
                ]
            )
    return PageTable(columns, rows, frozenset(range(len(columns))))


_ON_THE_WORD_OF = {
    "confident": "two families",
    "disputed": "its force field; others disagree",
    "one family": "one family",
    "": DASH,
}


def _excess(row: dict[str, Any]) -> str:
    """The number where it is an excess: how far a composition is from one says nothing of its stability."""
    value = row.get("electron_excess")
    return number(value, 2) if has_electron_excess(value) else ""


def _sun_row(
    row: dict[str, Any], motifs: dict[str, str] | None, by_labels: bool, opinions: bool, standing: bool, excess: bool
) -> list[Any]:
    identifier = row["structure_id"]
    return [
        formula_text(row["formula"]),
        number(row["energy_above_hull"]),
        *([number(row.get("energy_above_hull_std")), _ON_THE_WORD_OF[sun_words(row)]] if opinions else []),
        number(row["energy_above_reference_hull"]),
        *([number(row.get("energy_above_hull_dft"))] if by_labels else []),
        *([standing_word(row) or DASH] if standing else []),
        *([_excess(row)] if excess else []),
        DASH if row["space_group"] is None else str(row["space_group"]),
        str(row["nsites"]),
        DASH if row["iteration_added"] is None else str(row["iteration_added"]),
        *([motifs.get(identifier, DASH)] if motifs is not None else []),
        Cell(identifier[:16], code=True, anchor=f"entry-{identifier[:16]}"),
        Cell("CIF", href=f"structures/{cif_name(row)}", download=True),
    ]


def sun_data(data: ReportData) -> DataTable:
    """All S.U.N. entries for a CSV."""
    return DataTable(SUN_COLUMNS, [tuple(row.get(field) for field in _SUN_FIELDS) for row in data.sun_entries])


def stable_table(points: HullPoints, names: dict[str, str]) -> PageTable:
    """Return the phases on the hull."""
    rows: list[list[Any]] = []
    excess = any(has_electron_excess(points.rows[index].get("electron_excess")) for index in points.corners)
    for index in points.corners:
        row = points.rows[index]
        kind = f"reference: {names.get(row['structure_id'], '')}" if row["kind"] == "reference" else "entry"
        rows.append(
            [
                formula_text(row["formula"]),
                kind,
                number(row["formation_energy_per_atom"]),
                *([_excess(row)] if excess else []),
                DASH if row["space_group"] is None else str(row["space_group"]),
                Cell(row["structure_id"][:16], code=True),
            ]
        )
    columns = ("formula", "what", "formation energy (eV/atom)", *((EXCESS_COLUMN,) if excess else ()), "space group", "id")
    return PageTable(columns, rows, frozenset({2, 3, *({4} if excess else ())}))


def facet_table(points: HullPoints) -> PageTable:
    """Return the facets of the hull by their stable phases."""
    rows: list[list[Any]] = [
        [" + ".join(formula_text(points.rows[row]["formula"]) for row in facet)] for facet in points.facets()
    ]
    return PageTable(("phases in equilibrium",), rows)


def state_table(data: ReportData) -> PageTable:
    """Return all states that led to the state, newest first."""
    columns = (
        "state",
        "iteration",
        "branches",
        "parents",
        "message",
        "entries",
        "S.U.N.",
        "labels",
        "force field",
        "made (UTC)",
    )
    anchors = {view.id: row_anchor(view) for view in data.states}
    rows: list[list[Any]] = []
    for view in reversed(data.states):
        document = view.document
        sun = document["metrics"].get("population", {}).get("sun")
        change = force_field_change(view)
        verdict = "parent's kept" if change == "parent's" else change
        rows.append(
            [
                Cell(view.id[:16], code=True, anchor=anchors[view.id]),
                str(view.iteration),
                ", ".join(data.branches.get(view.id, [])),
                [Cell(parent[:8], href=f"#{anchors[parent]}", code=True) for parent in view.parents],
                document["message"],
                str(document["counts"]["entries"]),
                DASH if sun is None else str(sun),
                str(document["counts"].get("labels", 0)),
                verdict,
                document["created"][:16].replace("T", " "),
            ]
        )
    return PageTable(columns, rows, frozenset({1, 5, 6, 7}))
