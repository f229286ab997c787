"""Verification of a node (fsck): every stored state is read again and every id and hash recomputed.

One state is in memory at a time: its manifest, and the ids of its documents. What nothing refers to cannot be missed: a job
result, a campaign record or a mark of distrust that was removed as a whole leaves no trace, and neither does a removed branch
whose states another branch has.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import CoevoError, NodeNotFoundError, StorageError
from coevo.node_store.backend import KINDS
from coevo.node_store.backend_upkeep import Finding
from coevo.node_store.documents import NODE_NAME
from coevo.node_store.names import MAIN
from coevo.node_store.trust.arrivals import omitted as omitted_checkpoints
from coevo.node_store.trust.arrivals import unagreed
from coevo.node_store.upkeep.artifact_checks import ArtifactChecks
from coevo.node_store.upkeep.backends import upkeep_of
from coevo.node_store.upkeep.state_checks import (
    check_branches,
    check_campaigns,
    check_documents,
    check_evaluations,
    check_manifest,
)
from coevo.node_store.upkeep.study_checks import check_studies
from coevo.node_store.views import StateView, open_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.standing_labels import Said
    from coevo.node_store.store import NodeStore

RESTORE = "restore it from a copy, or import the state from a bundle"
OPEN_VIEWS = 3
"""States whose manifests are kept while their children are looked at."""


@dataclass
class Verification:
    """What verification found.

    Attributes
    ----------
    node : str
    quick : bool
    findings : list of Finding
    counts : dict
        How many things of each kind were looked at.
    said : dict
        Of the labels that were looked at (:func:`coevo.node_store.standing_labels.energies_said`).
    """

    node: str
    quick: bool
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    said: dict[str, Said] = field(default_factory=dict, repr=False)

    @property
    def problems(self) -> list[Finding]:
        """Findings that mean damage."""
        return [finding for finding in self.findings if finding.severity == "problem"]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON dictionary."""
        return {
            "node": self.node,
            "quick": self.quick,
            "clean": not self.problems,
            "counts": dict(self.counts),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def verify(store: NodeStore, node: str, *, quick: bool = False) -> Verification:
    """Check all that is stored of a node, and the job results of its database.

    Parameters
    ----------
    store : NodeStore
    node : str
    quick : bool
        Look at state documents, manifests, branches, campaigns and the presence of files only; read no structures, labels,
        evaluations and checkpoints.

    Returns
    -------
    Verification

    Raises
    ------
    NodeNotFoundError
        If there is no such node.
    ConfigError
        If the node is stored in another schema version.
    StorageError
        If the database cannot be reached.
    """
    if not re.fullmatch(NODE_NAME, node):
        raise NodeNotFoundError(f"{node!r} cannot name a node")
    result = Verification(node, quick)
    omitted, marks = _from_bundles(store, node, result.findings)
    checks = ArtifactChecks(store.artifacts, quick=quick, omitted=omitted, marks=marks)
    result.findings += _node(store, node)
    documents: dict[str, tuple[str, ...]] = {}
    for finding in _states(store, node, documents, checks, result):
        result.findings.append(finding)
    result.findings += _lineage(store, node, documents, result)
    result.findings += check_studies(store, node, documents, checks, result.counts)
    result.findings += _jobs(store, checks, result)
    result.findings += checks.findings
    result.counts["artifacts"] = checks.count
    return result


def _node(store: NodeStore, node: str) -> Iterator[Finding]:
    """Check the node's own document, its live configuration and its leftovers."""
    upkeep = upkeep_of(store.backend)
    try:
        document = upkeep.reader().node_document(node)
    except upkeep.damage as err:
        yield Finding("problem", str(err), node, RESTORE)
    else:
        if document is None and upkeep.has_remains(node):
            yield Finding("problem", "the node's own document is missing", node, RESTORE)
        else:
            yield from _configuration(store, node, list((document or {}).get("elements", [])))
    yield from upkeep.examine_node(node)


def _configuration(store: NodeStore, node: str, elements: list[str]) -> Iterator[Finding]:
    from coevo.configs.loading import parse_config

    where = store.config_source(node)
    try:
        text = store.read_config_text(node)
    except (StorageError, UnicodeDecodeError) as err:  # others: no such node, or one of another version
        yield Finding("problem", f"the live configuration cannot be read: {err}", where, RESTORE)
        return
    try:
        config = parse_config(text, source=where)
    except CoevoError as err:
        yield Finding("problem", f"the live configuration is not valid: {err}", where, "correct it")
        return
    if sorted(config.node.elements) != elements:
        what = f"the live configuration is one of {', '.join(config.node.elements)}, the node of {', '.join(elements)}"
        yield Finding("problem", what, where, "correct it")


def _states(
    store: NodeStore, node: str, documents: dict[str, tuple[str, ...]], checks: ArtifactChecks, result: Verification
) -> Iterator[Finding]:
    """Check every state, parents before children; fill ``documents`` with the parents of those whose document is whole."""
    upkeep = upkeep_of(store.backend)
    iterations: dict[str, int] = {}
    damaged: dict[str, str] = {}
    for state in upkeep.reader().state_ids(node):
        try:
            view = open_state(upkeep.reader(), store.artifacts, node, state)
            documents[state], iterations[state] = view.parents, view.iteration
        except upkeep.damage as err:
            damaged[state] = str(err)
    for state, error in damaged.items():
        if upkeep.reader().state_ids(node, state):  # else it was removed while this ran
            yield Finding("problem", error, f"{node}@{state}", RESTORE)
    views: OrderedDict[str, StateView] = OrderedDict()
    for state in sorted(documents, key=lambda identifier: (iterations[identifier], identifier)):
        result.counts["states"] += 1
        for parent in documents[state]:
            if parent not in documents:
                what = f"its parent {parent} is {'damaged' if parent in damaged else 'missing'}"
                yield Finding("problem", what, f"{node}@{state}", RESTORE)
        for parent in documents[state]:
            if parent in documents and parent not in views:
                views[parent] = open_state(upkeep.reader(), store.artifacts, node, parent)
        view = views.setdefault(state, open_state(upkeep.reader(), store.artifacts, node, state))
        parents = [views[parent] for parent in documents[state] if parent in views]
        yield from _state(store, view, parents, checks, result)
        while len(views) > OPEN_VIEWS:
            views.popitem(last=False)


def _state(
    store: NodeStore, view: StateView, parents: list[StateView], checks: ArtifactChecks, result: Verification
) -> Iterator[Finding]:
    where = f"{view.node}@{view.id}"
    checks.checkpoints(view)
    upkeep = upkeep_of(store.backend)
    problem = check_manifest(view, upkeep.damage)
    if problem:
        yield Finding("problem", problem, where, RESTORE)
        return
    checks.samples(view)
    # a manifest of a parent that cannot be read is a problem that was said at the parent
    inherited = [parent.manifest for parent in parents if not check_manifest(parent, upkeep.damage)]
    try:
        yield from upkeep.examine_state(view, quick=result.quick)
        if result.quick:
            return
        for kind in KINDS:
            added = sorted(set(view.manifest[kind]).difference(*(manifest[kind] for manifest in inherited)))
            result.counts[kind] += len(added)
            for problem in check_documents(view, kind, added, upkeep.damage, result.said):
                yield Finding("problem", problem, where, RESTORE)
        result.counts["evaluations"] += int(view.document["evaluations"]["count"])
        for problem in check_evaluations(view, result.said):
            yield Finding("problem", problem, where, RESTORE)
    except upkeep.damage as err:
        yield Finding("problem", f"it cannot be read: {type(err).__name__}: {err}", where, RESTORE)


def _lineage(store: NodeStore, node: str, documents: dict[str, tuple[str, ...]], result: Verification) -> Iterator[Finding]:
    """Check branches and campaigns against the states that are there."""
    branches, findings = upkeep_of(store.backend).branches(node)
    result.counts["branches"] = len(branches)
    yield from findings
    yield from check_branches(node, branches, documents, main=MAIN)
    try:
        campaigns = upkeep_of(store.backend).reader().campaigns(node)
    except upkeep_of(store.backend).damage as err:
        yield Finding("problem", str(err), f"campaigns of {node}", RESTORE)
        return
    result.counts["campaigns"] = len(campaigns)
    yield from check_campaigns(node, campaigns, documents)


def _from_bundles(store: NodeStore, node: str, findings: list[Finding]) -> tuple[dict[str, bool], dict[str, str]]:
    """Read what is remembered of bundles: the checkpoints that they left out, and the marks of distrust."""
    upkeep = upkeep_of(store.backend)
    omitted: dict[str, bool] = {}
    marks: dict[str, str] = {}
    try:
        marks = upkeep.reader().untrusted()
    except upkeep.damage as err:
        findings.append(Finding("problem", str(err), "checkpoints that must not be loaded", RESTORE))
    try:
        omitted = omitted_checkpoints(store, node)
        counts = len(unagreed(store, node))
        if counts:
            what = f"{counts} values of configurations that came in bundles wait for your agreement; nothing acts on them"
            findings.append(Finding("note", what, node, f"look at them: coevo trust {node} --configuration"))
    except upkeep.damage as err:
        findings.append(Finding("problem", str(err), f"what came into {node} in bundles", RESTORE))
    return omitted, marks


def _jobs(store: NodeStore, checks: ArtifactChecks, result: Verification) -> Iterator[Finding]:
    upkeep = upkeep_of(store.backend)
    again = "remove it: the job runs again when its result is wanted"
    for key in store.backend.job_keys():
        result.counts["job results"] += 1
        try:
            document = upkeep.reader().job_result(key)
            if document is None:
                continue  # it was removed while this ran
            if isinstance(document.get("output"), dict) and document["output"].get("key", key) != key:
                yield Finding("problem", f"it is the result of job {document['output']['key']}", f"job result {key}", again)
            checks.job(key, document)
        except upkeep.damage as err:
            yield Finding("problem", str(err), f"job result {key}", again)
