"""Tables of states: of an iteration, of a history, of the branches of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.analysis.audit.words import BY_THE_MODEL, audit_rows, count_words
from coevo.node_store.recorded import force_field_change, halved_batches, readable, step_seconds
from coevo.output.plain_text import counted
from coevo.studies.states.electron_words import candidates_rows, excess_rows
from coevo.studies.states.generators import generator_lines, has_generators
from coevo.studies.states.graph import SHORT_ID
from coevo.studies.states.hull_words import hull_rows
from coevo.studies.states.label_scales import label_scale_rows, scale_words, teacher_of
from coevo.studies.states.second_opinion import opinion_rows, sun_count_words
from coevo.studies.states.summaries import origin_line, reference_set_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.node_store.views import StateView
    from coevo.studies.states.branches import Branch


POPULATION = {"entries": "entries", "stable": "stable", "novel": "novel", "sun": "S.U.N."}


FORCE_FIELD = {
    "new": "adopted",
    "unchanged": "unchanged (no epoch of the fit was better than none)",
    "parent's": "kept the parent's",
    "published": "published",
}
"""What the table of an iteration says of the force field."""


def iteration_table(view: StateView) -> Table:
    """Return the table that ends an iteration."""
    table = Table(
        title=f"{view.node}  iteration {view.iteration}  state {view.id[:12]}",
        show_header=False,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("what", style="bold")
    table.add_column("value", overflow="fold")
    with readable(view):
        table.caption = teacher_of(view.document) or None
        for name, value in iteration_rows(view):
            table.add_row(name, value)
    return table


def log_table(states: Sequence[StateView], node: str) -> Table:
    """Return one row per state, newest first."""
    table = Table(
        title=f"{node}: {counted(len(states), 'states')}, newest first",
        caption=f"{BY_THE_MODEL}; E_hull: median of the iteration's candidates, eV/atom; entropy: nats; RMSE on the test split: "
        "meV/atom, meV/Å" + _and_teacher(states),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    with_audit = any(isinstance(view.document["metrics"].get("audit"), dict) for view in states)
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    columns: dict[str, dict[str, Any]] = {
        "state": {"no_wrap": True},
        "it.": right,
        "entries": right,
        "S.U.N.": right,
        **({"looked at": {"no_wrap": True}} if with_audit else {}),
        "labels": right,
        "E_hull": right,
        "entropy": right,
        "RMSE E": right,
        "RMSE F": right,
        "force field": {"no_wrap": True},
    }
    for title, options in columns.items():
        table.add_column(title, **options)
    for view in states:
        with readable(view):
            metrics, counts = view.document["metrics"], view.document["counts"]
            table.add_row(
                view.id[:8],
                str(view.iteration),
                str(metrics["population"]["entries"]),
                str(metrics["population"]["sun"]),
                *((count_words(metrics) or "–",) if with_audit else ()),
                str(counts.get("labels", 0)),
                _number(metrics["iteration"]["energy_above_hull"].get("q50"), 3) if "iteration" in metrics else "–",
                _number(metrics["environment_entropy"], 3),
                _number(metrics["energy_rmse_mev_per_atom"]),
                _number(metrics["force_rmse_mev_per_angstrom"], 0),
                force_field_change(view),
            )
    return table


def _and_teacher(states: Sequence[StateView]) -> str:
    """The teacher of the newest state, as the end of a caption."""
    if not states:
        return ""
    with readable(states[0]):
        teacher = teacher_of(states[0].document)
    return f"; {teacher}" if teacher else ""


def branches_table(node: str, rows: Sequence[Branch], teacher: str = "") -> Table:
    """Return the branches as a table for the terminal; ``teacher`` names who labels, where that is no first-principles code."""
    table = Table(
        title=f"{node}: {counted(len(rows), 'branches')}",
        caption="; ".join(filter(None, (BY_THE_MODEL, teacher))),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for title, justify in (("branch", "left"), ("state", "left"), ("it.", "right"), ("entries", "right"), ("S.U.N.", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    with_audit = any(row.looked_at for row in rows)
    if with_audit:
        table.add_column("looked at", no_wrap=True)
    table.add_column("seed", justify="right", no_wrap=True)
    table.add_column("left", overflow="fold")
    table.add_column("message", overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            row.state[:SHORT_ID],
            str(row.iteration),
            str(row.entries),
            "–" if row.sun is None else str(row.sun),
            *((row.looked_at or "–",) if with_audit else ()),
            str(row.seed) if row.seed else "–",
            str(row.neighbour or "–"),
            row.message,
        )
    return table


def _formula_rows(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Over how many formulas candidates are spread, of an iteration with a race or several generations."""
    told = counts.get("formulas")
    if not told:
        return []
    words = (
        f"{_number(told['candidates'])} effective among candidates, {_number(told['relaxed_near_hull'])} among those relaxed to "
        f"{_number(told['near_hull'], 2)} eV/atom or less above the hull"
    )
    raced = f"; {counts['drawn']} drawn" if counts["drawn"] != counts["candidates"] else ""
    return [("formulas", f"{words}{raced}")]


