"""The tables of states and entries, as plain rows for the page and for CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.words import audit_rows
from coevo.analysis.space_groups import LAST_GROUP, space_group_symbol
from coevo.configs.electrons import has_electron_excess
from coevo.node_store.documents import is_refuted
from coevo.node_store.recorded import force_field_change
from coevo.report.figures.loop import row_anchor
from coevo.report.figures.plots import DataTable, formula_text
from coevo.report.folders import cif_name
from coevo.studies.states.electron_words import excess_rows
from coevo.studies.states.hull_words import hull_rows, standing_word
from coevo.studies.states.label_scales import label_scale_rows, refused_scale_rows, residuals_of, scale_words
from coevo.studies.states.second_opinion import opinion_words, sun_count_words, sun_words
from coevo.studies.states.summaries import origin_line, reference_set_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    "bonds between corrected anions",
    "energy above hull without the anion correction (eV/atom)",
    "standing by labels",
    "verdict of the auditor",
    "energy above hull by the auditor (eV/atom)",
    "dynamically stable by a study",
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
    "scale_sensitive",
    "energy_above_hull_uncorrected",
    "hull_status",
    "audit_verdict",
    "energy_above_hull_audit",
    "dynamically_stable",
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


def group_text(found: int | str | None) -> str:
    """Return a space group by symbol and number, as it is stored if that is no number of one: ``P2_1/c (14)``."""
    if isinstance(found, int) and 1 <= found <= LAST_GROUP:
        return f"{space_group_symbol(found)} ({found})"
    return DASH if found is None else str(found)


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
        *audit_rows(metrics),
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
        *hull_rows(view),
        *excess_rows(metrics),
        *([("second opinion", opinion_words(metrics))] if metrics.get("committee") else []),
        ("reference set", f"{reference_set_of(view.document)}, {reference['size']} structures"),
        ("labels", f"{counts.get('labels', 0)} frames, by {labelled_by(data)}"),
        *label_scale_rows(view),
        *refused_scale_rows(view),
        *([("environments of a probe", data.probe)] if data.probe else []),
        *([("what hangs on the scale", words)] if (words := scale_words(population)) else []),
    ]


def residual_table(data: ReportData) -> PageTable:
    """Return what the offsets of labels leave of each reference."""
    rows: list[list[Any]] = [
        [Cell(digest[:16], code=True), Cell(reference[:16], code=True), formula_text(formula), number(1000 * value, 0)]
        for digest, reference, formula, value in residuals_of(data.view)
    ]
    return PageTable(("settings digest", "reference", "formula", "force field minus label"), rows, frozenset({3}))


def sun_table(
    data: ReportData, most: int, motifs: dict[str, str] | None = None, products: dict[str, str] | None = None
) -> PageTable:
    """Return the best S.U.N. entries; ``motifs``, and ``products`` of their decomposition, by entry id."""
    shown = data.sun_entries[:most]
    columns = [column for column in _sun_columns(motifs, products) if column.of is None or any(map(column.of, shown))]
    return PageTable(
        tuple(column.title for column in columns),
        [[column.cell(row) for column in columns] for row in shown],
        frozenset(number for number, column in enumerate(columns) if column.numeric),
    )


@dataclass(frozen=True)
class _Column:
    """A column of the table of entries: there if ``of`` holds for one of them."""

    title: str
    cell: Callable[[dict[str, Any]], Any]
    numeric: bool = True
    of: Callable[[dict[str, Any]], Any] | None = None


def _sun_columns(motifs: dict[str, str] | None, products: dict[str, str] | None) -> list[_Column]:
    def text(key: str) -> Callable[[dict[str, Any]], str]:
        return lambda row: DASH if row[key] is None else str(row[key])

    def voiced(row: dict[str, Any]) -> bool:
        return "energies_above_hull" in row

    def sensitive(row: dict[str, Any]) -> bool:
        return bool(row.get("scale_sensitive"))

    def carried(row: dict[str, Any]) -> str:
        return (motifs or {}).get(row["structure_id"], DASH)

    def become(row: dict[str, Any]) -> str:
        return (products or {}).get(row["structure_id"], DASH)

    return [
        _Column("formula", lambda row: formula_text(row["formula"]), numeric=False),
        _Column("E_hull", lambda row: number(row["energy_above_hull"])),
        _Column("±", lambda row: number(row.get("energy_above_hull_std")), of=voiced),
        _Column("on the word of", lambda row: _ON_THE_WORD_OF[sun_words(row)], numeric=False, of=voiced),
        _Column("E_hull, references only", lambda row: number(row["energy_above_reference_hull"])),
        _Column(
            "E_hull by labels",
            lambda row: number(row.get("energy_above_hull_dft")),
            of=lambda row: row.get("energy_above_hull_dft") is not None,
        ),
        _Column(
            "E_hull, uncorrected",
            lambda row: number(row.get("energy_above_hull_uncorrected") if sensitive(row) else None),
            of=sensitive,
        ),
        _Column(EXCESS_COLUMN, _excess, of=lambda row: has_electron_excess(row.get("electron_excess"))),
        _Column(
            "dynamically stable",
            lambda row: {True: "yes", False: "no"}.get(row.get("dynamically_stable"), DASH),  # type: ignore[arg-type]
            numeric=False,
            of=lambda row: "dynamically_stable" in row,
        ),
        _Column("label", lambda row: standing_word(row) or DASH, numeric=False, of=lambda row: "hull_status" in row),
        _Column("space group", lambda row: group_text(row["space_group"]), numeric=False),
        _Column("sites", text("nsites")),
        _Column("iteration", text("iteration_added")),
        *([] if motifs is None else [_Column("motifs", carried, numeric=False)]),
        *([] if products is None else [_Column("decomposes into, or competes with", become, numeric=False)]),
        _Column("id", _own_id, numeric=False),
        _Column("structure", lambda row: Cell("CIF", href=f"structures/{cif_name(row)}", download=True), numeric=False),
    ]


def _own_id(row: dict[str, Any]) -> Cell:
    identifier = row["structure_id"][:16]
    return Cell(identifier, code=True, anchor=f"entry-{identifier}")


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


def sun_data(data: ReportData) -> DataTable:
    """All S.U.N. entries for a CSV."""
    return DataTable(SUN_COLUMNS, [tuple(row.get(field) for field in _SUN_FIELDS) for row in data.sun_entries])


def stable_table(points: HullPoints, names: dict[str, str]) -> PageTable:
    """Return the phases on the hull."""
    rows: list[list[Any]] = []
    excess = any(has_electron_excess(points.rows[index].get("electron_excess")) for index in points.corners)
    judged = any("hull_status" in points.rows[index] for index in points.corners)
    for index in points.corners:
        row = points.rows[index]
        kind = f"reference: {names.get(row['structure_id'], '')}" if row["kind"] == "reference" else "entry"
        rows.append(
            [
                formula_text(row["formula"]),
                kind,
                number(row["formation_energy_per_atom"]),
                *([_excess(row)] if excess else []),
                *([_standing(row)] if judged else []),
                group_text(row["space_group"]),
                Cell(row["structure_id"][:16], code=True),
            ]
        )
    further = (*((EXCESS_COLUMN,) if excess else ()), *(("label",) if judged else ()))
    columns = ("formula", "what", "formation energy (eV/atom)", *further, "space group", "id")
    return PageTable(columns, rows, frozenset(columns.index(name) for name in columns if name in _NUMERIC))


_NUMERIC = frozenset({"formation energy (eV/atom)", EXCESS_COLUMN})


def _standing(row: dict[str, Any]) -> str:
    word = standing_word(row) or DASH
    return f"{word}: its energy is the label's" if is_refuted(row) else word


def whose_energies(rows: Iterable[dict[str, Any]]) -> str:
    """Say whose energies a table of phases has: of refuted entries, their labels'."""
    return "by this state's force field" + (", of refuted entries by their labels" if any(map(is_refuted, rows)) else "")


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
