"""A node whose documents hold, wherever a text is free, one that acts on terminals, pages, spreadsheets and rich's markup."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from coevo.makers.populations.population import describe
from coevo.node_store.canonical import structure_document, structure_id
from coevo.node_store.identity import label_id
from coevo.node_store.states import StateDraft

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

MARKUP = "[red]x[/red] [/v2] [link=http://e.xyz]y[/link] :smile:"
HOSTILE = f"=1+1|\x1b[31m\x07\r\nforged\t\x7f\x9b\u202eevil\u2066\u200b\u200e\u2028 {MARKUP} $\\alpha$ </script><b>"
"""What a spreadsheet would compute, control characters, turned directions, markup, mathematics and HTML."""

KEPT = (
    {"_id", "id", "structure", "structure_id", "frame", "family", "kind", "split", "status", "sha256", "format", "code", "parent"}
    | {"training_set", "settings_digest", "elements", "chemsys", "formula", "species", "space_group", "duplicate_of", "key"}
    | {"matched_reference", "bundle", "uri", "started", "ended", "created", "signal"}
)
"""Keys whose texts are names that something depends on: hashes, elements, and the like."""
ENUMERATED = frozenset({"flat", "moving", "no signal", "energy above hull", "environments", "force field", "diversity"})


def poisoned(value: Any, key: str = "") -> Any:
    """A document with the text appended to each of its free texts, also where they are keys of counts by reason."""
    if isinstance(value, dict):
        named = {"reasons", "rejected", "rejected_by_generator"}
        return {(f"{k}{HOSTILE}" if key in named else k): poisoned(v, k) if k not in KEPT else v for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    if isinstance(value, str) and value not in ENUMERATED:
        return f"{HOSTILE}{value}"
    return value


def commit_poisoned(store: NodeStore, view: StateView) -> StateView:
    """Commit a child of a state, on its branch, with all that the state says in hostile words."""
    document = view.document
    metrics = poisoned(document["metrics"])
    metrics["reference_set"]["name"] = HOSTILE
    known = [{k: v for k, v in row.items() if k not in DERIVED} for row in view.evaluations()]
    label = next(iter(view.labels()))
    bad = {**{k: v for k, v in label.items() if k not in {"_id", "split"}}, "status": "rejected"}
    bad |= dict.fromkeys(("reason", "detail", "how", "functional"), HOSTILE)
    bad_id = label_id(bad)
    entry, reference = (_stretched(view, next(row for row in known if row["kind"] == kind)) for kind in ("entry", "reference"))
    manifest = view.manifest
    checkpoints = {name: {**found, "uri": HOSTILE} for name, found in document["checkpoints"].items()}
    draft = StateDraft(
        node=view.node,
        parents=(view.id,),
        iteration=view.iteration + 1,
        message=HOSTILE,
        config=document["config"],
        checkpoints=checkpoints,
        metrics=metrics,
        structures=[{**entry[0], "origin": {"operator": HOSTILE, "generator": HOSTILE, HOSTILE: HOSTILE}}],
        references=[{**reference[0], **dict.fromkeys(("name", "source", "citation", "licence"), HOSTILE)}],
        labels=[{**bad, "_id": bad_id}],
        evaluations=[{**row, "note": HOSTILE} for row in (*known, entry[1], reference[1])],
        splits={**manifest["labels"], bad_id: "train"},
        samples=dict(manifest.get("samples", {})),
        offsets=dict(manifest.get("offsets", {})),
        provenance=poisoned(document.get("provenance", {})),
    )
    store.commit(draft, branch="main", expected=view.id)
    return store.state(view.node)


def _stretched(view: StateView, row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A structure that the state has not, and its evaluation."""
    structure = view.structure(row["structure_id"])
    structure.scale_lattice(1.02 * structure.volume)
    identity = structure_id(structure)
    document = {"_id": identity, "structure": structure_document(structure), **describe(structure)}
    return document, {**row, "structure_id": identity, "relaxed": structure_document(structure), "is_sun": row["kind"] == "entry"}


DERIVED = ("nelements", "chemical_formula_reduced", "chemical_formula_anonymous")


def unsafe_in(text: str) -> set[str]:
    """Characters of a text that act instead of being shown; ends of lines may be there."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
