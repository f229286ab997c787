"""Add what a user has already to the head of a branch: known structures as references, calculations as labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.app.merging import checkpoints_of
from coevo.app.running import run_flow
from coevo.errors import LabellingError, ReferenceDataError
from coevo.flows.campaign import live_config
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coevo.configs.tree import NodeConfig
    from coevo.labelling.imported import ImportedFile
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def add_references(store: NodeStore, node: str, branch: str, files: Sequence[Path], say: Callable[[str], None]) -> StateView:
    """Add the structures of files as references, evaluated by the head's force field.

    Parameters
    ----------
    store : NodeStore
    node, branch : str
    files : sequence of Path
        CIF, extended XYZ or JSON, as for a new node.
    say : callable

    Returns
    -------
    StateView
        The new head.

    Raises
    ------
    ReferenceDataError
        If a file cannot be used, or names a phase that the node withholds; nothing is added then.
    """
    from coevo.configs.references import load_references
    from coevo.makers.seeding import write_references

    with store.run_lock(node, branch):
        head, config = _head(store, node, branch, say)
        found = [r for file in files for r in load_references(file, config.node.elements, complete=False, say=say)]
        withheld = sorted({r.name for r in found} & set(config.references.exclude))
        if withheld:
            raise ReferenceDataError(
                f"{', '.join(withheld)}: node {node} withholds phases of that name (references.exclude), which cannot change; "
                "leave them out of the file, or make a new node with `coevo init`"
            )
        flow = ExtendMaker(config=config, branch=branch).make(
            head.id,
            head.iteration + 1,
            write_references(found),
            checkpoints_of(head),
            f"references of {', '.join(file.name for file in files)}",
            head.id,
        )
        run_flow(flow)
    return store.state(f"{node}@{branch}")


def add_labels(
    store: NodeStore,
    node: str,
    branch: str,
    files: Sequence[Path],
    *,
    functional: str | None,
    anion_corrected: bool,
    say: Callable[[str], None],
) -> StateView:
    """Add the frames of files as labels, through the checks of a computed label and with settings of their own.

    Parameters
    ----------
    store : NodeStore
    node, branch : str
    files : sequence of Path
        vasprun.xml, ``pw.x`` outputs, extended XYZ.
    functional : str or None
        For files that do not say it.
    anion_corrected : bool
    say : callable

    Raises
    ------
    LabellingError
        If a file cannot be used or holds an element that the node has not; nothing is added then.
    """
    from coevo.labelling.imported import read_labels
    from coevo.makers.imported_labels import imported_packet

    with store.run_lock(node, branch):
        head, config = _head(store, node, branch, say)
        read = [read_labels(file, functional=functional, anion_corrected=anion_corrected) for file in files]
        for file, imported in zip(files, read, strict=True):
            _check_elements(file, imported, config)
        flow = LabelFlowMaker(config=config, branch=branch).add(
            [imported_packet(head, config, imported) for imported in read],
            head.id,
            head.iteration + 1,
            checkpoints_of(head),
            f"labels of {', '.join(file.name for file in files)}",
        )
        run_flow(flow)
    return store.state(f"{node}@{branch}")


def _head(store: NodeStore, node: str, branch: str, say: Callable[[str], None]) -> tuple[StateView, NodeConfig]:
    head = store.state(f"{node}@{branch}")
    return head, live_config(store, node, head, say)


def _check_elements(file: Path, imported: ImportedFile, config: NodeConfig) -> None:
    allowed = set(config.node.elements)
    found = {element.symbol for frame in imported.frames for element in frame.structure.composition.elements}
    if found - allowed:
        raise LabellingError(
            f"{file}: contains {', '.join(sorted(found - allowed))}, which the node does not have; allowed: "
            f"{', '.join(sorted(allowed))}"
        )
