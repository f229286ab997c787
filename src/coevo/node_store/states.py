"""From the draft of a state to the documents that are stored, and to its id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coevo.node_store.canonical import INT64_LIMIT, dump_plain, plain, structure_document_id
from coevo.node_store.documents import (
    STATE_VERSION,
    CheckpointDocument,
    EvaluationDocument,
    LabelDocument,
    ReferenceDocument,
    StructureDocument,
)
from coevo.node_store.identity import evaluations_digest, identity_digest, label_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import BaseModel

SPLITS = ("train", "validation", "test")


@dataclass
class StateDraft:
    """A state that is to be committed.

    Attributes
    ----------
    node : str
    parents : tuple of str
        Ids of states of this node; the first is the one that was continued.
    iteration : int
    message : str
    config : dict
        The node's configuration without resources, as JSON.
    checkpoints : dict
        ``force_field`` and ``generator`` to checkpoint documents.
    metrics : dict
        Numbers of the work; no times, no hosts.
    structures, references, labels : list of dict
        Documents new in this state, with their content id as ``_id``.
    evaluations : list of dict
        *All* evaluations of the state: they decide which entries and references it has.
    splits : dict
        Label id to ``train``, ``validation`` or ``test``, for *all* labels of the state.
    samples : dict
        Iteration to the sha256 of its ruler's shard.
    offsets : dict
        Energy offsets per settings digest and element, eV/atom.
    provenance : dict
        Versions, job uuids, hosts, durations: stored, and outside the id.
    """

    node: str
    parents: tuple[str, ...] = ()
    iteration: int = 0
    message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    structures: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedState:
    """A checked draft, reduced to plain JSON and sorted.

    Attributes
    ----------
    id : str
        State id.
    document : dict
        The state document without ``created`` and without the place of the manifest.
    manifest : dict
    manifest_bytes : bytes
        Canonical JSON of the manifest; not compressed, so that the state id does not depend on a compressor.
    structures, references, labels, evaluations : iterables of dict
        Sorted by id, and read more than once; evaluations with the derived OPTIMADE fields.
    """

    id: str
    document: dict[str, Any]
    manifest: dict[str, Any]
    manifest_bytes: bytes
    structures: Iterable[dict[str, Any]]
    references: Iterable[dict[str, Any]]
    labels: Iterable[dict[str, Any]]
    evaluations: Iterable[dict[str, Any]]


def state_id(draft: StateDraft) -> str:
    """Return the id of a draft: what a commit of it will be called.

    Raises
    ------
    ValueError
        If the draft is not complete and consistent.
    """
    return prepare(draft).id


def prepare(draft: StateDraft) -> PreparedState:
    """Check a draft and reduce it to the documents that are stored.

    Raises
    ------
    ValueError
        If a document lacks a field, an id is not the content's, a structure is evaluated twice, a label has no split, ….
    """
    evaluations = _evaluations(draft.evaluations)
    structures = _documents("structures", draft.structures, StructureDocument, _geometry_id)
    references = _documents("references", draft.references, ReferenceDocument, _geometry_id)
    labels = _documents("labels", draft.labels, LabelDocument, label_id)
    checkpoints = {
        kind: checked_document(f"checkpoints.{kind}", document, CheckpointDocument)
        for kind, document in sorted(draft.checkpoints.items())
    }
    manifest = _manifest(draft, evaluations)
    _check_membership(manifest, structures, references, labels)
    manifest_bytes = dump_plain(manifest)
    config = _plain("config", {key: value for key, value in draft.config.items() if key != "resources"})
    document = {
        "schema_version": STATE_VERSION,
        "node": draft.node,
        "parents": list(draft.parents),
        "iteration": int(draft.iteration),
        "message": draft.message,
        "elements": sorted(config.get("node", {}).get("elements", [])),
        "config": config,
        "checkpoints": checkpoints,
        "metrics": _plain("metrics", draft.metrics),
        "manifest": {"sha256": hashlib.sha256(manifest_bytes).hexdigest(), "size": len(manifest_bytes)},
        "evaluations": {"digest": evaluations_digest(evaluations), "count": len(evaluations)},
        "counts": {
            "entries": len(manifest["structures"]),
            "references": len(manifest["references"]),
            "labels": len(manifest["labels"]),
            "structures_added": len(structures),
            "references_added": len(references),
            "labels_added": len(labels),
        },
        "provenance": _plain("provenance", draft.provenance),
    }
    found = identity_digest(document)
    return PreparedState(
        id=found,
        document={"_id": found, **document},
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        structures=structures,
        references=references,
        labels=labels,
        evaluations=[with_derived_fields(evaluation) for evaluation in evaluations],
    )


def _plain(what: str, value: Any) -> Any:
    """Reduce to JSON types, and refuse integers that MongoDB cannot hold, on either backend."""
    try:
        reduced = plain(value)
    except ValueError as err:
        raise ValueError(f"{what}.{err}") from None
    _refuse_long_integers(what, reduced)
    return reduced


def _refuse_long_integers(what: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_long_integers(f"{what}.{key}", item)
    elif isinstance(value, list):
        if value and not isinstance(value[0], float):
            for index, item in enumerate(value):
                _refuse_long_integers(f"{what}.{index}", item)
    elif isinstance(value, int) and not -INT64_LIMIT <= value < INT64_LIMIT:
        raise ValueError(f"{what}: {value} does not fit in 64 bits with a sign; store it as a string")


def checked_document(what: str, document: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Reduce a document to plain JSON and check it against its model.

    Raises
    ------
    ValueError
    """
    reduced = _plain(what, document)
    try:
        model.model_validate(reduced)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"{what}: {where}: {problem['msg']} (got {problem['input']!r:.80})") from None
    return reduced


