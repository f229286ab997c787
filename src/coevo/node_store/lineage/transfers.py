"""States between nodes and stores: taken out whole, checked against their ids, and stored where they are wanted.

A state's id does not depend on its node, so the same state can be in several nodes: a merge of two nodes, and every import, first
brings histories into the target node. Nothing becomes visible before a branch is moved.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError
from coevo.node_store.backend import KINDS
from coevo.node_store.canonical import dump_plain, structure_document_id, structure_text_id
from coevo.node_store.documents import DERIVED_EVALUATION_FIELDS, refuted_energy, with_derived_fields
from coevo.node_store.evaluation_claims import untrue_claim
from coevo.node_store.identity import EvaluationsDigest, identity_digest, label_id
from coevo.node_store.known_fields import refuse_marked_keys, refuse_marked_text
from coevo.node_store.prepared_documents import PreparedState, StoredDocuments, StoredEvaluations, cut_out, without_fields
from coevo.node_store.standing_labels import energies_said, judged_entry, without_label
from coevo.node_store.states import SPLITS
from coevo.node_store.study_documents import put_study, studies_by_state
from coevo.node_store.trust.arrivals import bring_arrivals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from coevo.node_store.backend import Kind
    from coevo.node_store.prepared_documents import Documents
    from coevo.node_store.standing_labels import Said
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def history(heads: Iterable[StateView]) -> list[StateView]:
    """List states and all their ancestors, each once, parents before children."""
    found: dict[str, StateView] = {}
    for head in heads:
        if head.id not in found:
            found[head.id] = head
            found.update((view.id, view) for view in head.ancestors() if view.id not in found)
    ordered: dict[str, StateView] = {}
    waiting = sorted(found.values(), key=lambda view: (view.iteration, view.id))
    while waiting:
        ready = [view for view in waiting if all(parent in ordered for parent in view.parents)]
        ordered.update((view.id, view) for view in ready)
        waiting = [view for view in waiting if view.id not in ordered]
    return list(ordered.values())


def taken_out(view: StateView) -> PreparedState:
    """Return a stored state as its commit was given it: its document, and the documents that its parents do not have."""
    inherited = [parent.manifest for parent in view.parent_views()]
    documents: dict[Kind, Documents] = {}
    for kind in KINDS:
        added = sorted(set(view.manifest[kind]).difference(*(manifest[kind] for manifest in inherited)))
        documents[kind] = StoredDocuments(added, lambda kind=kind, added=added: view.lines(kind, added))  # type: ignore[misc]
    return PreparedState(
        id=view.id,
        document=view.document,
        manifest=view.manifest,
        manifest_bytes=dump_plain(view.manifest),
        evaluations=StoredEvaluations(view.split_evaluations),
        **documents,
    )


def check_whole(prepared: PreparedState, parents: Sequence[dict[str, Any]], said: Mapping[str, Said]) -> dict[str, Said]:
    """Recompute every id and hash of a state that comes from elsewhere.

    Parameters
    ----------
    prepared : PreparedState
    parents : sequence of dict
        Manifests of its parents, in which it finds what it did not add.
    said : mapping of str to tuple
        Of the labels of its parents (:func:`coevo.node_store.standing_labels.energies_said`).

    Returns
    -------
    dict
        The same of the labels that it added.

    Raises
    ------
    CorruptArtifactError
        If the state is not exactly the one that its id names.
    """
    document, manifest = prepared.document, prepared.manifest
    problem = ""
    own: dict[str, Said] = {}
    try:
        if identity_digest(document) != prepared.id or document["_id"] != prepared.id:
            problem = "its document has another id"
        elif hashlib.sha256(prepared.manifest_bytes).hexdigest() != document["manifest"]["sha256"]:
            problem = "its manifest has another hash"
        elif json.loads(prepared.manifest_bytes) != manifest:
            problem = "its manifest is not the one of its hash"
        else:
            # a state that an older coevo let in is looked at again before it goes anywhere
            refuse_marked_keys(document)
            refuse_marked_keys(manifest, "manifest")
            problem = _manifest_problem(prepared) or _documents_problem(prepared, parents)
            if not problem:
                own = energies_said(prepared.labels)
                problem = _evaluations_problem(prepared, {**said, **own})
    except (KeyError, TypeError, ValueError) as err:
        problem = str(err) if type(err) is ValueError else f"{type(err).__name__}: {err}"
    if problem:
        raise CorruptArtifactError(f"state {prepared.id} is damaged: {problem}; nothing of it was stored; use another copy")
    return own


def _manifest_problem(prepared: PreparedState) -> str:
    counts, manifest = prepared.document["counts"], prepared.manifest
    for name, kind in (("entries", "structures"), ("references", "references"), ("labels", "labels")):
        if counts[name] != len(manifest[kind]):
            return f"it counts {counts[name]} {name}, its manifest has {len(manifest[kind])}"
    for label, split in manifest["labels"].items():
        if split not in SPLITS:
            return f"label {label} is in split {split!r}, allowed are {', '.join(SPLITS)}"
    return ""


def _documents_problem(prepared: PreparedState, parents: Sequence[dict[str, Any]]) -> str:
    allowed = set(prepared.document["elements"])
    for kind in KINDS:
        members = set(prepared.manifest[kind])
        lacking = members.difference(*(parent[kind] for parent in parents))
        for document, text in _in_order(kind, getattr(prepared, kind), "_id"):
            refuse_marked_text(text, document, ["structure"])
            content = label_id(document) if kind == "labels" else structure_text_id(cut_out(document, text, "structure")[1])
            if content != document["_id"]:
                return f"the content id of {kind[:-1]} {document['_id']} is {content}"
            if content not in members:
                return f"{kind[:-1]} {content} is not in its manifest"
            if foreign := _elements_of(document).difference(allowed):
                return f"{kind[:-1]} {content} holds {', '.join(sorted(foreign))}, its elements are {', '.join(sorted(allowed))}"
            if (
                kind == "labels"
                and document.get("structure")
                and structure_document_id(document["structure"]) != document["frame"]
            ):
                return f"the geometry of label {content} is not that of its frame {document['frame']}"
            lacking.discard(content)
        if lacking:
            return f"{len(lacking)} {kind} are missing, e.g. {min(lacking)}"
    return ""


def _elements_of(document: dict[str, Any]) -> set[str]:
    sites = (document.get("structure") or {"sites": ()})["sites"]
    return {species["element"] for site in sites for species in site["species"]}


def _evaluations_problem(prepared: PreparedState, said: Mapping[str, Said]) -> str:
    expected = prepared.document["evaluations"]
    hasher = EvaluationsDigest()
    found: dict[str, list[str]] = {"entry": [], "reference": []}
    references: list[bytes] = []  # they come after the entries in the digest, and are few
    refuted: dict[str, float] = {}
    judged: dict[str, str] = {}
    total = 0
    for evaluation, text in _in_order("evaluations", prepared.evaluations, "structure_id"):
        total += 1
        identifier, kind = evaluation["structure_id"], evaluation["kind"]
        refuse_marked_text(text, evaluation, ["relaxed"])
        if kind not in found:
            continue
        refuted |= refuted_energy(evaluation)
        judged |= judged_entry(evaluation)
        if problem := _claims_problem(evaluation, prepared.document["metrics"]):
            return problem
        found[kind].append(identifier)
        content = without_fields(evaluation, text, DERIVED_EVALUATION_FIELDS)
        if kind == "entry":
            hasher.add_text(content)
        else:
            references.append(content)
    for content in references:
        hasher.add_text(content)
    for kind, members in (("entry", "structures"), ("reference", "references")):
        if found[kind] != prepared.manifest[members]:
            return f"its evaluations of kind {kind} are not those of the {members} of its manifest, in order"
    if refuted != prepared.manifest.get("refuted", {}):
        return "what labels refuted by its evaluations is not what its manifest says"
    if problem := without_label(judged, prepared.manifest, said):
        return problem
    if not hasher.count == total == expected["count"]:
        return f"it has {total} evaluations, {hasher.count} of them of entries and references; expected are {expected['count']}"
    if hasher.hexdigest() != expected["digest"]:
        return f"the digest of its evaluations is {hasher.hexdigest()}, expected {expected['digest']}"
    return ""


def _claims_problem(evaluation: dict[str, Any], metrics: Mapping[str, Any]) -> str:
    identifier = evaluation["structure_id"]
    if with_derived_fields(evaluation) != evaluation:
        return f"the formulas of evaluation {identifier} do not follow from {evaluation['formula']!r}"
    claim = untrue_claim(evaluation, metrics)
    return f"evaluation {identifier}: {claim}" if claim else ""


def _in_order(what: str, documents: Documents, key: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    before = ""
    for document, text in documents.with_texts():
        if document[key] <= before:
            raise ValueError(f"its {what} are not in the order of their ids, each once: {document[key]} follows {before}")
        before = document[key]
        yield document, text


def put_state(store: NodeStore, node: str, prepared: PreparedState) -> None:
    """Store a checked state in a node, whose parents are there; no branch moves. Storing it again changes nothing.

    What its id does not cover and belongs to a place is that of the node and of the store: the node's name, where blobs are.
    """
    manifest = store.artifacts.put_bytes(prepared.manifest_bytes)
    for sha256 in prepared.manifest["samples"].values():
        store.artifacts.keep(sha256)
    checkpoints = {
        kind: {**checkpoint, "uri": store.artifacts.uri_of(checkpoint["sha256"])}
        if store.artifacts.keep(checkpoint["sha256"])
        else checkpoint
        for kind, checkpoint in prepared.document["checkpoints"].items()
    }
    config = prepared.document["config"]
    if isinstance(config.get("node"), dict) and "name" in config["node"]:
        config = {**config, "node": {**config["node"], "name": node}}
    places = {"node": node, "config": config, "manifest": manifest.to_dict(), "checkpoints": checkpoints}
    document = {**prepared.document, **places}
    store.backend.write_state(node, document, prepared)


def bring_history(store: NodeStore, view: StateView, node: str) -> StateView:
    """Copy a state of another node of the same store, with all its ancestors, into a node; states that are there stay.

    Returns
    -------
    StateView
        The state, in that node.
    """
    if view.node != node:
        bring_arrivals(store, view.node, node)
    said: dict[str, Said] = {}
    there: set[str] = set()
    states = history([view])
    for state in states:
        if store.backend.state_document(node, state.id) is not None:
            there.add(state.id)
            continue
        parents = state.parent_views()
        for parent in parents:
            if parent.id in there:
                there.remove(parent.id)  # read once
                said |= energies_said(parent.labels())
        prepared = taken_out(state)
        said |= check_whole(prepared, [parent.manifest for parent in parents], said)
        put_state(store, node, prepared)
    if view.node != node:
        _bring_studies(store, view.node, states, node)
    return store.state(f"{node}@{view.id}")


def _bring_studies(store: NodeStore, source: str, states: Sequence[StateView], node: str) -> None:
    """Copy the studies of states of another node of the same store: the states are the same, and so is what studies say."""
    for studies in studies_by_state(store.backend, source, {state.id for state in states}).values():
        for study in studies:
            put_study(store.backend, node, study.document, study.stored, study.origin)
