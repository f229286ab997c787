"""From the draft of a state to the documents that are stored, and to its id.

Also here, the commit protocol: artifacts, then documents, then the state document, then the branch by compare-and-swap.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import ArtifactNotFoundError, BranchMovedError
from coevo.node_store.backend import KINDS
from coevo.node_store.canonical import dump_plain
from coevo.node_store.documents import (
    STATE_VERSION,
    CheckpointDocument,
    LabelDocument,
    ReferenceDocument,
    StartedFrom,
    StructureDocument,
)
from coevo.node_store.draft_checks import (
    DraftEvaluations,
    checked_document,
    checked_documents,
    checked_plain,
    geometry_id,
    label_document_id,
)
from coevo.node_store.identity import identity_digest
from coevo.node_store.prepared_documents import PreparedState
from coevo.node_store.runs import check_branch_name, now
from coevo.node_store.views import open_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coevo.node_store.backend import Backend
    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.prepared_documents import CheckedDocuments


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
    structures, references, labels : iterables of dict
        Documents new in this state, with their content id as ``_id``. All four can be anything that is iterated again and
        again, so that a large state need not be in memory as dictionaries.
    evaluations : iterable of dict
        *All* evaluations of the state: they decide which entries and references it has.
    splits : dict
        Label id to ``train``, ``validation`` or ``test``, for *all* labels of the state.
    samples : dict
        Iteration to the sha256 of its ruler's shard.
    offsets : dict
        Energy offsets per settings digest and element, eV/atom.
    provenance : dict
        Versions, job uuids, hosts, durations: stored, and outside the id.
    started_from : dict or None
        ``node`` and ``state`` that a first state began with.
    """

    node: str
    parents: tuple[str, ...] = ()
    iteration: int = 0
    message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    structures: Iterable[dict[str, Any]] = field(default_factory=list)
    references: Iterable[dict[str, Any]] = field(default_factory=list)
    labels: Iterable[dict[str, Any]] = field(default_factory=list)
    evaluations: Iterable[dict[str, Any]] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    started_from: dict[str, str] | None = None


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
    evaluations = DraftEvaluations(draft.evaluations)
    structures = checked_documents("structures", draft.structures, StructureDocument, geometry_id)
    references = checked_documents("references", draft.references, ReferenceDocument, geometry_id)
    labels = checked_documents("labels", draft.labels, LabelDocument, label_document_id)
    checkpoints = {
        kind: checked_document(f"checkpoints.{kind}", document, CheckpointDocument)[1]
        for kind, document in sorted(draft.checkpoints.items())
    }
    manifest = _manifest(draft, evaluations)
    _check_membership(manifest, structures, references, labels)
    manifest_bytes = dump_plain(manifest)
    config = checked_plain("config", {key: value for key, value in draft.config.items() if key != "resources"})
    document = {
        "schema_version": STATE_VERSION,
        "node": draft.node,
        "parents": list(draft.parents),
        "iteration": int(draft.iteration),
        "message": draft.message,
        "elements": sorted(config.get("node", {}).get("elements", [])),
        "config": config,
        "checkpoints": checkpoints,
        "metrics": checked_plain("metrics", draft.metrics),
        "manifest": {"sha256": hashlib.sha256(manifest_bytes).hexdigest(), "size": len(manifest_bytes)},
        "evaluations": {"digest": evaluations.digest(), "count": len(evaluations.kinds)},
        "counts": {
            "entries": len(manifest["structures"]),
            "references": len(manifest["references"]),
            "labels": len(manifest["labels"]),
            "structures_added": len(structures),
            "references_added": len(references),
            "labels_added": len(labels),
        },
        "provenance": checked_plain("provenance", draft.provenance),
    }
    if draft.started_from is not None:
        document["started_from"] = checked_document("started_from", draft.started_from, StartedFrom)[1]
    found = identity_digest(document)
    return PreparedState(
        id=found,
        document={"_id": found, **document},
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        structures=structures,
        references=references,
        labels=labels,
        evaluations=evaluations.with_derived_fields(),
    )


def _manifest(draft: StateDraft, evaluations: DraftEvaluations) -> dict[str, Any]:
    kinds = evaluations.kinds
    for label, split in draft.splits.items():
        if split not in SPLITS:
            raise ValueError(f"splits: label {label} is in {split!r}; allowed: {', '.join(SPLITS)}")
    return checked_plain(
        "manifest",
        {
            "structures": [identifier for identifier, kind in kinds.items() if kind == "entry"],
            "references": [identifier for identifier, kind in kinds.items() if kind == "reference"],
            "labels": dict(sorted(draft.splits.items())),
            "samples": {str(iteration): sha256 for iteration, sha256 in draft.samples.items()},
            "offsets": draft.offsets,
            # follows from the evaluations, and stands here so that the hull of a state can be made without reading them all
            **({"refuted": evaluations.refuted} if evaluations.refuted else {}),
        },
    )