def _geometry_id(document: dict[str, Any]) -> str:
    return structure_document_id(document["structure"])


def _documents(
    what: str, documents: list[dict[str, Any]], model: type[BaseModel], content_id: Callable[[dict[str, Any]], str]
) -> list[dict[str, Any]]:
    """Check new documents; the same document twice is one."""
    found: dict[str, dict[str, Any]] = {}
    for index, document in enumerate(documents):
        name = f"{what}[{index}]"
        checked = checked_document(name, document, model)
        identifier = checked["_id"]
        if (content := content_id(checked)) != identifier:
            raise ValueError(f"{name}: its _id is {identifier}, but its content id is {content}")
        if found.setdefault(identifier, checked) != checked:
            raise ValueError(f"{name}: a different document has the same _id {identifier}")
    return [found[identifier] for identifier in sorted(found)]


def _evaluations(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for index, document in enumerate(documents):
        checked = checked_document(f"evaluations[{index}]", document, EvaluationDocument)
        identifier = checked["structure_id"]
        if identifier in found:
            raise ValueError(f"evaluations[{index}]: structure {identifier} is evaluated twice in one state")
        found[identifier] = checked
    return [found[identifier] for identifier in sorted(found)]


def _manifest(draft: StateDraft, evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    for label, split in draft.splits.items():
        if split not in SPLITS:
            raise ValueError(f"splits: label {label} is in {split!r}; allowed: {', '.join(SPLITS)}")
    return _plain(
        "manifest",
        {
            "structures": [document["structure_id"] for document in evaluations if document["kind"] == "entry"],
            "references": [document["structure_id"] for document in evaluations if document["kind"] == "reference"],
            "labels": dict(sorted(draft.splits.items())),
            "samples": {str(iteration): sha256 for iteration, sha256 in draft.samples.items()},
            "offsets": draft.offsets,
        },
    )


def _check_membership(
    manifest: dict[str, Any], structures: list[dict[str, Any]], references: list[dict[str, Any]], labels: list[dict[str, Any]]
) -> None:
    for what, documents, members, lacking in (
        ("structures", structures, set(manifest["structures"]), "evaluation of kind entry"),
        ("references", references, set(manifest["references"]), "evaluation of kind reference"),
        ("labels", labels, set(manifest["labels"]), "split"),
    ):
        strangers = [document["_id"] for document in documents if document["_id"] not in members]
        if strangers:
            raise ValueError(f"{what}: {len(strangers)} new documents have no {lacking}, e.g. {strangers[0]}")


def with_derived_fields(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Add the standard OPTIMADE properties that follow from an evaluation."""
    reduced, anonymous = _optimade_formulas(evaluation["formula"])
    return {
        **evaluation,
        "nelements": len(evaluation["elements"]),
        "chemical_formula_reduced": reduced,
        "chemical_formula_anonymous": anonymous,
    }


@lru_cache(maxsize=4096)
def _optimade_formulas(formula: str) -> tuple[str, str]:
    """Reduced formula with elements in alphabetical order, and anonymous formula with amounts falling (OPTIMADE 1.2, 7.2)."""
    from pymatgen.core import Composition

    try:
        amounts = {element.symbol: round(amount) for element, amount in Composition(formula).items()}
    except ValueError as err:
        raise ValueError(f"{formula!r} is not a formula: {err}") from None
    divisor = gcd(*amounts.values())
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    falling = sorted((amount // divisor for amount in amounts.values()), reverse=True)
    reduced = "".join(symbol + _amount(amounts[symbol] // divisor) for symbol in sorted(amounts))
    return reduced, "".join(letters[index] + _amount(amount) for index, amount in enumerate(falling))


def _amount(amount: int) -> str:
    return str(amount) if amount > 1 else ""
