"""Add what a user has already to the head of a branch: known structures as references, calculations as labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.campaigns.merging import checkpoints_of
from coevo.campaigns.running import run_flow
from coevo.errors import LabellingError, ReferenceDataError
from coevo.flows.campaign import live_config
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker
from coevo.makers.checkpoints import check_checkpoints
from coevo.makers.committee.members import check_members_going_on
from coevo.makers.generators import check_generators_going_on
from coevo.makers.step import StepMaker
from coevo.node_store.known_fields import checkpoint_reference
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coevo.configs.tree import NodeConfig
    from coevo.labelling.imported import ImportedFile, LabelKeys
    from coevo.makers.imported.labels import ImportedLabels
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
        The new head; the one that is there, if it has all of them.

    Raises
    ------
    ReferenceDataError
        If a file cannot be used, or names a phase that the node withholds; nothing is added then.
    """
    from coevo.configs.references import load_references
    from coevo.flows.seeding import write_references
    from coevo.node_store.canonical import structure_id

    with store.run_lock(node, branch):
        head, config = _head(store, node, branch, say)
        found = [r for file in files for r in load_references(file, config.node.elements, complete=False, say=say)]
        withheld = sorted({r.name for r in found} & set(config.references.exclude))
        if withheld:
            raise ReferenceDataError(
                f"{', '.join(withheld)}: node {node} withholds phases of that name (references.exclude), which cannot change; "
                "leave them out of the file, or make a new node with `coevo init`"
            )
        if {structure_id(r.structure) for r in found} <= set(head.manifest["references"]):
            say(f"all {len(found)} structures are references of {node}@{branch} already; nothing to do")
            return head
        flow = ExtendMaker(config=config, branch=branch).make(
            head.id,
            head.iteration + 1,
            write_references(found),
            checkpoints_of(head, config),
            f"references of {', '.join(file.name for file in files)}",
            head.id,
        )
        run_flow(flow)
    return store.state(f"{node}@{branch}")


@dataclass(frozen=True)
class AddedLabels:
    """What became of files of calculations.

    Attributes
    ----------
    view : StateView
        The head of the branch: the new state, or the old one if every label was there already.
    added : int
        Labels that the state has and its parent has not.
    files : list of ImportedLabels
    warnings : list of str
        What the user must look at: signs and units in doubt, settings of their own.
    """

    view: StateView
    added: int
    files: list[ImportedLabels]
    warnings: list[str]


def add_labels(
    store: NodeStore,
    node: str,
    branch: str,
    files: Sequence[Path],
    *,
    functional: str | None,
    anion_corrected: bool,
    say: Callable[[str], None],
    keys: LabelKeys | None = None,
    same_settings_as: str | None = None,
) -> AddedLabels:
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
        Gets what was taken from each file, what was rejected and why, and how the numbers go with the force field.
    keys : LabelKeys or None
        Of extended XYZ files that hold several numbers of a kind.
    same_settings_as : str or None
        Begin of the digest that the user says the labels belong to.

    Returns
    -------
    StateView
        The new head; the one that is there, if it has all of them.

    Raises
    ------
    LabellingError
        If a file cannot be used, or no frame of any is admitted; nothing is added then.
    """
    from coevo.campaigns.import_report import all_lines, splits_line
    from coevo.labelling.imported import read_labels
    from coevo.makers.imported.labels import imported_labels
    from coevo.makers.imported.settings import vouched_digest

    with store.run_lock(node, branch):
        head, config = _head(store, node, branch, say)
        vouched = vouched_digest(list(head.labels()), same_settings_as) if same_settings_as else None

        def read_file(file: Path) -> ImportedFile:
            try:
                return read_labels(file, functional=functional, anion_corrected=anion_corrected, keys=keys)
            except LabellingError:
                if vouched is None or functional is not None:
                    raise
                # a file that does not say its functional has that of the labels which the user says it belongs with
                return read_labels(file, functional=vouched.functional, anion_corrected=anion_corrected, keys=keys)

        read = [(file.name, read_file(file)) for file in files]
        workers = StepMaker(workers=config.resources.workers or 1).usable_workers()
        found = imported_labels(head, config, read, vouched=vouched, workers=workers)
        for line in all_lines(found):
            say(line)
        warnings = _warnings(store, head, found, say, workers)
        _refuse_if_nothing(found)
        known = head.manifest["labels"]
        new = {label["_id"] for file in found for label in file.labels} - set(known)
        if not new:
            say(f"every label is there already: {node}@{branch} stays at {head.id[:12]}")
            return AddedLabels(head, 0, found, warnings)
        packets = [file.packet() for file in found]
        packets[0]["warnings"] = warnings
        flow = LabelFlowMaker(config=config, branch=branch).add(
            packets,
            head.id,
            head.iteration + 1,
            checkpoints_of(head, config),
            f"labels of {', '.join(file.name for file in files)}",
        )
        run_flow(flow)
    view = store.state(f"{node}@{branch}")
    splits = view.manifest["labels"]
    for file in found:
        say(f"split: {splits_line(file, splits)}")
    moved = len(set(known) - set(splits))
    if moved:
        say(f"{counted(moved, 'labels')} of an earlier import of the same calculations are replaced (older states keep them)")
    return AddedLabels(view, view.document["counts"]["labels_added"], found, warnings)


def _refuse_if_nothing(found: Sequence[ImportedLabels]) -> None:
    """Refuse files of which no frame is admitted."""
    if any(file.admitted for file in found):
        return
    reasons: Counter[str] = Counter()
    for file in found:
        reasons.update(file.reasons)
    said = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    raise LabellingError(
        f"{', '.join(file.name for file in found)}: nothing added, no new state: none of {sum(reasons.values())} frames is "
        f"admitted, {sum(reasons.values())} rejected ({said})"
    )


def _warnings(
    store: NodeStore, head: StateView, found: Sequence[ImportedLabels], say: Callable[[str], None], workers: int
) -> list[str]:
    """Compare the numbers with the head's force field and say what is in doubt, loudly."""
    from coevo.campaigns.import_report import agreement_line, agreement_warnings, settings_warning
    from coevo.makers.checkpoints import load_force_field
    from coevo.makers.imported.agreement import agreements_of

    warnings = [text for file in found if (text := settings_warning(file))]
    force_field = load_force_field(store, checkpoint_reference(head.document["checkpoints"]["force_field"]))
    for names, agreements in agreements_of(found, force_field, workers=workers):
        say(agreement_line(names, agreements))
        warnings += agreement_warnings(names, agreements)
    for text in warnings:
        say(f"WARNING: {text}")
    return warnings


def _head(store: NodeStore, node: str, branch: str, say: Callable[[str], None]) -> tuple[StateView, NodeConfig]:
    head = store.state(f"{node}@{branch}")
    check_checkpoints(store, head)
    config = live_config(store, node, head, say, branch)
    check_generators_going_on(store, head, config)
    check_members_going_on(store, head, config)
    return head, config