def iteration_rows(view: StateView) -> list[tuple[str, str]]:
    """Return what the table of one iteration says, row by row."""
    metrics = view.document["metrics"]
    population, reference = metrics["population"], metrics["reference_set"]
    references = reference_set_of(view.document)
    rows: list[tuple[str, str]] = []
    if "iteration" in metrics:
        counts = metrics["iteration"]
        quantiles = counts["energy_above_hull"]
        rows += [
            ("candidates", f"{counts['candidates']} (generator rejected: {_reasons(counts['rejected_by_generator'])})"),
            ("rejected", _reasons(counts["rejected"])),
            ("relaxed", f"{counts['relaxed']} in {counts['relaxation_steps']} steps"),
            ("E_hull of them", f"median {_number(quantiles.get('q50'), 3)} eV/atom" if quantiles else "–"),
            ("unique", str(counts["unique"])),
            ("stable", str(counts["stable"])),
            ("novel", f"{counts['novel']} against {references} ({reference['size']} references)"),
            ("S.U.N.", f"{counts['sun']} by the model alone"),
            *candidates_rows(counts),
            *_formula_rows(counts),
            ("labels", f"{_label_row(metrics)}, labelled by {view.document['config']['labelling']['code']}"),
        ]
    if view.started_from is not None:
        rows.append(("started from", origin_line(view)))
    if "union" in metrics:
        rows += _union_rows(view, metrics["union"])
    if "labels" in metrics and "iteration" not in metrics:
        rows.append(("labels", _label_row(metrics)))
    rows += [("warning", str(text)) for text in metrics.get("labels", {}).get("warnings", ())]
    if "force_field" in metrics:
        rows += _error_rows(view)
    rows += label_scale_rows(view)
    for note in metrics.get("labels", {}).get("notes", []):
        rows.append(("references", str(note)[:300]))
    if has_generators(view):
        rows += generator_lines([view])
    elif reason := metrics["generator"]["report"].get("reason"):
        rows.append(("generator", f"kept the parent's: {str(reason)[:200]}"))  # words of a runner
    if metrics.get("validation"):
        rows.append(("first principles", _validation(metrics["validation"])))
    entropy = metrics["entropy"]
    rows += [
        (
            "entropy",
            f"{entropy['mean']:.3f} nats of ln N = {entropy['ln_n']:.3f}" if entropy else "no signal (too few environments)",
        ),
        ("reference set", f"{references}, {reference['size']} structures"),
        *audit_rows(metrics),
        (
            "node",
            ", ".join(f"{population[key]} {name}" for key, name in POPULATION.items()) + f" {sun_count_words(metrics)}",
        ),
        *hull_rows(view),
        *excess_rows(metrics),
        *([("scale", words)] if (words := scale_words(population)) else []),
        *opinion_rows(metrics),
        ("maturity", _maturity(metrics["maturity"])),
        ("time per step", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in step_seconds(view).items())),
        *(("batches", f"{name}: {_halved(halved)}") for name, halved in halved_batches(view).items()),
    ]
    return rows


def _halved(halved: dict[str, int]) -> str:
    return ", ".join(f"halved down to {counted(size, 'structures')} ({reason})" for reason, size in halved.items())


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def _label_row(metrics: dict[str, Any]) -> str:
    status = metrics["labels"]["status"]
    frames = ", ".join(f"{count} {name}" for name, count in status.items()) or "none"
    reasons = metrics["labels"]["reasons"]
    return frames + (f" ({_reasons(reasons)})" if reasons else "")


def _error_rows(view: StateView) -> list[tuple[str, str]]:
    """RMSE on the test split before and after training, the prequential error, and what became of the fit."""
    force_field = view.document["metrics"]["force_field"]
    rows = []
    for key, title in (
        ("prequential", "prequential RMSE"),
        ("test_before", "test RMSE before"),
        ("test_after", "test RMSE after"),
    ):
        errors = force_field.get(key, {}).get("all")
        if errors and errors["n"]:
            energy, force = errors["energy_rmse_mev_per_atom"], errors["force_rmse_mev_per_angstrom"]
            rows.append((title, f"{energy:.1f} meV/atom, {force:.0f} meV/Å ({errors['n']} frames)"))
    became = FORCE_FIELD[force_field_change(view)]
    rows.append(("force field", f"{became}: {force_field['reason']}"))
    if force_field.get("warning") and force_field["warning"] != force_field["reason"]:
        rows.append(("warning", force_field["warning"]))
    return rows


def _maturity(maturity: dict[str, Any]) -> str:
    """One line: which signals are flat."""
    signals = ", ".join(f"{signal['name']}: {signal['status']}" for signal in maturity["signals"])
    return ("mature" if maturity["mature"] else "not mature") + f" ({signals})"


def _union_rows(view: StateView, union: dict[str, Any]) -> list[tuple[str, str]]:
    """What a merge or an extension brought together."""
    rows = [
        ("made by", view.document["message"]),
        ("elements", ", ".join(view.document["elements"])),
        ("references added", str(union["references_added"])),
    ]
    if len(view.parents) > 1:
        population = view.document["metrics"]["population"]
        rows += [
            ("labels", f"{union['labels']} ({union['labels_in_both']} in both)"),
            ("structures in both", str(union["in_both"])),
            (
                "duplicates",
                f"{counted(population['duplicates'], 'entries')}, {counted(population['reference_duplicates'], 'references')}",
            ),
        ]
    if union["entries_that_became_references"]:
        rows.append(("became references", counted(union["entries_that_became_references"], "entries")))
    return rows


def _validation(found: dict[str, Any]) -> str:
    """What labels say of the stability of entries: the confusion table in one line."""
    difference = found["mean_absolute_difference"]
    compared = (
        f"{found['compared']} of {found['labelled']} labelled phases are entries whose competitors are labelled too: "
        f"{found['both']} stable by both, {found['model_only']} by the force field only, {found['label_only']} by labels only, "
        f"{found['neither']} by none"
    )
    apart = "" if difference is None else f"; E_hull differs by {1000 * difference:.0f} meV/atom (mean)"
    return f"{found['code']} {found['functional']}: {compared}{apart}"
