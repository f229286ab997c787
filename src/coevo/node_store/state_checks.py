"""Checks of one state's documents: its manifest, the documents that it added, and its evaluations."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from coevo.node_store.canonical import structure_document_id
from coevo.node_store.identity import EvaluationsDigest, label_id
from coevo.node_store.states import SPLITS, with_derived_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coevo.node_store.backend import Kind
    from coevo.node_store.views import StateView

    Damage = tuple[type[Exception], ...]

BATCH = 256
SHOWN = 3
"""Ids of damaged documents that a message names."""


def check_manifest(view: StateView, damage: Damage) -> str:
    """Compare a state's manifest with its hash and its document; return what is wrong."""
    try:
        manifest = view.manifest
        for kind in ("structures", "references"):
            if sorted(set(manifest[kind])) != manifest[kind]:
                return f"the {kind} of its manifest are not sorted, or one is there twice"
        if not set(manifest["labels"].values()) <= set(SPLITS):
            return f"its manifest has labels in other splits than {', '.join(SPLITS)}"
        counts = view.document["counts"]
        found = {"entries": len(manifest["structures"]), **{kind: len(manifest[kind]) for kind in ("references", "labels")}}
        if any(counts.get(name) != number for name, number in found.items()):
            return f"its counts are {counts}, its manifest has {found}"
    except damage as err:
        return f"its manifest cannot be read: {err}"
    return ""


def check_documents(view: StateView, kind: Kind, ids: Sequence[str], damage: Damage) -> Iterator[str]:
    """Read documents of a state and recompute their content ids; yield what is wrong, at most one message."""
    damaged: dict[str, str] = {}
    iterator = iter(ids)
    while batch := list(islice(iterator, BATCH)):
        try:
            problems = {document["_id"]: _content_problem(kind, document) for document in view.documents(kind, batch)}
        except damage:
            problems = {identifier: _one_problem(view, kind, identifier, damage) for identifier in batch}
        damaged |= {identifier: problem for identifier, problem in problems.items() if problem}
    if damaged:
        names = ", ".join(list(damaged)[:SHOWN]) + (", …" if len(damaged) > SHOWN else "")
        yield f"{len(damaged)} of its {kind} are damaged or missing ({names}): {next(iter(damaged.values()))}"


def _one_problem(view: StateView, kind: Kind, identifier: str, damage: Damage) -> str:
    try:
        (document,) = view.documents(kind, [identifier])
        return _content_problem(kind, document)
    except damage as err:
        return str(err) or type(err).__name__


def _content_problem(kind: Kind, document: dict[str, Any]) -> str:
    content = label_id(document) if kind == "labels" else structure_document_id(document["structure"])
    if content != document["_id"]:
        return f"the content id of {document['_id']} is {content}"
    if kind == "labels" and document.get("structure") and structure_document_id(document["structure"]) != document["frame"]:
        return f"the geometry of label {content} is not that of its frame {document['frame']}"
    return ""


def check_evaluations(view: StateView) -> Iterator[str]:
    """Recompute the digest of all evaluations and their derived fields; yield what is wrong."""
    expected = view.document["evaluations"]
    hasher = EvaluationsDigest()
    kinds: tuple[tuple[Literal["entry", "reference"], str], ...] = (("entry", "structures"), ("reference", "references"))
    for kind, members in kinds:
        wanted = iter(view.manifest[members])
        same = True
        for evaluation in view.evaluations(kind):
            same = same and evaluation["structure_id"] == next(wanted, None)
            hasher.add(evaluation)
            if with_derived_fields(evaluation) != evaluation:
                yield f"the evaluation of {evaluation['structure_id']} has derived fields that do not follow from its formula"
                return
        if not same or next(wanted, None) is not None:
            yield f"its evaluations of kind {kind} are not those of the {members} of its manifest"
    strangers = sum(1 for _ in view.evaluations()) - hasher.count if hasher.count != expected["count"] else 0
    if strangers:
        yield f"{strangers} of its evaluations are of no known kind"
    found = {"digest": hasher.hexdigest(), "count": hasher.count}
    if found != expected:
        yield f"its evaluations are not those that were written: found {found}, expected {expected}"
