"""Export: states with all their ancestors, their documents and their blobs, as one file that appears whole or not at all."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo import __version__
from coevo.errors import BundleError
from coevo.node_store.bundles.format import FORMAT, VERSION, silent_task
from coevo.node_store.bundles.writer import BundlePlan, write_bundle
from coevo.node_store.canonical import canonical_json
from coevo.node_store.durable import storage_errors
from coevo.node_store.lineage.transfers import history
from coevo.node_store.names import MAIN, parse_reference
from coevo.node_store.seeds import noted_seed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from coevo.node_store.bundles.format import Task
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes
    ----------
    path : Path
    size : int
        Bytes of the file.
    heads : dict
        Branch to state id.
    states, studies, blobs : int
    omitted_checkpoints : int
        Left out because the bundle is thin.
    """

    path: Path
    size: int
    heads: dict[str, str]
    states: int
    blobs: int
    omitted_checkpoints: int
    studies: int = 0


def heads_of(store: NodeStore, ref: str, *, whole_node: bool = False) -> dict[str, StateView]:
    """Find the states to export, by the branch names that they will have.

    Parameters
    ----------
    store : NodeStore
    ref : str
        A state under its branch name; a state that is named by its id is exported as the branch that contains it, ``main`` first.
    whole_node : bool
        All branches of the node instead.

    Raises
    ------
    NodeNotFoundError, StateNotFoundError
        If there is no such state.
    """
    view = store.state(ref)
    branches = store.backend.branches(view.node)
    if whole_node:
        return {branch: store.state(f"{view.node}@{branch}") for branch in sorted(branches)}
    name = parse_reference(ref).name
    if name in branches:
        return {name: view}
    for branch in sorted(branches, key=lambda branch: (branch != MAIN, branch)):
        head = store.state(f"{view.node}@{branch}")
        if head.id == view.id or any(ancestor.id == view.id for ancestor in head.ancestors()):
            return {branch: view}
    return {f"state-{view.id[:8]}": view}


def export_bundle(
    store: NodeStore, heads: Mapping[str, StateView], path: Path, *, checkpoints: bool = True, task: Task = silent_task
) -> ExportReport:
    """Write states with their whole history into a bundle.

    Parameters
    ----------
    store : NodeStore
    heads : mapping of str to StateView
        Branch name to state, all of one node.
    path : Path
        File to write; one that is there is replaced when the new one is complete.
    checkpoints : bool
        Otherwise the bundle is thin: it says where the checkpoints are.
    task : Task
        Told of the progress.

    Raises
    ------
    BundleError
        If a checkpoint is not here, or the file cannot be written.
    CorruptArtifactError, ArtifactNotFoundError, StorageError
        If something of the states is damaged, missing or cannot be read.
    """
    node = next(iter(heads.values())).node
    if not path.parent.is_dir():
        raise BundleError(f"the bundle {path} cannot be written: there is no directory {path.parent}; create it first")
    if path.is_dir():
        raise BundleError(f"the bundle {path} cannot be written: it is a directory; give the name of a file")
    with storage_errors("writing a bundle", path), tempfile.TemporaryFile(dir=path.parent, prefix=".tmp-") as spool:
        plan = BundlePlan(store, node, spool, thin=not checkpoints)
        states = [view.id for view in history(heads.values())]
        with task("reading states", len(states), "states") as advance:
            for state in states:
                plan.add_state(state)
                advance(1)
        plan.add_studies(set(states))
        plan.add_blobs()
        contents = canonical_json(_contents(store, node, heads, states, plan))
        size = write_bundle(path, contents, plan, task)
    return ExportReport(
        path=path,
        size=size,
        heads={branch: view.id for branch, view in heads.items()},
        states=len(states),
        blobs=len(plan.blobs),
        omitted_checkpoints=len(plan.omitted),
        studies=len(plan.studies),
    )


def _contents(store: NodeStore, node: str, heads: Mapping[str, StateView], states: list[str], plan: BundlePlan) -> dict[str, Any]:
    document = store.node(node)
    seeds = {branch: noted_seed(store.backend, node, branch, view.id) for branch, view in heads.items()}
    given = {branch: seed for branch, seed in seeds.items() if seed is not None}
    return {
        "format": FORMAT,
        "version": VERSION if plan.studies else 1,
        "coevo": __version__,
        "node": {
            "name": node,
            "elements": sorted(document.elements),
            "config": document.config,
            "config_text": document.config_text,
        },
        "thin": plan.thin,
        "heads": {branch: view.id for branch, view in heads.items()},
        "states": states,
        **({"seeds": given} if given else {}),
        **({"studies": [study.model_dump() for study in plan.studies]} if plan.studies else {}),
        "omitted_checkpoints": [plan.omitted[sha256] for sha256 in sorted(plan.omitted)],
        "members": [source.to_dict() for source in plan.sources],
    }