def _check_membership(
    manifest: dict[str, Any], structures: CheckedDocuments, references: CheckedDocuments, labels: CheckedDocuments
) -> None:
    for what, documents, members, lacking in (
        ("structures", structures, set(manifest["structures"]), "evaluation of kind entry"),
        ("references", references, set(manifest["references"]), "evaluation of kind reference"),
        ("labels", labels, set(manifest["labels"]), "split"),
    ):
        strangers = [identifier for identifier in documents.ids() if identifier not in members]
        if strangers:
            raise ValueError(f"{what}: {len(strangers)} new documents have no {lacking}, e.g. {strangers[0]}")


def kept_names(branch: str, state: str) -> Iterator[str]:
    """Yield names of branches for a state that cannot be put on a branch, the usual first."""
    for digits in (8, 16, 64):
        yield f"{branch[: 99 - digits]}-{state[:digits]}"  # at most as long as a name may be


def commit(backend: Backend, artifacts: ArtifactStore, draft: StateDraft, branch: str, expected: str | None) -> str:
    """Store a state and move a branch to it; see :meth:`coevo.node_store.store.NodeStore.commit`."""
    check_branch_name(branch)
    prepared = prepare(draft)
    node = draft.node
    if _has_arrived(backend, artifacts, node, backend.branches(node).get(branch), prepared):
        return prepared.id
    _check_complete(backend, artifacts, draft, prepared)
    manifest = artifacts.put_bytes(prepared.manifest_bytes)
    document = {**prepared.document, "manifest": manifest.to_dict(), "created": now()}
    backend.write_state(node, document, prepared)
    found = backend.move_branch(node, branch, expected, prepared.id)
    if found == expected or _has_arrived(backend, artifacts, node, found, prepared):
        return prepared.id
    raise _lost_race(backend, node, branch, expected, found, prepared.id)


def _has_arrived(backend: Backend, artifacts: ArtifactStore, node: str, head: str | None, prepared: PreparedState) -> bool:
    """Whether a branch is at a state, or descends from it."""
    # a parent cannot descend from its child: the usual commit need not look at the states before its parent
    if head is None or head in prepared.document["parents"]:
        return False
    if head == prepared.id:
        return True
    iteration = prepared.document["iteration"]
    view = open_state(backend, artifacts, node, head)
    for ancestor in view.ancestors():
        if ancestor.id == prepared.id:
            return True
        if ancestor.iteration < iteration:  # they come newest first
            return False
    return False


def _check_complete(backend: Backend, artifacts: ArtifactStore, draft: StateDraft, prepared: PreparedState) -> None:
    """Refuse a state whose parents, documents or artifacts are not stored: it could not be read back."""
    parents = [open_state(backend, artifacts, draft.node, parent).manifest for parent in draft.parents]
    for kind in KINDS:
        inherited = set(prepared.manifest[kind]).difference(getattr(prepared, kind).ids())
        missing = inherited.difference(*(parent[kind] for parent in parents))
        if missing:
            raise ValueError(
                f"{len(missing)} {kind} of the draft are neither new in it nor documents of its parents, e.g. {min(missing)}"
            )
    named = {f"checkpoint {kind}": document["sha256"] for kind, document in prepared.document["checkpoints"].items()}
    named |= {f"sample of iteration {iteration}": sha256 for iteration, sha256 in prepared.manifest["samples"].items()}
    for what, sha256 in named.items():
        if not artifacts.keep(sha256):
            raise ArtifactNotFoundError(f"the {what}, artifact {sha256}, is not in {artifacts.uri}; store it before the commit")


def _lost_race(backend: Backend, node: str, branch: str, expected: str | None, found: str | None, state: str) -> BranchMovedError:
    for kept_as in kept_names(branch, state):
        if backend.move_branch(node, kept_as, None, state) in {None, state}:
            break
    return BranchMovedError(
        f"branch {branch} of node {node} moved while this state was made: expected {expected}, found {found}; "
        f"nothing is lost: the work is branch {kept_as}, to be merged (coevo merge {node}@{branch} {node}@{kept_as} --into "
        f"{node}@{branch}) or continued",
        expected=expected,
        found=found,
        kept_as=kept_as,
    )
