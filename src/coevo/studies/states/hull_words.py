"""What a state says of the phases that make its hull, in words and rows; nothing where all that the force field says makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.tree import CurationConfig
from coevo.makers.labels.standing import limit_of
from coevo.output.plain_text import counted
from coevo.studies.states.label_scales import has_no_scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.views import StateView

WORDS = {
    "confirmed": "confirmed by its label",
    "unconfirmed": "unconfirmed: at or below the hull of labelled phases, and without a label",
    "refuted": "refuted by its label",
    "in_doubt": "in doubt: without a label, and like a phase that a label found to be a false minimum",
}
"""Of an entry, by its ``hull_status``."""


def hull_words(view: StateView) -> str:
    """Say who makes the hull of a state, how many entries labels confirm, and beyond what they refute; empty of other hulls."""
    counts = hull_counts(view.document["metrics"], view.document["config"])
    return f"{counts}; {limit_words(view)}" if counts else ""


def limit_words(view: StateView) -> str:
    """Say how far a label has to be from the force field to refute it: the limit that is in effect, and what makes it."""
    said = view.document["config"]["curation"].get("refuted_above")
    asked = float(CurationConfig().refuted_above if said is None else said)
    stored = view.manifest["offsets"] or {}
    labels = view.document["counts"].get("labels", 0)
    if labels and not stored:
        return f"no offsets bring its {counted(labels, 'labels')} to the scale of the hull, so that none confirms or refutes"
    limits = sorted(limit_of(float(document["residual_rms"]), asked) for document in stored.values())
    if not limits or limits[-1] <= asked:
        return f"a label refutes that is off by more than {asked:.3g} eV/atom (curation.refuted_above)"
    found = " to ".join(dict.fromkeys(f"{limit:.3g}" for limit in (limits[0], limits[-1])))
    return (
        f"a label refutes that is off by more than {found} eV/atom: twice what the offsets leave of the references (rms), and "
        f"more than curation.refuted_above, {asked:.3g}"
    )


def hull_counts(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Say how many entries of a state labels confirm, and who labels; empty where labelled phases do not make the hull.

    Parameters
    ----------
    metrics, config : mapping
        Of the state, as documents.
    """
    population = metrics.get("population") or {}
    if "confirmed" not in population:
        return ""
    code = str((config.get("labelling") or {}).get("code", "?"))
    labels = "a teacher's, no first principles" if code == "teacher" else f"by {code}"
    if population.get("first_principles_only"):
        labels = "first-principles ones alone"
    return (
        f"labelled phases make it (labels {labels}): {population['confirmed']} entries confirmed, "
        f"{population['refuted']} refuted (labels against this state's force field); "
        f"without a label {population['unconfirmed']} unconfirmed at or below it, {population['in_doubt']} in doubt"
    )


def check_words(metrics: Mapping[str, Any]) -> str:
    """Say what labels made of the phases on the hull that an iteration labelled; empty where there is nothing to say.

    They are compared with the force field that chose them, the parent's: what they refuted may be no refuted entry any more.
    """
    check = metrics.get("hull_check")
    if not check:
        return ""
    wanted = f"{counted(check['wanted'], 'phases')} on it wanted a label"
    if has_no_scale(metrics):
        return f"{wanted}; the new labels are of no usable scale, and none counts"
    limit = "" if check.get("limit") is None else f"; off by more than {check['limit']:.3g} eV/atom"
    return (
        f"{wanted}, {check['labelled']} got one, which refuted {check['refuted']} "
        f"(against the parent's force field, before it learned of them{limit})"
    )


def hull_rows(view: StateView) -> list[tuple[str, str]]:
    """Rows of the tables of a state; none where labelled phases do not make the hull."""
    rows = (("hull", hull_words(view)), ("phases on it", check_words(view.document["metrics"])))
    return [(name, words) for name, words in rows if words]


def standing_word(row: Mapping[str, Any]) -> str:
    """Status of an entry for a column; empty if it has none."""
    return str(row.get("hull_status") or "").replace("_", " ")


def entry_hull_rows(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of one entry; none if it has no status."""
    status = row.get("hull_status")
    if status not in WORDS:
        return []
    model = row.get("model_energy_per_atom")
    energies = "" if model is None else f"; the force field says {model:.4f} eV/atom, the energy above is the label's"
    return [("on the hull", WORDS[status] + energies)]
